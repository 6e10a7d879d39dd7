"""The servers of live tests: a primary and a standby for each major version."""

from __future__ import annotations

import asyncio
import functools
import os
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import ParamSpec, TypeVar, cast

import attrs
import psycopg
import pytest
from disturbances import disturbance
from psycopg.rows import DictRow, dict_row

from pgreplkit import LSN
from pgreplkit.driver.backoff import Backoff
from pgreplkit.lab import Lab, Node
from pgreplkit.rows import WalSender

SLOT = "replica1"
TIMEOUT = 30.0
Answer = TypeVar("Answer")
Given = ParamSpec("Given")


@attrs.frozen
class Cluster:
    """A primary and its standby."""

    primary: Node
    standby: Node

    @property
    def major(self) -> int:
        return self.primary.major

    def catch_up(self) -> LSN:
        """Wait until the standby has replayed all WAL of the primary; return that position."""
        target = LSN(str(one(self.primary, "SELECT pg_current_wal_lsn()::text")))
        replayed = "SELECT pg_last_wal_replay_lsn()::text"
        wait_until(lambda: LSN(str(one(self.standby, replayed))) >= target)
        return target

    def without_others(self) -> None:
        """Wait until the standby is the only client: walsenders end a little after theirs."""
        clients = "SELECT application_name AS name FROM pg_stat_replication"
        only = [{"name": self.standby.name}]
        wait_until(lambda: rows(self.primary, clients) == only)

    def write_until(self, seen: threading.Event) -> None:
        """Commit until the event is set.

        No commit waits for a standby before the checkpointer, too, has read the setting.
        """
        while not seen.is_set():
            run(self.primary, "SELECT pg_logical_emit_message(true, 'x', 'x')")


class Clusters:
    """One cluster for each major version, created on first use."""

    def __init__(self, lab: Lab, *, disturbed: bool = False) -> None:
        self.lab = lab
        self._made: dict[int, Cluster] = {}
        self._tracking: dict[int, Node] = {}
        self._disturbed = disturbed
        self._disturbances = ExitStack()
        self.quiet = threading.Lock()
        """Held while nothing may disturb the servers."""

    def kept(self) -> set[str]:
        """The names of the nodes of these clusters."""
        pairs = [(pair.primary, pair.standby) for pair in self._made.values()]
        return {node.name for nodes in (*pairs, self._tracking.values()) for node in nodes}

    def of(self, major: int) -> Cluster:
        if major not in self._made:
            name = f"pg{major}"
            # Autovacuum would commit at any time; some tests need a primary that commits nothing.
            settings = {"wal_level": "logical", "autovacuum": "off"}
            settings["max_prepared_transactions"] = "10"
            # A subscription's worker that failed is started again soon.
            settings["wal_retrieve_retry_interval"] = "500ms"
            primary = self.lab.primary(version=major, name=name, settings=settings)
            run(primary, "CREATE ROLE stranger LOGIN PASSWORD 'stranger'")
            run(primary, "CREATE ROLE observer LOGIN PASSWORD 'observer' IN ROLE pg_monitor")
            # After the roles, as whom tests connect to the standby at once.
            standby = self.lab.standby(primary, slot=SLOT, name=f"{name}-standby")
            self._made[major] = Cluster(primary, standby)
            if self._disturbed:
                self._disturbances.enter_context(disturbance(primary, self.quiet))
        return self._made[major]

    def tracking(self, major: int) -> Node:
        """Return a primary that tracks the times of commits, as meshes need it."""
        if major not in self._tracking:
            settings = {"wal_level": "logical", "track_commit_timestamp": "on"}
            name = f"pg{major}-tracking"
            self._tracking[major] = self.lab.primary(version=major, name=name, settings=settings)
        return self._tracking[major]

    def close(self) -> None:
        """End the disturbances; the lab ends the servers."""
        self._disturbances.close()


def run(node: Node, sql: str) -> None:
    """Execute a statement without a result."""
    with psycopg.connect(node.conninfo, autocommit=True) as connection:
        connection.execute(sql.encode())


