"""A command is cancelled within a limit, whatever the client's libpq and the server's state."""

from __future__ import annotations

import asyncio
import signal
import time
from threading import Thread

import psutil
import psycopg
import pytest
from clusters import Clusters
from pauses import longest_pause_during
from psycopg.conninfo import make_conninfo
from relays import Relay

import pgreplkit
from pgreplkit._sync.wire.cancelling import cancel
from pgreplkit.driver import watchdog
from pgreplkit.lab import Node
from pgreplkit.plans.streams import silence

LIMIT = 0.5


@pytest.fixture
def node(clusters: Clusters, major: int) -> Node:
    return clusters.lab.primary(version=major)


@pytest.fixture(params=[16, 17], autouse=True)
def libpq(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the functions that an older libpq has, and those since 17."""
    if request.param < 17:
        monkeypatch.setattr(psycopg.capabilities, "has_cancel_safe", lambda: False)


class Sleeping:
    """A command that sleeps in another thread."""

    def __init__(self, conninfo: str) -> None:
        self.connection = psycopg.connect(conninfo, autocommit=True)
        self.error: str | None = None
        self._thread = Thread(target=self._sleep, daemon=True)
        self._thread.start()
        is_active = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND state = 'active'"
        with psycopg.connect(conninfo, autocommit=True) as other:
            pid = self.connection.info.backend_pid
            while other.execute(is_active, [pid]).fetchone() != (1,):
                time.sleep(0.01)

    def _sleep(self) -> None:
        try:
            self.connection.execute("SELECT pg_sleep(600)")
        except psycopg.Error as error:
            self.error = error.sqlstate

    def end(self) -> str | None:
        """Return the SQLSTATE with which the command ends within 10 seconds."""
        self._thread.join(10)
        self.connection.close()
        return self.error


@pytest.mark.matrix
@pytest.mark.parametrize("is_local", [True, False], ids=["socket", "tcp"])
def test_a_command_is_cancelled(node: Node, is_local: bool) -> None:
    tcp = make_conninfo(node.conninfo, host="127.0.0.1")
    sleeping = Sleeping(node.conninfo if is_local else tcp)
    cancel(sleeping.connection, timeout=10)
    assert sleeping.end() == "57014"


@pytest.mark.matrix
def test_a_cancellation_ends_in_time_where_the_server_does_not_take_it(node: Node) -> None:
    sleeping = Sleeping(node.conninfo)
    first_line = (node.data_directory / "postmaster.pid").read_text().split("\n", 1)[0]
    postmaster = psutil.Process(int(first_line))
    # The kernel accepts its connections in the meantime.
    postmaster.send_signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        pause = longest_pause_during(lambda: cancel(sleeping.connection, timeout=LIMIT))
        took = time.monotonic() - began
    finally:
        postmaster.send_signal(signal.SIGCONT)
    assert pause < LIMIT
    assert took < 5 * LIMIT
    cancel(sleeping.connection, timeout=10)
    assert sleeping.end() == "57014"


@pytest.mark.matrix
def test_an_interrupted_task_leaves_a_silent_path(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "DEFAULT_LIMIT", LIMIT)
    monkeypatch.setattr(watchdog, "_BEAT", 0.2)

    async def ask(conninfo: str) -> None:
        async with await pgreplkit.AsyncPrimary.connect(conninfo, connect_timeout=2) as primary:
            async with asyncio.timeout(LIMIT):
                await primary.slots()

    def run() -> None:
        with pytest.raises(TimeoutError):
            asyncio.run(ask(where))

    with Relay(node.port, frozen_by=b"pg_replication_slots") as relay:
        where = relay.conninfo_of(node.conninfo)
        began = time.monotonic()
        pause = longest_pause_during(run)
        took = time.monotonic() - began
    assert pause < 1
    # psycopg waits 5 seconds for its request, and 5 for the end of the command.
    assert took < 15
