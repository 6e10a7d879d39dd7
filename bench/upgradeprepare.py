"""Compare both preparations of an upgrade with the same work by hand, on the same rows."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import psycopg
from psycopg.conninfo import make_conninfo

from pgreplkit import LocalControl, Primary
from pgreplkit.lab import Lab, Node
from pgreplkit.lab.installs import Installation
from pgreplkit.lab.node import reserved_port
from pgreplkit.upgrade import TableGroup, Upgrade, UpgradeClone

TABLES, GROUPS = 6, 2
SIZES = ((200_000, 5), (1_000_000, 3))
"""Rows of a table, and rounds: about 300 MB, and 1.5 GB, because clones are for large databases."""
SETTINGS = {"wal_level": "logical", "max_logical_replication_workers": "10"}
CREATE = "CREATE TABLE t{0} (id serial PRIMARY KEY, a int, v text); CREATE INDEX ON t{0} (a)"
FILL = "INSERT INTO t{} (a, v) SELECT i, repeat(md5(i::text), 4) FROM generate_series(1, {}) i"
UNREADY = "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'"


def complete(lab: Lab, major: int) -> Installation:
    """Return an installation with pg_upgrade, which the lab's account can run."""
    found = [one for one in lab.servers if one.version.major == major]
    return lab._runnable(next(one for one in found if (one.bindir / "pg_upgrade").exists()))


