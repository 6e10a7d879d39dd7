"""Checks, metrics and the command line agree about each trouble of a cluster."""

from __future__ import annotations

import contextlib
import io
import json
from datetime import timedelta

import pytest
from clusters import Clusters, run, wait_until
from databases import Database
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from pgreplkit import Primary, Standby, Watch, command
from pgreplkit.checks import CheckResult
from pgreplkit.driver.conninfo import address
from pgreplkit.lab import Node
from pgreplkit.metrics import Collector
from pgreplkit.rows import LagReason

Series = dict[tuple[str, ...], float]


def printed(*arguments: str) -> tuple[int, str]:
    """Run the command; return its exit status and its output."""
    with contextlib.redirect_stdout(io.StringIO()) as output:
        status = command.main(arguments)
    return status, output.getvalue()


class Observer:
    """Scrapes the metrics of two servers, and asks the command line about them."""

    def __init__(self, watch: Watch, primary: Node, standby: Node) -> None:
        self.watch, self.primary, self.standby = watch, primary, standby
        self.names = [address(node.conninfo) for node in (primary, standby)]
        self.positions: list[float] = []
        self._registry = CollectorRegistry()
        self._registry.register(Collector(watch))

    def scrape(self) -> dict[str, Series]:
        found: dict[str, Series] = {}
        for family in text_string_to_metric_families(generate_latest(self._registry).decode()):
            for sample in family.samples:
                found.setdefault(sample.name, {})[(*sample.labels.values(),)] = sample.value
        positions = found["pgreplkit_wal_bytes_total"]
        self.positions.append(positions[self.names[1],])
        return found

    def state(self) -> str:
        states = self.scrape().get("pgreplkit_replay_state", {})
        return next((state for (*_, state), value in states.items() if value), "")

    def codes(self) -> tuple[int, int, int]:
        """The status by the metrics, by a check of a sample, and by the command line."""
        metrics = self.scrape()["pgreplkit_check_status"]
        by_command, text = printed("lag", *self.nodes, "--check", "--json")
        assert json.loads(text)["exit_code"] == by_command
        return int(max(metrics.values())), CheckResult.of(next(self.watch)).exit_code, by_command

    @property
    def nodes(self) -> list[str]:
        return [self.primary.conninfo, self.standby.conninfo]


def write(node: Node) -> None:
    run(node, "SELECT pg_logical_emit_message(true, 'x', repeat('x', 9000))")


