# Generated from pgreplkit/_async/cluster/upgradelock.py by `nox -s sync`. Do not edit.
"""UpgradeLock: keeps other processes from running plans of the same upgrade."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

import attrs

from pgreplkit._sync._io import sleep
from pgreplkit._sync.cluster.upgradefences import read_unfenced
from pgreplkit._sync.cluster.upgradeschema import read_kept_schema
from pgreplkit._sync.logical.fence import read_fence_function
from pgreplkit._sync.primary import Primary
from pgreplkit._sync.server.server import Server
from pgreplkit._sync.wire.pooling import insist_on_session
from pgreplkit._sync.wire.session import use_own_settings
from pgreplkit.catalog.cluster import upgradelock as sql
from pgreplkit.catalog.logical.fence import FenceFunction
from pgreplkit.driver.backoff import Backoff
from pgreplkit.driver.conninfo import conninfo_of
from pgreplkit.driver.failures import translate_errors
from pgreplkit.driver.watchdog import answered_in_time
from pgreplkit.errors import ConnectionFailed, ServerError, UpgradeActive
from pgreplkit.plans.cluster import upgradesteps as steps
from pgreplkit.plans.cluster.journal import CLONING, REBUILT, Journal
from pgreplkit.plans.cluster.steps import Step
from pgreplkit.plans.cluster.upgrade import NEW, OLD, Names
from pgreplkit.plans.cluster.upgradefences import (
    accepting,
    lasting_steps,
    must_be_fenced,
    stale_publication,
    stale_reason,
    unfenced_remedy,
)

_RELEASED_WITHIN = 3.0
"""Seconds for the session of a process that was killed, or of the last plan, to end."""

_ANSWERS_WITHIN = 10.0
"""Seconds for a session with a lock to answer before a step, as long as a connection may take: its
process may be stopped, or its host, while no one can write."""


class UpgradeLock:
    """A lock on each server of an upgrade, so that one process at a time runs its plans.

    A journal file does not reach another host. Sessions of their own have the locks: they end with
    the process, also while the server still executes its last statement.
    """

    def __init__(self, names: Names, servers: Mapping[str, Primary]) -> None:
        self._names = names
        # All take the locks in this order, so that one of two that begin together goes on.
        self._servers = dict(servers)
        # The addresses that the connections have reached: a connection string may name several
        # hosts.
        self._addresses = {node: conninfo_of(one.connection) for node, one in servers.items()}
        self._sessions: dict[str, Server] = {}

    @contextmanager
    def held(self, operation: str, *, resumes: bool) -> Iterator[None]:
        """Hold the locks during the block.

        One of them suffices to exclude others: ``resumes`` continues without that of a server
        that does not answer, because it may be lost when the clients have still to be moved.

        Raises: UpgradeActive; ConnectionFailed; ServerError for the connection of a pooler.
        """
        # A second call on the same plan is refused, and must not release the locks of the first.
        taken: dict[str, Server] = {}
        try:
            lost: ConnectionFailed | None = None
            for node in self._servers:
                try:
                    taken[node] = self._take(operation, node)
                except ConnectionFailed as error:
                    lost = error
            if lost is not None and not (resumes and taken):
                raise lost
            self._sessions = taken
            yield
        finally:
            for session in taken.values():
                session.close()
            taken.clear()

    def verify(self, operation: str, node: str) -> None:
        """Insist that a server's lock is held, before a step changes something there.

        Raises: UpgradeActive; ConnectionFailed if its session was lost: others may have it now.
        """
        if (session := self._sessions.get(node)) is not None:
            with (
                translate_errors(operation),
                answered_in_time(session.connection, within=_ANSWERS_WITHIN),
            ):
                session.connection.execute(sql.ANSWERS)
        elif node in self._servers:
            self._sessions[node] = self._take(operation, node)

    def marked(self, journal: Journal) -> Journal:
        """Return a journal that begins, with the identities of the fences."""
        fences = [
            (read_fence_function(server._link, self._names.fence)).identity
            for server in self._servers.values()
        ]
        return attrs.evolve(journal, fences=tuple(fences))

    def stale_reason(self, journal: Journal, *, undoes: bool) -> str:
        """Return what shows that another process has continued the operation since.

        Raises: ConnectionFailed if a server does not answer, unless clients have to be moved.
        """
        found: dict[str, FenceFunction | None] = {OLD: None, NEW: None}
        for node, server in self._servers.items():
            try:
                found[node] = read_fence_function(server._link, self._names.fence)
            except ConnectionFailed:
                # Its fence may be the only sign of another preparation, whose objects on the other
                # server would be dropped.
                if journal.writes is None:
                    raise
        reason = stale_reason(journal, found, undoes=undoes)
        if not reason and journal.operation.startswith(CLONING):
            published = [one for one in journal.begun if isinstance(one, steps.PublishTables)]
            kept = {
                one.publication: read_kept_schema(self._servers[OLD], one.publication)
                for one in published
            }
            reason = stale_publication(journal, kept)
        since = "another process has continued it since, or begun another one"
        return f"{reason}: {since}; {accepting(found)}" if reason else ""

    def insist_on_state(self, operation: str, journal: Journal) -> None:
        """Insist that the servers are still as the finished steps have left them.

        Raises: ServerError if clients could have written since, or if someone has taken back a step
        without which no server may accept writes.
        """
        self._insist_on_fences(operation, journal)
        for step in lasting_steps(journal):
            if (server := self._servers.get(step.node)) is None:
                continue
            with suppress(ConnectionFailed):
                if changed := _changed(server, step):
                    raise ServerError(
                        operation,
                        f"the {step.node} server {changed}, though this was done: {step}",
                        remedy=f"undo() the plan; or pass another path as journal=, where no file"
                        f" exists: {REBUILT}",
                    )

    def _insist_on_fences(self, operation: str, journal: Journal) -> None:
        fence = self._names.fence
        for node, publications in must_be_fenced(journal).items():
            if (server := self._servers.get(node)) is None:
                continue
            with suppress(ConnectionFailed):
                if tables := read_unfenced(server._link, publications, fence):
                    raise ServerError(
                        operation,
                        f"the {node} server accepts writes to {', '.join(map(str, tables))}, though"
                        " it was fenced",
                        remedy=unfenced_remedy(journal, node, tables, fence),
                    )

    def _take(self, operation: str, node: str) -> Server:
        session = Server.connect(self._addresses[node])
        try:
            link = session._link
            insist_on_session(link, operation, f"the {node} server")
            use_own_settings(link.connection)
            link.all(operation, sql.KEEPALIVE)
            backoff = Backoff(_RELEASED_WITHIN)
            while not (link.one(operation, sql.LOCK, [self._names.upgrade]))["is_locked"]:
                if not backoff.is_over:
                    sleep(backoff.next_pause())
                    continue
                holders = link.all(operation, sql.LOCKED_BY, [self._names.upgrade])
                holder = holders[0] if holders else dict.fromkeys(sql.HOLDER)
                raise UpgradeActive(operation, node, *(holder[name] for name in sql.HOLDER))
        except BaseException:
            session.close()
            raise
        return session


def _changed(server: Primary, step: Step) -> str:
    """Return how a server differs from what a step has left there; empty if it does not."""
    match step:
        case steps.StopSubscriptions():
            there = server.subscriptions()
            names = [one.name for one in there if one.state.subenabled]
            enabled = [name for name in step.subscriptions if name in names]
            return f"has enabled {', '.join(enabled)}" if enabled else ""
        case steps.MakeBackSlots():
            slots = {slot.name for slot in server.slots()}
            missing = [name for name in step.slots if name not in slots]
            return f"has no slot {', '.join(missing)}" if missing else ""
    return ""
