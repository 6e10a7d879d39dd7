"""The servers that live tests ask: one primary with one standby for each major, kept for long."""

from __future__ import annotations

import asyncio
import functools
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import ParamSpec, TypeVar

import attrs
import psycopg
from disturbances import disturbance
from psycopg.rows import DictRow, dict_row

from pgreplkit import LSN, WalSender
from pgreplkit.lab import Lab, Node

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
        """Wait until the standby has replayed all that the primary wrote; gives that position."""
        target = LSN(str(one(self.primary, "SELECT pg_current_wal_lsn()::text")))
        replayed = "SELECT pg_last_wal_replay_lsn()::text"
        wait_until(lambda: LSN(str(one(self.standby, replayed))) >= target)
        return target


class Clusters:
    """Clusters by major, each made when it is first asked for."""

    def __init__(self, lab: Lab, *, disturbed: bool = False) -> None:
        self.lab = lab
        self._made: dict[int, Cluster] = {}
        self._disturbed = disturbed
        self._disturbances = ExitStack()

    def kept(self) -> set[str]:
        """The names of the nodes of these clusters."""
        pairs = self._made.values()
        return {node.name for pair in pairs for node in (pair.primary, pair.standby)}

    def of(self, major: int) -> Cluster:
        if major not in self._made:
            name = f"pg{major}"
            # Autovacuum commits when it likes, where tests wait for nothing to be committed.
            settings = {"wal_level": "logical", "autovacuum": "off"}
            settings["max_prepared_transactions"] = "10"
            # A subscription's worker that failed is started again soon.
            settings["wal_retrieve_retry_interval"] = "500ms"
            primary = self.lab.primary(version=major, name=name, settings=settings)
            standby = self.lab.standby(primary, slot=SLOT, name=f"{name}-standby")
            run(primary, "CREATE ROLE stranger LOGIN PASSWORD 'stranger'")
            run(primary, "CREATE ROLE observer LOGIN PASSWORD 'observer' IN ROLE pg_monitor")
            self._made[major] = Cluster(primary, standby)
            if self._disturbed:
                self._disturbances.enter_context(disturbance(primary))
        return self._made[major]

    def close(self) -> None:
        """End the disturbances; the lab ends the servers."""
        self._disturbances.close()


def run(node: Node, sql: str) -> None:
    """Execute a statement that gives no rows."""
    with psycopg.connect(node.conninfo, autocommit=True) as connection:
        connection.execute(sql.encode())


def one(node: Node, sql: str) -> object:
    """The one value that a query gives."""
    [value] = rows(node, sql)[0].values()
    return value


def rows(node: Node, sql: str) -> list[DictRow]:
    """The records that a query gives."""
    with (
        psycopg.connect(node.conninfo, autocommit=True) as connection,
        connection.cursor(row_factory=dict_row) as cursor,
    ):
        return cursor.execute(sql.encode()).fetchall()


def conninfo_as(node: Node, role: str) -> str:
    """How to connect as one of the roles that every cluster has."""
    return psycopg.conninfo.make_conninfo(
        node.conninfo, user=role, password=role, dbname="postgres"
    )


@contextmanager
def streaming(node: Node, slot: str | None, *, name: str = "holder") -> Iterator[int]:
    """A client that streams, from a slot or without, and never answers; gives its sender's pid."""
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
    """Wait until it holds; fails when it does not in time."""
    deadline = time.monotonic() + TIMEOUT
    while not holds():
        assert time.monotonic() < deadline, "what the test waits for did not happen"
        time.sleep(0.02)


async def soon(ask: Callable[[], Awaitable[Answer]], holds: Callable[[Answer], bool]) -> Answer:
    """Ask until the answer is as it should be soon; gives the last one, for the test to look at."""
    deadline = time.monotonic() + TIMEOUT
    while not holds(answer := await ask()) and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    return answer


def have_replied(senders: Sequence[WalSender]) -> bool:
    """Whether there are walsenders, and each knows how far its client has replayed."""
    return bool(senders) and all(sender.replay_lsn is not None for sender in senders)


def reads_twice(
    test: Callable[Given, Coroutine[None, None, None]],
) -> Callable[Given, Coroutine[None, None, None]]:
    """A test that compares what it reads with what the server says a moment later.

    It begins anew where they differ, a few times: servers write WAL of their own every 15 s, and
    a standby tells only now and then how far it is.
    """

    @functools.wraps(test)
    async def tried(*args: Given.args, **given: Given.kwargs) -> None:
        for _ in range(4):
            try:
                return await test(*args, **given)
            except (AssertionError, ValueError):  # also for a row too many
                await asyncio.sleep(0.2)
        return await test(*args, **given)

    return tried


def restored(node: Node) -> None:
    """Leave the settings that a restore to a point in time writes, in several files."""
    folder = node.data_dir / "conf.d"
    folder.mkdir()
    owner = node.data_dir.stat()
    os.chown(folder, owner.st_uid, owner.st_gid)
    included = node._place.make_file(folder / "restore.conf", "recovery_target_inclusive = off\n")
    left = "recovery_target_time = '2023-01-27 13:30:00+01'\nrecovery_target_action = 'promote'\n"
    if node.major < 12:
        node._place.make_file(node.data_dir / "recovery.done", left)
        return
    written = {
        included: "recovery_target_xid = '1'\n",
        node.data_dir / "postgresql.conf": "include_dir 'conf.d'\n",
        node.data_dir / "postgresql.auto.conf": f"recovery_target_xid = ''\n{left}",
    }
    for path, text in written.items():
        with path.open("a") as file:
            file.write(text)