@pytest.mark.pg(">=18")  # The decisions are tested for all versions without a server.
def test_each_trouble_has_one_status_everywhere(clusters: Clusters, major: int) -> None:
    settings = {"archive_mode": "on", "archive_command": "exit 0"}
    primary = clusters.lab.primary(version=major, settings=settings)
    standby = clusters.lab.standby(primary, slot="replica1")
    names = [address(node.conninfo) for node in (primary, standby)]
    with (
        Watch(dict(zip(names, [primary.conninfo, standby.conninfo], strict=True)),
              interval=0.05, timeout=10, retention=True) as watch,
        Standby.connect(standby.conninfo) as replica,
    ):  # fmt: skip
        seen = Observer(watch, primary, standby)
        wait_until(lambda: seen.state() == LagReason.CAUGHT_UP)
        assert seen.codes() == (0, 0, 0)

        with replica.paused():
            write(primary)
            wait_until(lambda: seen.state() == LagReason.PAUSED)
            assert seen.codes() == (1, 1, 1)

        replica.set_apply_delay(timedelta(hours=1))
        write(primary)
        wait_until(lambda: seen.state() == LagReason.DELAYED)
        assert seen.codes() == (0, 0, 0)
        replica.set_apply_delay(timedelta(0))

        run(standby, "ALTER SYSTEM SET primary_conninfo = 'host=/nowhere'")
        run(standby, "SELECT pg_reload_conf()")
        wait_until(lambda: seen.state() == LagReason.NOT_STREAMING)
        assert seen.codes() == (2, 2, 2)
        assert (names[1],) not in seen.scrape().get("pgreplkit_replay_lag_bytes", {})

        write(primary)
        wait_until(lambda: printed("slots", primary.conninfo, "--check")[0] == 1)
        labels = (names[0], "replica1", "physical")
        # The last sample may be older than the write.
        wait_until(lambda: seen.scrape()["pgreplkit_slot_retained_bytes"][labels] > 9000)
        assert seen.scrape()["pgreplkit_slot_active"][labels] == 0
        limit = ["--critical", "retained_bytes=9000"]
        assert printed("slots", primary.conninfo, "--check", *limit)[0] == 2

        run(primary, "ALTER SYSTEM SET archive_command = 'exit 1'")
        run(primary, "SELECT pg_reload_conf()")
        run(primary, "SELECT pg_switch_wal()")
        wait_until(lambda: bool(seen.scrape()["pgreplkit_archiver_failing"][names[0],]))
        wait_until(lambda: seen.scrape()["pgreplkit_check_status"][names[0],] == 2)
        code, line = printed("retention", primary.conninfo, "--check")
        assert (code, "archiver: failed for 0000" in line) == (2, True)

        run(primary, "ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
        run(primary, "SELECT pg_reload_conf()")
        lost = (names[0], "replica1", "lost", "physical")
        assert seen.scrape()["pgreplkit_slot_state"][lost] == 0
        for _ in range(2):
            write(primary)
            run(primary, "SELECT pg_switch_wal()")
        run(primary, "CHECKPOINT")
        wait_until(lambda: seen.scrape()["pgreplkit_slot_state"][lost] == 1)
        code, line = printed("slots", primary.conninfo, "--check")
        assert (code, line.startswith("CRITICAL - slot replica1 is lost")) == (2, True)

        standby.promote()
        wait_until(lambda: "pgreplkit_replay_state" not in seen.scrape())
        wait_until(lambda: max(seen.scrape()["pgreplkit_split_brain"].values()) == 1)
        assert seen.codes() == (2, 2, 2)
        code, line = printed("tree", *seen.nodes, "--check")
        assert (code, line.startswith("CRITICAL - primary: ")) == (2, True)

        primary.stop("immediate")
        wait_until(lambda: seen.scrape()["pgreplkit_up"][names[0],] == 0)
        assert seen.codes() == (2, 2, 2)
        down = seen.scrape()
        assert (names[0],) not in down["pgreplkit_wal_bytes_total"]
        assert down["pgreplkit_check_status"][names[1],] == 0
        assert max(down["pgreplkit_split_brain"].values()) == 0
        assert printed("tree", *seen.nodes, "--check")[0] == 2
        assert seen.positions == sorted(seen.positions)


@pytest.mark.pg(">=18")
def test_each_report_of_a_server_is_printed(database: Database) -> None:
    with Primary.connect(database.conninfo) as server:
        ready = server.check_readiness()
        slots = [slot.state.slot_name for slot in server.slots()]
    code, text = printed("ready", database.conninfo, "--json")
    assert (code, json.loads(text).keys()) == (0, ready.to_dict().keys())
    assert printed("ready", database.conninfo)[1].startswith(("ready", "not ready"))
    subscriber = ["--subscriber", database.conninfo]
    assert printed("ready", database.conninfo, *subscriber, "--check")[0] == 3  # no tables
    _, text = printed("slots", database.conninfo, "--json")
    assert [row["slot_name"] for row in json.loads(text)] == slots
    assert printed("subscriptions", database.conninfo) == (0, "no rows\n")
    assert printed("subscriptions", database.conninfo, "--check")[0] == 3
    assert printed("drift", database.conninfo, database.conninfo, "--check")[0] == 3
    code, text = printed("upgrade", "check", database.conninfo, database.conninfo, "--check")
    assert (code, text.startswith("CRITICAL - ")) == (2, True)
    assert "pg_wal has" in printed("retention", database.conninfo)[1]
    assert "primary, timeline" in printed("tree", database.conninfo)[1]
    _, text = printed("lag", database.conninfo, "--json")
    assert address(database.conninfo) in json.loads(text)["nodes"]