def one(node: Node, sql: str) -> object:
    """Return the single value of a query."""
    [value] = rows(node, sql)[0].values()
    return value


def rows(node: Node, sql: str) -> list[DictRow]:
    """Return the rows of a query."""
    with (
        psycopg.connect(node.conninfo, autocommit=True) as connection,
        connection.cursor(row_factory=dict_row) as cursor,
    ):
        return cursor.execute(sql.encode()).fetchall()


def conninfo_as(node: Node, role: str) -> str:
    """Return the connection string of a role that every cluster has."""
    return psycopg.conninfo.make_conninfo(
        node.conninfo, user=role, password=role, dbname="postgres"
    )


@contextmanager
def streaming(node: Node, slot: str | None, *, name: str = "holder") -> Iterator[int]:
    """Stream WAL without replies, from a slot or without one; yield the walsender's pid."""
    conninfo = psycopg.conninfo.make_conninfo(
        node.conninfo, replication="true", application_name=name
    )
    client = psycopg.pq.PGconn.connect(conninfo.encode())
    try:
        start = client.exec_(b"IDENTIFY_SYSTEM").get_value(0, 2) or b""
        using = f"SLOT {slot} " if slot else ""
        result = client.exec_(f"START_REPLICATION {using}PHYSICAL ".encode() + start)
        assert result.status == psycopg.pq.ExecStatus.COPY_BOTH, result.error_message
        yield client.backend_pid
    finally:
        client.finish()


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait until the condition holds; fail if it does not in time."""
    backoff = Backoff(TIMEOUT)
    while not holds():
        assert not backoff.is_over, "the condition did not become true in time"
        time.sleep(min(backoff.next_pause(), 0.1))


async def soon(ask: Callable[[], Awaitable[Answer]], holds: Callable[[Answer], bool]) -> Answer:
    """Ask until the answer satisfies the condition or time is up; return the last answer."""
    backoff = Backoff(TIMEOUT)
    while not holds(answer := await ask()) and not backoff.is_over:
        await asyncio.sleep(min(backoff.next_pause(), 0.1))
    return answer


def is_one_that_has_replied(senders: Sequence[WalSender]) -> bool:
    """Return True if there is one walsender, and it knows the replay position of its client."""
    return len(senders) == 1 and senders[0].replay_lsn is not None


def reads_twice(
    test: Callable[Given, Coroutine[None, None, None]],
) -> Callable[Given, Coroutine[None, None, None]]:
    """Repeat a test that compares a report with the server's state a moment later.

    The two may differ: servers write WAL of their own every 15 s, and a standby reports its
    position only from time to time. So the test is repeated a few times.
    """

    @functools.wraps(test)
    async def tried(*args: Given.args, **given: Given.kwargs) -> None:
        for _ in range(4):
            try:
                return await test(*args, **given)
            except (AssertionError, ValueError):  # also for a row too many
                await asyncio.sleep(0.2)
        return await test(*args, **given)

    return cast(Callable[Given, Coroutine[None, None, None]], pytest.mark.quiet(tried))


def restored(node: Node) -> None:
    """Leave the settings that a restore to a point in time writes, in several files."""
    folder = node.data_directory / "conf.d"
    folder.mkdir()
    owner = node.data_directory.stat()
    os.chown(folder, owner.st_uid, owner.st_gid)
    included = node._place.make_file(folder / "restore.conf", "recovery_target_inclusive = off\n")
    left = "recovery_target_time = '2023-01-27 13:30:00+01'\nrecovery_target_action = 'promote'\n"
    if node.major < 12:
        node._place.make_file(node.data_directory / "recovery.done", left)
        return
    written = {
        included: "recovery_target_xid = '1'\nprimary_slot_name = 'of_an_old_upstream'\n",
        node.data_directory / "postgresql.conf": "include_dir 'conf.d'\n",
        node.data_directory / "postgresql.auto.conf": f"recovery_target_xid = ''\n{left}",
    }
    for path, text in written.items():
        with path.open("a") as file:
            file.write(text)
