"""The files of standby_config, read by real servers."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from clusters import Cluster, Clusters, one, rows, wait_until

import pgreplkit
from pgreplkit import standby_config
from pgreplkit.lab import Node
from pgreplkit.rows import StandbyConfig


def made_standby(node: Node, config: StandbyConfig) -> None:
    """Give a stopped server these files, and no others of their kind."""
    for name in ("recovery.conf", "standby.signal", "postgresql.auto.conf"):
        (node.data_directory / name).write_text(config.files.get(name, ""))
    for name in {"recovery.conf", "standby.signal"} - {*config.files}:
        (node.data_directory / name).unlink()


@pytest.mark.quiet
def test_a_server_starts_as_the_standby_that_the_files_describe(
    clusters: Clusters, cluster: Cluster, tmp_path: Path
) -> None:
    node = clusters.lab.standby(cluster.primary, name=f"pg{cluster.major}-files")
    odd = r"""it's C:\new "x" ?"""
    run_slot = f"files_{cluster.major}"
    with cluster.primary.connect() as primary:
        slot = primary.create_physical_slot(run_slot)
        try:
            node.stop()
            conninfo = cluster.primary.conninfo.replace("dbname=postgres", "")
            config = standby_config(
                conninfo,
                server_version=node.version,
                slot=run_slot,
                application_name=odd,
                apply_delay=timedelta(seconds=90),
                restore_command=r"false '%f' \\ %p",
            )
            made_standby(node, config)
            node.start()
            wait_until(lambda: bool(slot.refresh().state.active))
            names = rows(cluster.primary, "SELECT application_name AS n FROM pg_stat_replication")
            assert odd in {row["n"] for row in names}
            assert one(node, "SELECT pg_is_in_recovery()") is True
            if cluster.major >= 12:
                for name, value in config.settings.items():
                    sql = f"SELECT setting FROM pg_settings WHERE name = '{name}'"
                    assert one(node, sql) == value
        finally:
            node.stop()
            slot.drop(force=True)


@pytest.mark.parametrize("action", ["pause", "promote"])
@pytest.mark.matrix
def test_a_recovery_target_is_reached(clusters: Clusters, cluster: Cluster, action: str) -> None:
    node = clusters.lab.standby(cluster.primary, name=f"pg{cluster.major}-target-{action}")
    try:
        node.stop()
        with cluster.primary.connect() as primary:
            run = primary.connection.execute
            run("SELECT pg_logical_emit_message(true, 'x', 'before')")
            target = primary.wal_position().insert  # type: ignore[union-attr]
            run("SELECT pg_logical_emit_message(true, 'x', 'after')")
        config = standby_config(
            cluster.primary.conninfo.replace("dbname=postgres", ""),
            server_version=node.version,
            recovery_target_lsn=target,
            recovery_target_action=action,  # type: ignore[arg-type]
        )
        made_standby(node, config)
        node.start()
        if action == "promote":
            wait_until(lambda: one(node, "SELECT pg_is_in_recovery()") is False)
        else:
            wait_until(lambda: bool(one(node, "SELECT pg_is_wal_replay_paused()")))
            with node.connect() as standby:
                assert isinstance(standby, pgreplkit.Standby)
                assert standby.replay_status().replayed_lsn in {target, *range_after(target)}
    finally:
        node.stop()


def range_after(lsn: pgreplkit.LSN) -> list[pgreplkit.LSN]:
    """Where the record that begins at the position ends: replay stops after it."""
    return [lsn + step for step in range(0, 512, 8)]
