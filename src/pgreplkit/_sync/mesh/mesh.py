# Generated from pgreplkit/_async/mesh/mesh.py by `nox -s sync`. Do not edit.
"""Mesh: servers that all write the same tables."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Literal

from pgreplkit._sync._io import TaskGroup
from pgreplkit._sync.cluster.plan import Checks, Plan
from pgreplkit._sync.cluster.site import Site
from pgreplkit._sync.logical.applier import AnyServer, Applier, conninfo_of
from pgreplkit._sync.mesh.actions import MeshActor
from pgreplkit._sync.mesh.catchup import catch_up
from pgreplkit._sync.mesh.checks import (
    ForgetChecks,
    LeaveChecks,
    MeshChecks,
    PolicyChecks,
    RemoveChecks,
)
from pgreplkit._sync.mesh.compare import MeshCompare
from pgreplkit._sync.mesh.members import (
    chosen_tables,
    find_members,
    has_publication,
    mesh_tables,
    read_members,
    sending_slots,
)
from pgreplkit._sync.mesh.running import MeshRun, Stream, applier_of
from pgreplkit._sync.mesh.sequences import spread_sequences
from pgreplkit._sync.mesh.setup import node_setup
from pgreplkit._sync.mesh.status import read_conflicts, read_stream
from pgreplkit._sync.server.server import Server
from pgreplkit._sync.wire.link import Link
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


class Mesh:
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
        self._appliers: dict[Stream, Applier] = {}
        self._is_running = self._is_stopping = False

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names of the nodes that this object knows."""
        return tuple(self._servers)

    # Operations

    def setup_sql(self, role: str, *, timeout: Timeout = 60.0) -> MeshSetup:
        """Return the statements by which an administrator prepares ``role`` on each node.

        The role must exist. Afterwards it can create and run the mesh, let nodes join and leave.

        Raises: InvalidRoleName; RoleNotFound; ConnectionFailed.
        """
        checked_role_name(role)
        site = self._site(timeout)
        tables = self._resolved(site, self.nodes[0])
        statements = {}
        for node in self.nodes:
            with site.server(node) as server:
                statements[node] = node_setup(server._link, self.name, node, role, tables)
        return MeshSetup(nodes=statements)

    def plan_create(
        self,
        *,
        first: str | None = None,
        timeout: Timeout = 60.0,
        journal: str | os.PathLike[str] | None = None,
    ) -> Plan:
        """Plan the mesh: publications, triggers, slots, and a copy of the rows of ``first``.

        By default the first of the nodes has the rows. It accepts writes during the copy; the
        tables of the others must be empty. The order of the nodes is their rank.

        Raises: ConnectionFailed.
        Needs: on each node what ``setup_sql`` grants.
        """
        nodes = self.nodes
        first = nodes[0] if first is None else self._known(first)
        site = self._site(timeout)
        tables, majors = self._resolved(site, first), []
        for node in nodes:
            with site.server(node) as server:
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

    def plan_join(
        self,
        node: str,
        server: AnyServer | None = None,
        *,
        donor: str | None = None,
        timeout: Timeout = 60.0,
        journal: str | os.PathLike[str] | None = None,
    ) -> Plan:
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
            return self._planned_join(self._known(node), donor, timeout, journal)
        except BaseException:
            # A join that is refused must leave no trace: the next plan would take the node along.
            if before is None:
                self._servers.pop(node, None)
            else:
                self._servers[node] = before
            raise

    def _planned_join(
        self,
        node: str,
        donor: str | None,
        timeout: Timeout,
        journal: str | os.PathLike[str] | None,
    ) -> Plan:
        site = self._site(timeout)
        members = find_members(site, self.name, without(self._servers, node))
        donor = members.active[0] if donor is None else self._active(members, donor)
        # The published tables, and not those of this object: they may have been chosen elsewhere.
        with site.server(donor) as source:
            tables = mesh_tables(source._link, self.name)
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

    def plan_leave(
        self,
        node: str,
        *,
        timeout: Timeout = 60.0,
        journal: str | os.PathLike[str] | None = None,
    ) -> Plan:
        """Plan that a node leaves; its rows stay, and the others have all its changes.

        Writes to its tables are refused until the others have applied what it committed. The
        streams of the mesh must keep running.

        Raises: NodeNotFound; ConnectionFailed; ServerError if no node is an active member.
        """
        self._known(node)
        site = self._site(timeout)
        members = find_members(site, self.name, self._servers)
        self._active(members, node)
        # Each of them drops its slot for the node; a slot that stays would keep WAL.
        for other in members.present:
            self._known(other)
        begun = Journal(
            operation=f"leave of {node} from the mesh {self.name}",
            steps=leave_steps(self.name, members, node),
        )
        others = without(members.active, node)
        checks = LeaveChecks(site, self.name, node, others, members)
        return self._plan(site, begun, journal, checks)

    def plan_remove(
        self,
        node: str,
        *,
        timeout: Timeout = 60.0,
        journal: str | os.PathLike[str] | None = None,
    ) -> Plan:
        """Plan that the other nodes forget one that is lost, so that they keep no WAL for it.

        The changes that no other node has are lost; those that only some have are not sent to the
        rest. The check of the plan says how far each node is. If the node comes back, use
        ``plan_forget``.

        Raises: NodeNotFound; ConnectionFailed if another node cannot be reached; ServerError if
        none of them is an active member.
        """
        self._known(node)
        site = self._site(timeout)
        members = find_members(site, self.name, without(self._servers, node))
        if node not in members.ranks:
            raise NodeNotFound(node, tuple(members.ranks))
        others = without(members.present, node)
        for other in others:
            self._known(other)
        begun = Journal(
            operation=f"removal of {node} from the mesh {self.name}",
            steps=remove_steps(self.name, members, node),
        )
        checks = RemoveChecks(site, self.name, node, others, members)
        return self._plan(site, begun, journal, checks)

    def plan_forget(
        self,
        node: str,
        *,
        timeout: Timeout = 60.0,
        journal: str | os.PathLike[str] | None = None,
    ) -> Plan:
        """Plan that one node forgets a mesh that has ended elsewhere, or continues without it.

        Its slots, origins, publication and triggers are dropped; its rows stay. No other node is
        changed. The plan is refused if another node has this one as a member, or cannot be asked.
        Run it with ``force=True`` if the servers of the others no longer exist.

        Raises: NodeNotFound; ConnectionFailed; ServerError if the node has nothing of the mesh.
        """
        site = self._site(timeout)
        with site.server(self._known(node)) as server:
            members = read_members(server._link, self.name)
            # Those that it has not stored: an interrupted plan may have removed them first.
            others = without(dict.fromkeys((*members.ranks, *self._servers)), node)
            slots = sending_slots(server._link, self.name, node, others)
            if not (members.all or slots or has_publication(server._link, self.name)):
                raise ServerError(
                    f"plan that {node} forgets the mesh {self.name!r}",
                    "it has no members, slots or publication of that mesh",
                    remedy="pass the name= of the mesh",
                )
        begun = Journal(
            operation=f"removal of the mesh {self.name} from {node}",
            steps=forget_steps(self.name, members, node, others),
        )
        checks = ForgetChecks(site, self.name, node, others, members)
        return self._plan(site, begun, journal, checks)

    def plan_change_policy(
        self,
        *,
        timeout: Timeout = 60.0,
        journal: str | os.PathLike[str] | None = None,
    ) -> Plan:
        """Plan that the policy of this object becomes that of the mesh.

        Each node has the policy recorded, and a process with another one refuses to run. Before
        that, stop writes, wait with ``wait_for_sync``, and stop all processes of the mesh. Tables
        get or lose delta columns only in another mesh.

        Raises: NodeNotFound for a member that this object does not know; ConnectionFailed;
        ServerError if no node is an active member.
        """
        site = self._site(timeout)
        members = find_members(site, self.name, self._servers)
        for node in members.present:
            self._known(node)
        begun = Journal(
            operation=f"change of the policy of the mesh {self.name}",
            steps=policy_steps(self.name, members, policy_text(self._policy)),
        )
        checks = PolicyChecks(site, self.name, members, self._policy)
        return self._plan(site, begun, journal, checks)

    def plan_resume(self, journal: str | os.PathLike[str], *, timeout: Timeout = 60.0) -> Plan:
        """Read a journal file and return its plan; call ``resume()`` or ``undo()`` on the plan.

        Raises: ValueError if the file is not a journal, is one of a cluster, an upgrade or another
        mesh, or names other nodes; HostFileError.
        """
        path = Path(journal)
        kept = read_journal(path)
        # A step on a node that this object cannot reach would fail in the middle.
        kept.check_servers(self._servers, "mesh")
        check_mesh(kept, self.name)
        actor = MeshActor(self._site(timeout), clock_limit(self._policy))
        return Plan(actor, kept, None, path, look=actor.look)

    def _plan(
        self,
        site: Site,
        begun: Journal,
        journal: str | os.PathLike[str] | None,
        checks: Checks | None,
    ) -> Plan:
        path = None if journal is None else Path(journal)
        actor = MeshActor(site, clock_limit(self._policy))
        return Plan(actor, begun, checks, path, look=actor.look)

    def _checks(
        self,
        site: Site,
        nodes: tuple[str, ...],
        new: tuple[str, ...],
        first: str,
        tables: Iterable[TableName],
        planned: Members,
    ) -> MeshChecks:
        return MeshChecks(site, self.name, nodes, new, first, tuple(tables), planned, self._policy)

    def _final(self, tables: Iterable[TableName]) -> tuple[str, ...]:
        """Return those of the tables in which a deletion wins over every change."""
        return tuple(str(table) for table in tables if table in deltas_of(self._policy))

    def _resolved(self, site: Site, node: str) -> tuple[TableName, ...]:
        with site.server(node) as server:
            return chosen_tables(server._link, self._choice)

    def _known(self, node: str) -> str:
        if checked_node(node) not in self._servers:
            raise NodeNotFound(node, self.nodes)
        return node

    def _active(self, members: Members, node: str) -> str:
        if checked_node(node) not in members.active:
            raise NodeNotFound(node, members.active)
        return node

    def _site(self, timeout: Timeout) -> Site:
        return Site(self._servers, {}, {}, checked_seconds(timeout, "timeout"))

    # Running

    def run(self) -> None:
        """Run all streams between the nodes until ``stop()`` is called.

        A stream whose server is down starts again when the server is back. Nodes that join or
        leave are noticed.

        Raises: the errors of ``Applier.run`` that need a decision, such as ApplyFailed or
        SchemaMismatch, after all streams have ended; ApplyError if the mesh has another policy;
        WaitTimeout if a stream does not end within 60 s.
        """
        self._run(lambda: [*self._servers])

    def _run(self, targets: Callable[[], list[str]]) -> None:
        self._insist_on_idle()
        self._is_running = True
        run = MeshRun(self.name, self._servers, self._policy, self._on_error, self._appliers)
        try:
            run.run(targets, lambda: self._is_stopping)
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

    @contextmanager
    def running(self) -> Iterator[None]:
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
                group.wait([job], _ENDED_WITHIN)
            finally:
                has_ended = job.done()
                group.close()
            if has_ended:
                # A run that had failed before did not see stop(), which would end the next one.
                self._is_stopping = False
                # Its failure may be why the block failed.
                job.result()

    def node(self, name: str) -> MeshNode:
        """Return one node, whose streams from all others run in a process of their own.

        Raises: NodeNotFound.
        """
        return MeshNode(self, self._known(name))

    def wait_for_sync(self, *, timeout: Timeout = 60.0) -> None:
        """Wait until each node has applied what was committed on any other one before.

        Raises: WaitTimeout; SlotNotFound; ConnectionFailed; ServerError if the mesh has only one
        active member.
        """
        with self._links("wait for the nodes", timeout) as servers:
            catch_up(self.name, servers, timeout)

    @contextmanager
    def _links(self, operation: str, timeout: Timeout) -> Iterator[dict[str, Server]]:
        """Connect to all active members, of which there must be two."""
        site = self._site(timeout)
        members = find_members(site, self.name, self._servers)
        # A wait or a comparison that looked at nothing must not succeed.
        if len(members.active) < 2:
            raise ServerError(
                f"{operation} of the mesh {self.name!r}",
                f"{members.active[0]} is its only active member",
                remedy="let another node join with plan_join()",
            )
        with ExitStack() as stack:
            yield {
                node: stack.enter_context(site.server(self._known(node))) for node in members.active
            }

    # Looking

    def status(self) -> Rows[MeshStream]:
        """Return the state of each stream; a node that cannot be reached is not an error."""
        found = []
        for target in self._servers:
            for source in without(self._servers, target):
                applier = self._appliers.get((source, target))
                found.append(read_stream(self._servers, self.name, source, target, applier))
        return Rows(found)

    def conflicts(self, *, since: datetime | None = None) -> Rows[MeshConflict]:
        """Return the conflicts that the nodes have recorded, oldest first.

        Raises: ConnectionFailed; TypeError if ``since`` has no time zone.
        """
        since = checked_moment(since, "since")
        return Rows(read_conflicts(self._servers, self.name, since))

    def applier(self, source: str, target: str, *, timeout: Timeout = 60.0) -> Applier:
        """Return the applier that applies the changes of ``source`` to ``target``.

        Its ``parked()`` lists the transactions that were put aside. Stop the mesh's ``run`` before
        ``apply_parked()``: it runs the same applier.

        Raises: NodeNotFound; ConnectionFailed; ValueError for one node; ServerError if ``target``
        is not an active member; ApplyError if the mesh has another policy.
        """
        stream = self._known(source), self._known(target)
        if source == target:
            raise ValueError(f"a node applies no changes of its own, got {source!r} twice")
        members = find_members(self._site(timeout), self.name, [target])
        self._active(members, source)
        insist_on_policy(self.name, target, members, policy_text(self._policy))
        return applier_of(self.name, self._servers, self._policy, self._on_error, stream, members)

    def compare(
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
        with self._links("compare the nodes", timeout) as servers:
            links: dict[str, Link] = {n: server._link for n, server in servers.items()}
            first = next(iter(links.values()))
            chosen = (
                mesh_tables(first, self.name)
                if tables is None
                else chosen_tables(first, table_choice(tables))
            )
            if not chosen:
                raise TableNotFound("compare tables", "no table matches the names")

            wait = partial(catch_up, self.name, servers, timeout)
            return MeshCompare(links, wait, range_rows, seconds).run(chosen)

    def spread_sequences(self, *, timeout: Timeout = 60.0) -> Rows[SequenceSpread]:
        """Let each node draw numbers of its own from the sequences of the tables.

        Those are the sequences that columns own, or draw their defaults from. Each one gets the
        number of nodes as its increment, and starts at another number on each node, above all
        numbers drawn. Call it before ``plan_create``, and again before the plan of a join is run.

        Raises: ServerError for a sequence that counts down, or has too few numbers left.
        Needs: ownership of the sequences.
        """
        site = self._site(timeout)
        with ExitStack() as stack:
            servers = {node: stack.enter_context(site.server(node)) for node in self._servers}
            tables = self._resolved(site, self.nodes[0])
            return Rows(spread_sequences(servers, tables))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} of {', '.join(self._servers)}>"


@made_by("mesh.node(name)", Mesh)
class MeshNode:
    """One node of a mesh: the streams from all others to it, in a process of its own."""

    def __init__(self, mesh: Mesh, name: str) -> None:
        self._mesh = mesh
        self.name: str = name

    def run(self) -> None:
        """Run the streams to this node until ``stop()`` is called.

        Raises: as ``Mesh.run``.
        """
        self._mesh._run(lambda: [self.name])

    def stop(self) -> None:
        """Let ``run`` end after the current transactions; may be called from a signal handler.

        If it does not run, the next call ends at once.
        """
        self._mesh.stop()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} of {self._mesh!r}>"
