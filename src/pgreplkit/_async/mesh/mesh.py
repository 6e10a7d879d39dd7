"""AsyncMesh: servers that all write the same tables."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Literal

from pgreplkit._async._io import TaskGroup
from pgreplkit._async.cluster.plan import AsyncChecks, AsyncPlan
from pgreplkit._async.cluster.site import AsyncSite
from pgreplkit._async.logical.applier import AnyServer, AsyncApplier, conninfo_of
from pgreplkit._async.mesh.actions import AsyncMeshActor
from pgreplkit._async.mesh.catchup import catch_up
from pgreplkit._async.mesh.checks import (
    AsyncForgetChecks,
    AsyncLeaveChecks,
    AsyncMeshChecks,
    AsyncPolicyChecks,
    AsyncRemoveChecks,
)
from pgreplkit._async.mesh.compare import AsyncMeshCompare
from pgreplkit._async.mesh.members import (
    chosen_tables,
    find_members,
    has_publication,
    mesh_tables,
    read_members,
    sending_slots,
)
from pgreplkit._async.mesh.running import AsyncMeshRun, Stream, applier_of
from pgreplkit._async.mesh.sequences import spread_sequences
from pgreplkit._async.mesh.setup import node_setup
from pgreplkit._async.mesh.status import read_conflicts, read_stream
from pgreplkit._async.server.server import AsyncServer
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.apply.policies import (
    LastUpdateWins,
    Policy,
    checked_policy,
    clock_limit,
    deltas_of,
    policy_text,
)
from pgreplkit.errors import NodeNotFound, ServerError, TableNotFound
from pgreplkit.host.journalfile import read_journal
from pgreplkit.plans.cluster.journal import Journal
from pgreplkit.plans.mesh.layout import (
    Members,
    MemberState,
    check_node_names,
    checked_mesh_name,
    checked_node,
    new_members,
    table_choice,
    without,
)
from pgreplkit.plans.mesh.membership import insist_on_policy
from pgreplkit.plans.mesh.operations import (
    check_mesh,
    create_steps,
    forget_steps,
    join_steps,
    leave_steps,
    policy_steps,
    remove_steps,
)
from pgreplkit.plans.mesh.sequences import SequenceSpread
from pgreplkit.plans.mesh.status import MeshComparison, MeshConflict, MeshSetup, MeshStream
from pgreplkit.values.madeby import made_by
from pgreplkit.values.moments import checked_moment
from pgreplkit.values.rolename import checked_role_name
from pgreplkit.values.rows import Rows
from pgreplkit.values.seconds import Timeout, checked_seconds
from pgreplkit.values.tablename import AnyTable, TableName

_ENDED_WITHIN = 90.0
"""Seconds for ``run`` to end in ``running``: longer than it waits for its appliers."""


class AsyncMesh:
    """Servers that all write the same tables, each of which applies the changes of all others.

    ``nodes`` maps a name to a server or a connection string; the mesh opens connections of its own.
    ``tables`` are names, or ``schema.*`` for all tables of a schema. ``name`` distinguishes meshes
    of the same servers: slots, origins and the publication are named after it.

    ``policy`` decides conflicts, by default LastUpdateWins(). A change that a node refuses ends
    ``run``, or with ``on_error="park"`` its transaction is put aside. Use the same arguments in
    every process.

    Needs: on each node wal_level = logical, track_commit_timestamp = on, and what ``setup_sql``
    grants.
    """

    def __init__(
        self,
        nodes: Mapping[str, AnyServer],
        *,
        tables: Iterable[AnyTable],
        policy: Policy | None = None,
        name: str = "mesh",
        on_error: Literal["stop", "park"] = "stop",
    ) -> None:
        self.name: str = checked_mesh_name(name)
        if not isinstance(nodes, Mapping):
            raise TypeError(f"nodes must map names to servers, not {type(nodes).__name__}")
        check_node_names(self.name, nodes)
        # A mesh of one would check nothing, and have no stream.
        if len(nodes) < 2:
            raise ValueError(
                f"a mesh has at least two nodes, got {len(nodes)}; if the others have left, keep"
                " one of them in the mapping"
            )
        # No function, as an applier takes: it could decide otherwise on each node.
        if on_error not in ("stop", "park"):
            raise ValueError(f"on_error must be stop or park, got {on_error!r}")
        self._servers = {node: conninfo_of(server) for node, server in nodes.items()}
        self._choice = table_choice(tables)
        self._policy: Policy = LastUpdateWins() if policy is None else checked_policy(policy)
        self._on_error: Literal["stop", "park"] = on_error
        self._appliers: dict[Stream, AsyncApplier] = {}
        self._is_running = self._is_stopping = False

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names of the nodes that this object knows."""
        return tuple(self._servers)

    # Operations

    async def setup_sql(self, role: str, *, timeout: Timeout = 60.0) -> MeshSetup:
        """Return the statements by which an administrator prepares ``role`` on each node.

        The role must exist. Afterwards it can create and run the mesh, let nodes join and leave.

        Raises: InvalidRoleName; RoleNotFound; ConnectionFailed.
        """
        checked_role_name(role)
        site = self._site(timeout)
        tables = await self._resolved(site, self.nodes[0])
        statements = {}
        for node in self.nodes:
            async with await site.server(node) as server:
                statements[node] = await node_setup(server._link, self.name, node, role, tables)
        return MeshSetup(nodes=statements)

    async def plan_create(
        self,
        *,
        first: str | None = None,
        timeout: Timeout = 60.0,
        journal: str | os.PathLike[str] | None = None,
    ) -> AsyncPlan:
        """Plan the mesh: publications, triggers, slots, and a copy of the rows of ``first``.

        By default the first of the nodes has the rows. It accepts writes during the copy; the
        tables of the others must be empty. The order of the nodes is their rank.

        Raises: ConnectionFailed.
        Needs: on each node what ``setup_sql`` grants.
        """
        nodes = self.nodes
        first = nodes[0] if first is None else self._known(first)
        site = self._site(timeout)
        tables, majors = await self._resolved(site, first), []
        for node in nodes:
            async with await site.server(node) as server:
                majors.append(server.version.major)
        # Joining until all rows are copied, so that no stream starts before.
        policy = policy_text(self._policy)
        members = new_members(nodes, majors, MemberState.JOINING, policy)
        begun = Journal(
            operation=f"creation of the mesh {self.name}",
            steps=create_steps(self.name, members, first, map(str, tables), self._final(tables)),
        )
        return self._plan(
            site, begun, journal, self._checks(site, nodes, nodes, first, tables, members)
        )

    async def plan_join(
        self,
        node: str,
        server: AnyServer | None = None,
        *,
        donor: str | None = None,
        timeout: Timeout = 60.0,
        journal: str | os.PathLike[str] | None = None,
    ) -> AsyncPlan:
        """Plan that a server joins the mesh, while the others are written.

        The rows are copied from ``donor``, by default the first member. The streams of the mesh
        must keep running, by this object's ``run`` or by other processes. ``server`` may be left
        out for a node that this object knows.

        Raises: NodeNotFound; ConnectionFailed; ServerError if no other node is an active member.
        """
        check_node_names(self.name, [*self._servers, node])
        before = self._servers.get(node)
        if server is not None:
            self._servers[node] = conninfo_of(server)
        try:
            return await self._planned_join(self._known(node), donor, timeout, journal)
        except BaseException:
            # A join that is refused must leave no trace: the next plan would take the node along.
            if before is None:
                self._servers.pop(node, None)
            else:
                self._servers[node] = before
            raise

    async def _planned_join(
        self,
        node: str,
        donor: str | None,
        timeout: Timeout,
        journal: str | os.PathLike[str] | None,
    ) -> AsyncPlan:
        site = self._site(timeout)
        members = await find_members(site, self.name, without(self._servers, node))
        donor = members.active[0] if donor is None else self._active(members, donor)
        # The published tables, and not those of this object: they may have been chosen elsewhere.
        async with await site.server(donor) as source:
            tables = await mesh_tables(source._link, self.name)
        begun = Journal(
            operation=f"join of {node} to the mesh {self.name}",
            steps=join_steps(
                self.name, members, node, donor, map(str, tables), self._final(tables)
            ),
        )
        nodes = (*members.active, node)
        return self._plan(
            site, begun, journal, self._checks(site, nodes, (node,), donor, tables, members)
        )

    async def plan_leave(
        self,
        node: str,
        *,
        timeout: Timeout = 60.0,
        journal: str | os.PathLike[str] | None = None,
    ) -> AsyncPlan:
        """Plan that a node leaves; its rows stay, and the others have all its changes.

        Writes to its tables are refused until the others have applied what it committed. The
        streams of the mesh must keep running.

        Raises: NodeNotFound; ConnectionFailed; ServerError if no node is an active member.
        """
        self._known(node)
        site = self._site(timeout)
        members = await find_members(site, self.name, self._servers)
        self._active(members, node)
        # Each of them drops its slot for the node; a slot that stays would keep WAL.
        for other in members.present:
            self._known(other)
        begun = Journal(
            operation=f"leave of {node} from the mesh {self.name}",
            steps=leave_steps(self.name, members, node),
        )
        others = without(members.active, node)
        checks = AsyncLeaveChecks(site, self.name, node, others, members)
        return self._plan(site, begun, journal, checks)

    async def plan_remove(
        self,
        node: str,
        *,
        timeout: Timeout = 60.0,
        journal: str | os.PathLike[str] | None = None,
    ) -> AsyncPlan:
        """Plan that the other nodes forget one that is lost, so that they keep no WAL for it.

        The changes that no other node has are lost; those that only some have are not sent to the
        rest. The check of the plan says how far each node is. If the node comes back, use
        ``plan_forget``.

        Raises: NodeNotFound; ConnectionFailed if another node cannot be reached; ServerError if
        none of them is an active member.
        """
        self._known(node)
        site = self._site(timeout)
        members = await find_members(site, self.name, without(self._servers, node))
        if node not in members.ranks:
            raise NodeNotFound(node, tuple(members.ranks))
        others = without(members.present, node)
        for other in others:
            self._known(other)
        begun = Journal(
            operation=f"removal of {node} from the mesh {self.name}",
            steps=remove_steps(self.name, members, node),
        )
        checks = AsyncRemoveChecks(site, self.name, node, others, members)
        return self._plan(site, begun, journal, checks)

    async def plan_forget(
        self,
        node: str,
        *,
        timeout: Timeout = 60.0,
        journal: str | os.PathLike[str] | None = None,
    ) -> AsyncPlan:
        """Plan that one node forgets a mesh that has ended elsewhere, or continues without it.

        Its slots, origins, publication and triggers are dropped; its rows stay. No other node is
        changed. The plan is refused if another node has this one as a member, or cannot be asked.
        Run it with ``force=True`` if the servers of the others no longer exist.

        Raises: NodeNotFound; ConnectionFailed; ServerError if the node has nothing of the mesh.
        """
        site = self._site(timeout)
        async with await site.server(self._known(node)) as server:
            members = await read_members(server._link, self.name)
            # Those that it has not stored: an interrupted plan may have removed them first.
            others = without(dict.fromkeys((*members.ranks, *self._servers)), node)
            slots = await sending_slots(server._link, self.name, node, others)
            if not (members.all or slots or await has_publication(server._link, self.name)):
                raise ServerError(
                    f"plan that {node} forgets the mesh {self.name!r}",
                    "it has no members, slots or publication of that mesh",
                    remedy="pass the name= of the mesh",
                )
        begun = Journal(
            operation=f"removal of the mesh {self.name} from {node}",
            steps=forget_steps(self.name, members, node, others),
        )
        checks = AsyncForgetChecks(site, self.name, node, others, members)
        return self._plan(site, begun, journal, checks)

    async def plan_change_policy(
        self,
        *,
        timeout: Timeout = 60.0,
        journal: str | os.PathLike[str] | None = None,
    ) -> AsyncPlan:
        """Plan that the policy of this object becomes that of the mesh.

        Each node has the policy recorded, and a process with another one refuses to run. Before
        that, stop writes, wait with ``wait_for_sync``, and stop all processes of the mesh. Tables
        get or lose delta columns only in another mesh.

        Raises: NodeNotFound for a member that this object does not know; ConnectionFailed;
        ServerError if no node is an active member.
        """
        site = self._site(timeout)
        members = await find_members(site, self.name, self._servers)
        for node in members.present:
            self._known(node)
        begun = Journal(
            operation=f"change of the policy of the mesh {self.name}",
            steps=policy_steps(self.name, members, policy_text(self._policy)),
        )
        checks = AsyncPolicyChecks(site, self.name, members, self._policy)
        return self._plan(site, begun, journal, checks)

    async def plan_resume(
        self, journal: str | os.PathLike[str], *, timeout: Timeout = 60.0
    ) -> AsyncPlan:
        """Read a journal file and return its plan; call ``resume()`` or ``undo()`` on the plan.

        Raises: ValueError if the file is not a journal, is one of a cluster, an upgrade or another
        mesh, or names other nodes; HostFileError.
        """
        path = Path(journal)
        kept = read_journal(path)
        # A step on a node that this object cannot reach would fail in the middle.
        kept.check_servers(self._servers, "mesh")
        check_mesh(kept, self.name)
        actor = AsyncMeshActor(self._site(timeout), clock_limit(self._policy))
        return AsyncPlan(actor, kept, None, path, look=actor.look)

    def _plan(
        self,
        site: AsyncSite,
        begun: Journal,
        journal: str | os.PathLike[str] | None,
        checks: AsyncChecks | None,
    ) -> AsyncPlan:
        path = None if journal is None else Path(journal)
        actor = AsyncMeshActor(site, clock_limit(self._policy))
        return AsyncPlan(actor, begun, checks, path, look=actor.look)

    def _checks(
        self,
        site: AsyncSite,
        nodes: tuple[str, ...],
        new: tuple[str, ...],
        first: str,
        tables: Iterable[TableName],
        planned: Members,
    ) -> AsyncMeshChecks:
        return AsyncMeshChecks(
            site, self.name, nodes, new, first, tuple(tables), planned, self._policy
        )

    def _final(self, tables: Iterable[TableName]) -> tuple[str, ...]:
        """Return those of the tables in which a deletion wins over every change."""
        return tuple(str(table) for table in tables if table in deltas_of(self._policy))

    async def _resolved(self, site: AsyncSite, node: str) -> tuple[TableName, ...]:
        async with await site.server(node) as server:
            return await chosen_tables(server._link, self._choice)

    def _known(self, node: str) -> str:
        if checked_node(node) not in self._servers:
            raise NodeNotFound(node, self.nodes)
        return node

    def _active(self, members: Members, node: str) -> str:
        if checked_node(node) not in members.active:
            raise NodeNotFound(node, members.active)
        return node

    def _site(self, timeout: Timeout) -> AsyncSite:
        return AsyncSite(self._servers, {}, {}, checked_seconds(timeout, "timeout"))

    # Running

    async def run(self) -> None:
        """Run all streams between the nodes until ``stop()`` is called.

        A stream whose server is down starts again when the server is back. Nodes that join or
        leave are noticed.

        Raises: the errors of ``Applier.run`` that need a decision, such as ApplyFailed or
        SchemaMismatch, after all streams have ended; ApplyError if the mesh has another policy;
        WaitTimeout if a stream does not end within 60 s.
        """
        await self._run(lambda: [*self._servers])

    async def _run(self, targets: Callable[[], list[str]]) -> None:
        self._insist_on_idle()
        self._is_running = True
        run = AsyncMeshRun(self.name, self._servers, self._policy, self._on_error, self._appliers)
        try:
            await run.run(targets, lambda: self._is_stopping)
        finally:
            self._is_running = self._is_stopping = False

    def _insist_on_idle(self) -> None:
        if self._is_running:
            raise ServerError(
                f"run the mesh {self.name!r}", "it runs already", remedy="call stop() first"
            )

    def stop(self) -> None:
        """Let ``run`` end after the current transactions; may be called from a signal handler.

        If it does not run, the next call ends at once.
        """
        self._is_stopping = True

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run all streams while the block runs.

        Raises: as ``run``, at the end of the block; ServerError if it runs already.
        """
        # At its end, this block would stop what another one runs.
        self._insist_on_idle()
        group = TaskGroup(1)
        job = group.start(self.run)
        # A stream that fails does not interrupt the block; its error is raised at the end.
        try:
            yield
        finally:
            self.stop()
            try:
                await group.wait([job], _ENDED_WITHIN)
            finally:
                has_ended = job.done()
                await group.close()
            if has_ended:
                # A run that had failed before did not see stop(), which would end the next one.
                self._is_stopping = False
                # Its failure may be why the block failed.
                job.result()

    def node(self, name: str) -> AsyncMeshNode:
        """Return one node, whose streams from all others run in a process of their own.

        Raises: NodeNotFound.
        """
        return AsyncMeshNode(self, self._known(name))

    async def wait_for_sync(self, *, timeout: Timeout = 60.0) -> None:
        """Wait until each node has applied what was committed on any other one before.

        Raises: WaitTimeout; SlotNotFound; ConnectionFailed; ServerError if the mesh has only one
        active member.
        """
        async with self._links("wait for the nodes", timeout) as servers:
            await catch_up(self.name, servers, timeout)

    @asynccontextmanager
    async def _links(
        self, operation: str, timeout: Timeout
    ) -> AsyncIterator[dict[str, AsyncServer]]:
        """Connect to all active members, of which there must be two."""
        site = self._site(timeout)
        members = await find_members(site, self.name, self._servers)
        # A wait or a comparison that looked at nothing must not succeed.
        if len(members.active) < 2:
            raise ServerError(
                f"{operation} of the mesh {self.name!r}",
                f"{members.active[0]} is its only active member",
                remedy="let another node join with plan_join()",
            )
        async with AsyncExitStack() as stack:
            yield {
                node: await stack.enter_async_context(await site.server(self._known(node)))
                for node in members.active
            }

    # Looking

    async def status(self) -> Rows[MeshStream]:
        """Return the state of each stream; a node that cannot be reached is not an error."""
        found = []
        for target in self._servers:
            for source in without(self._servers, target):
                applier = self._appliers.get((source, target))
                found.append(await read_stream(self._servers, self.name, source, target, applier))
        return Rows(found)

    async def conflicts(self, *, since: datetime | None = None) -> Rows[MeshConflict]:
        """Return the conflicts that the nodes have recorded, oldest first.

        Raises: ConnectionFailed; TypeError if ``since`` has no time zone.
        """
        since = checked_moment(since, "since")
        return Rows(await read_conflicts(self._servers, self.name, since))

    async def applier(self, source: str, target: str, *, timeout: Timeout = 60.0) -> AsyncApplier:
        """Return the applier that applies the changes of ``source`` to ``target``.

        Its ``parked()`` lists the transactions that were put aside. Stop the mesh's ``run`` before
        ``apply_parked()``: it runs the same applier.

        Raises: NodeNotFound; ConnectionFailed; ValueError for one node; ServerError if ``target``
        is not an active member; ApplyError if the mesh has another policy.
        """
        stream = self._known(source), self._known(target)
        if source == target:
            raise ValueError(f"a node applies no changes of its own, got {source!r} twice")
        members = await find_members(self._site(timeout), self.name, [target])
        self._active(members, source)
        insist_on_policy(self.name, target, members, policy_text(self._policy))
        return applier_of(self.name, self._servers, self._policy, self._on_error, stream, members)

    async def compare(
        self,
        tables: Iterable[AnyTable] | None = None,
        *,
        range_rows: int = 20_000,
        timeout: Timeout = 60.0,
    ) -> MeshComparison:
        """Compare the rows of all nodes, while they are written; the streams must run.

        A row that differs is read again on all nodes, after each has applied what the others had
        written. It counts as different if no node wrote it in between. By default all tables of the
        mesh are compared. ``range_rows`` is the number of rows that one query reads.

        Raises: TableNotFound; KeyMissing; WaitTimeout if a node does not catch up;
        StatementTimeout; ServerError if the mesh has only one active member.
        Needs: SELECT on the tables.
        """
        seconds = checked_seconds(timeout, "timeout")
        async with self._links("compare the nodes", timeout) as servers:
            links: dict[str, AsyncLink] = {n: server._link for n, server in servers.items()}
            first = next(iter(links.values()))
            chosen = (
                await mesh_tables(first, self.name)
                if tables is None
                else await chosen_tables(first, table_choice(tables))
            )
            if not chosen:
                raise TableNotFound("compare tables", "no table matches the names")

            wait = partial(catch_up, self.name, servers, timeout)
            return await AsyncMeshCompare(links, wait, range_rows, seconds).run(chosen)

    async def spread_sequences(self, *, timeout: Timeout = 60.0) -> Rows[SequenceSpread]:
        """Let each node draw numbers of its own from the sequences of the tables.

        Those are the sequences that columns own, or draw their defaults from. Each one gets the
        number of nodes as its increment, and starts at another number on each node, above all
        numbers drawn. Call it before ``plan_create``, and again before the plan of a join is run.

        Raises: ServerError for a sequence that counts down, or has too few numbers left.
        Needs: ownership of the sequences.
        """
        site = self._site(timeout)
        async with AsyncExitStack() as stack:
            servers = {
                node: await stack.enter_async_context(await site.server(node))
                for node in self._servers
            }
            tables = await self._resolved(site, self.nodes[0])
            return Rows(await spread_sequences(servers, tables))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} of {', '.join(self._servers)}>"


@made_by("mesh.node(name)", AsyncMesh)
class AsyncMeshNode:
    """One node of a mesh: the streams from all others to it, in a process of its own."""

    def __init__(self, mesh: AsyncMesh, name: str) -> None:
        self._mesh = mesh
        self.name: str = name

    async def run(self) -> None:
        """Run the streams to this node until ``stop()`` is called.

        Raises: as ``Mesh.run``.
        """
        await self._mesh._run(lambda: [self.name])

    def stop(self) -> None:
        """Let ``run`` end after the current transactions; may be called from a signal handler.

        If it does not run, the next call ends at once.
        """
        self._mesh.stop()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} of {self._mesh!r}>"