def database(new: Node, name: str) -> str:
    """Create an empty database, and return its connection string."""
    with psycopg.connect(new.conninfo, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        connection.execute("CHECKPOINT")
    return make_conninfo(new.conninfo, dbname=name)


def remove(new: Node, name: str) -> None:
    """Drop the database, and leave nothing to write to disk for the next measurement."""
    with psycopg.connect(new.conninfo, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
        connection.execute("CHECKPOINT")
    os.sync()


def rows_by_library(old: Node, new: Node, name: str) -> tuple[float, Sequence[TableGroup]]:
    """Prepare by rows; return the seconds, and the groups of tables."""
    with old.connect() as here, Primary.connect(database(new, name)) as there:
        upgrade = Upgrade(here, there, name=name)
        groups = upgrade.groups(GROUPS)
        began = time.perf_counter()
        upgrade.plan_prepare(groups, bindir=new.installation.bindir).run()
        took = time.perf_counter() - began
        upgrade.plan_finish().run()
    remove(new, name)
    return took, groups


def rows_by_hand(old: Node, new: Node, name: str, groups: Sequence[TableGroup]) -> float:
    """Return the seconds of pg_dump, subscriptions of the same groups, and ANALYZE."""
    there, bindir = database(new, name), new.installation.bindir
    named = [(f"{name}_{number}", group) for number, group in enumerate(groups)]
    with (
        psycopg.connect(old.conninfo, autocommit=True) as here,
        psycopg.connect(there, autocommit=True) as on_new,
    ):
        began = time.perf_counter()
        dump = [bindir / "pg_dump", "--schema-only", f"--dbname={old.conninfo}"]
        schema = subprocess.run(dump, capture_output=True, check=True).stdout
        load = [bindir / "psql", "--quiet", "--single-transaction", f"--dbname={there}"]
        subprocess.run(load, input=schema, capture_output=True, check=True)
        for both, group in named:
            tables = ", ".join(map(str, group.tables))
            here.execute(f"CREATE PUBLICATION {both} FOR TABLE {tables}".encode())
            create = f"CREATE SUBSCRIPTION {both} CONNECTION '{old.conninfo}' PUBLICATION {both}"
            on_new.execute(create.encode())
        while on_new.execute(UNREADY).fetchone() != (0,):
            time.sleep(0.02)
        on_new.execute("ANALYZE")
        took = time.perf_counter() - began
        for both, _ in named:
            on_new.execute(f"DROP SUBSCRIPTION {both}".encode())
            here.execute(f"DROP PUBLICATION {both}".encode())
    remove(new, name)
    return took


def clone_by_library(old: Node, folder: Path, programs: Sequence[Path], name: str) -> float:
    """Return the seconds of a preparation by clone."""
    port = str(reserved_port(old))
    with old.connect() as here:
        clone = UpgradeClone(
            here,
            make_conninfo(old.conninfo, port=port),
            name=name,
            directory=folder,
            old_bindir=programs[0],
            bindir=programs[1],
            settings={"port": port, "unix_socket_directories": ""},
        )
        plan = clone.plan_prepare()
        began = time.perf_counter()
        plan.run()
        took = time.perf_counter() - began
        plan.undo()
    os.sync()
    return took


def clone_by_hand(
    old: Node, folder: Path, programs: Sequence[Path], name: str
) -> tuple[float, float]:
    """Return the seconds until the new server follows without a loss, and those of its programs.

    The programs alone are pg_basebackup, the recovery of the copy, initdb and pg_upgrade --link.
    """
    copy = LocalControl(folder.with_name(f"{folder.name}.copy"), bindir=programs[0])
    new, port = LocalControl(folder, bindir=programs[1]), str(reserved_port(old))
    with psycopg.connect(old.conninfo, autocommit=True) as here:
        began = time.perf_counter()
        backup = [f"-D{copy.data_directory}", f"-d{old.conninfo}", "-cfast", "-C", f"-S{name}_copy"]
        copy.run("pg_basebackup", backup)
        here.execute(f"CREATE PUBLICATION {name} FOR ALL TABLES".encode())
        slot = f"SELECT lsn FROM pg_create_logical_replication_slot('{name}', 'pgoutput')"
        record = here.execute(slot.encode()).fetchone()
        assert record is not None
        # With fsync, as a server that is in use; those of a lab do not flush.
        settings = f"""port = {port}\nfsync = on\nunix_socket_directories = ''\nhot_standby = off
            primary_conninfo = '{old.conninfo}'\nprimary_slot_name = '{name}_copy'
            recovery_target_lsn = '{record[0]}'\nrecovery_target_inclusive = off
            recovery_target_action = promote\n"""
        copy.write_file("postgresql.auto.conf", settings.encode())
        copy.write_file("pg_hba.conf", b"local all all trust\n")
        copy.write_file("standby.signal", b"")
        copy.start()
        here.execute("SELECT pg_logical_emit_message(true, '', '')")
        while copy.read_file("standby.signal") is not None:
            time.sleep(0.02)
        copy.stop()
        here.execute(f"SELECT pg_drop_replication_slot('{name}_copy')".encode())
        sums = here.execute("SHOW data_checksums").fetchone() == ("on",)
        checksums = "--data-checksums" if sums else "--no-data-checksums"
        initdb = [f"-D{folder}", "-Upostgres", "--encoding=UTF8", "--locale=C", "-Atrust"]
        new.run("initdb", [*initdb, checksums])
        both = [f"-d{copy.data_directory}", f"-D{folder}", f"-b{programs[0]}"]
        new.run("pg_upgrade", ["--link", "-Upostgres", *both])
        alone = time.perf_counter() - began
        settings = f"port = {port}\nwal_level = logical\nunix_socket_directories = ''\n"
        new.write_file("postgresql.auto.conf", settings.encode())
        # The options with which pg_upgrade started it.
        new.write_file("postmaster.opts", None)
        new.start()
        with psycopg.connect(make_conninfo(old.conninfo, port=port), autocommit=True) as there:
            there.execute(f"DROP PUBLICATION {name}".encode())
            subscribe = f"""CREATE SUBSCRIPTION {name} CONNECTION '{old.conninfo}'
                PUBLICATION {name} WITH (copy_data = false, create_slot = false, enabled = false)"""
            there.execute(subscribe.encode())
            origin = "SELECT pg_replication_origin_advance('pg_' || oid, %s) FROM pg_subscription"
            there.execute(origin, [record[0]])
            there.execute(f"ALTER SUBSCRIPTION {name} ENABLE".encode())
            shutil.rmtree(copy.data_directory)
            took = time.perf_counter() - began
            there.execute(f"DROP SUBSCRIPTION {name}".encode())
        here.execute(f"DROP PUBLICATION {name}".encode())
    new.stop()
    shutil.rmtree(folder)
    os.sync()
    return took, alone


def show(what: str, pairs: Sequence[tuple[float, float]], limit: str = " (limit 1.1)") -> None:
    """Print the medians, and that of the ratios: the load changes between the pairs."""
    ours, theirs = (median(times) for times in zip(*pairs, strict=True))
    ratio = median(mine / hand for mine, hand in pairs)
    print(f"{what}: {ours:.1f} s; by hand: {theirs:.1f} s; ratio {ratio:.2f}{limit}")


def main() -> None:
    """Prepare by rows and by clone, alternately with the library and by hand."""
    for rows, rounds in SIZES:
        with Lab() as lab:
            compare(lab, rows, rounds)


def compare(lab: Lab, rows: int, rounds: int) -> None:
    """Prepare databases of one size."""
    old = lab.primary(version="16", settings=SETTINGS)
    new = lab.primary(version="18", settings=SETTINGS)
    with psycopg.connect(old.conninfo, autocommit=True) as connection:
        for number in range(TABLES):
            connection.execute(CREATE.format(number).encode())
            connection.execute(FILL.format(number, rows).encode())
        # As in a server that is in use: pg_upgrade keeps the statistics.
        connection.execute("ANALYZE")
        connection.execute("CHECKPOINT")
        size = "SELECT pg_database_size(current_database()) >> 20"
        for (megabytes,) in connection.execute(size):
            print(f"{megabytes} MB:", flush=True)
    by_rows, clones, alone = [], [], []
    programs = [complete(lab, major).bindir for major in (16, 18)]
    for number in range(rounds):
        took, groups = rows_by_library(old, new, f"ours{number}")
        by_rows.append((took, rows_by_hand(old, new, f"hand{number}", groups)))
        folder = lab.root / f"clone{number}"
        took = clone_by_library(old, folder, programs, f"clone{number}")
        whole, least = clone_by_hand(old, folder, programs, f"own{number}")
        clones.append((took, whole))
        alone.append((took, least))
    show("  prepare by rows", by_rows)
    show("  prepare by clone", clones)
    # They leave out the start, the subscription, and the removal of the copy.
    show("  prepare by clone, beside pg_basebackup and pg_upgrade alone", alone, limit="")


if __name__ == "__main__":
    main()
