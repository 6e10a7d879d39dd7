# Generated from pgreplkit/_async/mesh/running.py by `nox -s sync`. Do not edit.
"""MeshRun: runs the streams of a mesh, as its members come and go."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal, TypeAlias

import attrs

from pgreplkit._sync._io import Job, TaskGroup, to_thread
from pgreplkit._sync.logical.applier import Applier
from pgreplkit._sync.logical.applyopening import open_session, session_of
from pgreplkit._sync.mesh.members import read_members
from pgreplkit._sync.mesh.pruning import Pruning
from pgreplkit._sync.wire.link import Link
from pgreplkit._text import one_line
from pgreplkit.apply.membership import Membership
from pgreplkit.apply.policies import Policy, policy_text
from pgreplkit.catalog.logical.applying import READ_APPLIER
from pgreplkit.driver.probe import probe
from pgreplkit.errors import ClockSkewTooLarge, ServerError, WaitTimeout
from pgreplkit.plans.cluster.failover import Reply
from pgreplkit.plans.logical.applying import ApplyReport
from pgreplkit.plans.mesh.layout import Members, applier_name, publication_name, without
from pgreplkit.plans.mesh.membership import insist_on_policy
from pgreplkit.plans.streams.retries import Refusals, may_succeed_later

Stream: TypeAlias = tuple[str, str]
"""The source and the target."""

_LOOKS_EVERY = 0.5
"""Seconds between two looks at the members, and at streams that have ended."""
_PAUSE = 1.0
"""Seconds before a stream whose connection was lost is started again."""
_WORKED = 10.0
"""Seconds after which a stream has worked: what ends it then is another failure."""
_THREADS = 1000
"""More than any mesh has streams; the sync twin starts threads as it needs them."""
_ENDED_WITHIN = 60.0
"""Seconds for the appliers to complete and flush their transactions, which can be long."""

_log = logging.getLogger("pgreplkit.mesh")


@attrs.define
class _Running:
    applier: Applier
    job: Job[ApplyReport]
    members: Members
    since: float = attrs.field(factory=time.monotonic)


class MeshRun:
    """Runs the streams to some nodes of a mesh, in this process.

    A stream whose connection is lost starts again. A node that joins or leaves is noticed; then the
    streams start again with the new members.
    """

    def __init__(
        self,
        mesh: str,
        servers: Mapping[str, str],
        policy: Policy,
        on_error: Literal["stop", "park"],
        appliers: dict[Stream, Applier],
    ) -> None:
        self._mesh, self._servers, self._policy = mesh, servers, policy
        self._policy_text = policy_text(policy)
        self._on_error, self._appliers = on_error, appliers
        self._running: dict[Stream, _Running] = {}
        self._not_before: dict[Stream, float] = {}
        self._refusals: dict[tuple[str, ...], Refusals] = {}
        """The failures in a row of a stream, or of looking at a node."""
        self._members: dict[str, Members] = {}
        self._sessions: dict[str, Link] = {}
        """The sessions for looking at the nodes: a new one each time is a process of the server."""
        self._made_for: dict[Stream, Members] = {}
        """The members for which the appliers were made, which are given their ranks."""
        self._idle: set[str] = set()
        """The nodes of which the log says that they are no members."""
        self._reported: dict[Stream, str] = {}
        """The last warning about a stream: a server that is down does not fill the log."""
        self._pruning = Pruning(mesh, servers)

    def run(self, targets: Callable[[], list[str]], stops: Callable[[], bool]) -> None:
        """Run the streams to the targets until ``stops`` returns True.

        Raises: ApplyError and others of an applier, after which all streams have ended; WaitTimeout
        if a stream does not end.
        """
        try:
            self._run(targets, stops)
        finally:
            for node in [*self._sessions]:
                self._end_session(node)

    def _run(self, targets: Callable[[], list[str]], stops: Callable[[], bool]) -> None:
        group = TaskGroup(_THREADS)
        try:
            while not stops():
                for target in targets():
                    self._look_at(target)
                    self._adjust(group, target)
                self._collect()
                group.rest(_LOOKS_EVERY)
        finally:
            for one in self._running.values():
                one.applier.stop()
            try:
                group.wait([one.job for one in self._running.values()], _ENDED_WITHIN)
            finally:
                late = [stream for stream, one in self._running.items() if not one.job.done()]
                group.close()
        # Their results would be that they were cancelled, which the caller was not.
        for stream in late:
            del self._running[stream]
        self._collect()
        if late:
            listed = ", ".join(f"from {source} to {target}" for source, target in late)
            raise WaitTimeout(
                f"timed out after {_ENDED_WITHIN:g} s waiting for the end of streams: those"
                f" {listed} still apply a transaction, which may wait for a lock of a client there"
            )

    def _look_at(self, target: str) -> None:
        """Read the members that a node has stored; keep those known if it cannot be reached.

        Raises: ApplyError if the mesh has another policy; ServerError that stays.
        """
        try:
            members = read_members(self._session(target), self._mesh)
            insist_on_policy(self._mesh, target, members, self._policy_text)
            self._members[target] = members
            # Pruning asks every member: one that is unknown here could have older changes.
            if target in members.active and {*members.present} <= self._servers.keys():
                self._pruning.look(target, members)
        except ServerError as error:
            self._end_session(target)
            if not may_succeed_later(error, has_logged_in=target in self._members):
                raise
            self._tolerate((target,), error)
            _log.info("mesh %s: %s", self._mesh, one_line(error))
        else:
            self._refusals.pop((target,), None)
            # A node that has left must be free to drop its database.
            if target not in members.active:
                self._end_session(target)

    def _session(self, node: str) -> Link:
        """Return the session for looking at a node; open it, unless it is open."""
        if node not in self._sessions:
            link = self._sessions[node] = open_session(self._servers[node])
            # A plan may create the tables of the mesh again, with other columns.
            link.connection.prepare_threshold = None
        return self._sessions[node]

    def _end_session(self, node: str) -> None:
        if (link := self._sessions.pop(node, None)) is not None:
            link.connection.close()

    def _tolerate(self, nodes: tuple[str, ...], error: ServerError) -> None:
        """Raise an error that has stayed for a while, though all of the nodes take connections.

        As those of a pooler do; an error of a server that is down or starts ends with that.
        """
        refusals = self._refusals.setdefault(nodes, Refusals())
        if not refusals.may_be_permanent(time.monotonic()):
            return
        del self._refusals[nodes]
        replies = [to_thread(partial(probe, self._servers[node])) for node in nodes]
        if all(reply is Reply.ACCEPTED for reply in replies):
            raise error

    def _adjust(self, group: TaskGroup, target: str) -> None:
        """Start and stop the streams to a node."""
        members = self._members.get(target)
        if members is None:
            return
        if target in members.active:
            self._idle.discard(target)
        elif target not in self._idle:
            # It may join later.
            self._idle.add(target)
            _log.warning(
                "mesh %s: %s is no active member, so no stream to it runs until plan_create() or"
                " plan_join() makes it one",
                self._mesh,
                target,
            )
        wanted = self._wanted(members, target)
        for stream, one in self._running.items():
            # Ranks and origins are given to an applier when it is made.
            if stream[1] == target and (stream not in wanted or one.members.ranks != members.ranks):
                one.applier.stop()
        for stream in wanted - self._running.keys():
            if time.monotonic() >= self._not_before.get(stream, 0):
                applier = self._applier(stream, members)
                job = group.start(partial(self._run_stream, stream, applier))
                self._running[stream] = _Running(applier, job, members)

    def _run_stream(self, stream: Stream, applier: Applier) -> ApplyReport:
        """Run a stream that a plan has created: an applier alone would create another one.

        Raises: ServerError if the node does not have the stream; the errors of an applier.
        """
        source, target = stream
        operation = f"run the stream from {source} to {target}"
        with session_of(self._servers[target]) as link:
            if not link.all(operation, READ_APPLIER, [applier.name]):
                raise ServerError(
                    operation,
                    f"the server of {target!r} has no stream from {source!r}, though both are"
                    " members",
                    remedy="correct the connection strings: each node must have the name with which"
                    " it became a member",
                )
        return applier.run()

    def _wanted(self, members: Members, target: str) -> set[Stream]:
        # A node that joins gets its rows first; one that has left gets nothing.
        active = members.active if target in members.active else ()
        return {(source, target) for source in without(active, target) if source in self._servers}

    def _is_wanted(self, stream: Stream) -> bool:
        """Look again: the slot of a node that has just left does not exist."""
        _, target = stream
        self._members.pop(target, None)
        self._look_at(target)
        members = self._members.get(target)
        return members is not None and stream in self._wanted(members, target)

    def _applier(self, stream: Stream, members: Members) -> Applier:
        """Return the applier of a stream: the same one again, whose counts continue."""
        if stream in self._made_for and self._made_for[stream] == members:
            return self._appliers[stream]
        self._made_for[stream] = members
        self._appliers[stream] = applier_of(
            self._mesh, self._servers, self._policy, self._on_error, stream, members
        )
        return self._appliers[stream]

    def _collect(self) -> None:
        """Forget the streams that have ended; raise the error of one that cannot continue."""
        for stream, one in [*self._running.items()]:
            if not one.job.done():
                continue
            del self._running[stream]
            if time.monotonic() - one.since > _WORKED:
                self._refusals.pop(stream, None)
                self._reported.pop(stream, None)
            try:
                one.job.result()
            except ClockSkewTooLarge as error:
                # A clock is corrected at some time, and nothing is lost until then. Its text is
                # another one each time.
                self._pause(stream, error, known_as="clock")
            except ServerError as error:
                if may_succeed_later(error, has_logged_in=one.applier._has_streamed):
                    self._tolerate(stream, error)
                elif self._is_wanted(stream):
                    raise
                self._pause(stream, error)

    def _pause(self, stream: Stream, error: ServerError, known_as: str = "") -> None:
        text = one_line(error)
        is_new = self._reported.get(stream) != (known_as or text)
        self._reported[stream] = known_as or text
        _log.log(logging.WARNING if is_new else logging.INFO, "mesh %s: %s", self._mesh, text)
        self._not_before[stream] = time.monotonic() + _PAUSE


def applier_of(
    mesh: str,
    servers: Mapping[str, str],
    policy: Policy,
    on_error: Literal["stop", "park"],
    stream: Stream,
    members: Members,
) -> Applier:
    """Return the applier of a stream."""
    source, target = stream
    membership = Membership(
        node=target,
        source=source,
        ranks=members.ranks,
        origins=members.origins(mesh, target),
        ties=members.ties,
    )
    return Applier(
        servers[source],
        servers[target],
        applier_name(mesh, source, target),
        publications=[publication_name(mesh)],
        conflicts=policy,
        membership=membership,
        on_error=on_error,
        # Each node sends its own changes: those of others would circulate without end.
        origin="none",
        copy=False,
        truncate=False,
    )
