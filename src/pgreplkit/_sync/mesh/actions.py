# Generated from pgreplkit/_async/mesh/actions.py by `nox -s sync`. Do not edit.
"""The actions of each kind of step of a mesh, and how to undo them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import attrs
from psycopg.sql import SQL, Identifier

from pgreplkit._sync._io import sleep
from pgreplkit._sync.cluster.site import Site
from pgreplkit._sync.logical.applyshapes import read_targets
from pgreplkit._sync.logical.applytarget import ApplyTarget
from pgreplkit._sync.logical.tombstones import (
    drop_tombstones,
    ensure_tombstones,
    table_oid,
    tables_with_triggers,
)
from pgreplkit._sync.mesh.copying import MeshCopy
from pgreplkit._sync.mesh.members import (
    has_publication,
    mesh_tables,
    read_members,
    sending_slots,
    store_members,
    store_policy,
)
from pgreplkit._sync.mesh.setup import publishing
from pgreplkit._sync.mesh.streams import start_at, stream_target
from pgreplkit._sync.server.positions import write_marker
from pgreplkit._sync.server.server import Server
from pgreplkit._sync.wire.link import Link
from pgreplkit.catalog.logical import applying
from pgreplkit.catalog.mesh import members as sql
from pgreplkit.catalog.server.replay import Promotion
from pgreplkit.driver import statements as parts
from pgreplkit.driver.backoff import Backoff
from pgreplkit.errors import SlotActive, SlotNotFound
from pgreplkit.plans.cluster.journal import LostPrimary
from pgreplkit.plans.cluster.steps import Step
from pgreplkit.plans.mesh import steps
from pgreplkit.plans.mesh.layout import (
    Members,
    MeshMember,
    applier_name,
    publication_name,
    slot_name,
    without,
)
from pgreplkit.values.lsn import LSN
from pgreplkit.values.tablename import TableName, table_of

_PUBLICATION = "publication"
_SLOT, _ORIGIN, _STREAM = "slot ", "origin ", "stream "
"""Objects that a step finds; what follows is the name of the slot."""


@attrs.frozen
class MeshActor:
    """Performs the steps of operations on a mesh."""

    site: Site
    max_clock_skew: timedelta
    """The longest time for which a node waits until its clock has passed those of copied rows."""

    def perform(self, step: Step) -> Promotion | None:
        """Perform one step."""
        match step:
            case steps.PrepareNode():
                self._prepare(step)
            case steps.SetMembers():
                self._store(step, step.members)
            case steps.SetPolicy():
                self._record(step, step.policy)
            case steps.MakeStreams():
                for source in step.sources:
                    self._make_stream(step, source)
            case steps.WaitForDonor():
                self._wait_for_donor(step)
            case steps.CopyRows():
                MeshCopy(self.site, step).run(self.max_clock_skew)
            case steps.StopWrites():
                self._refuse_writes(step, is_refused=True)
            case steps.WaitForPeers():
                self._wait_for_peers(step)
            case steps.DropStreams():
                for source in step.sources:
                    self._drop_stream(step.mesh, source, step.node, keeps_origin=True)
            case steps.DropLost():
                self._forget_lost_node(step)
            case steps.DropOwnSlots():
                self._drop_own_slots(step)
            case steps.ForgetMesh():
                self._forget(step)
            case _:
                raise TypeError(f"unknown kind of step: {type(step).__name__}")
        return None

    def look(self, step: Step) -> Step:
        """Return the step with the objects that exist before it is begun."""
        match step:
            case steps.SetMembers(before=None):
                stored = self._members(step.node, step.mesh)
                return attrs.evolve(step, before=[member.written for member in stored.all])
            case steps.SetPolicy(before=None):
                policy = (self._members(step.node, step.mesh)).policy
                return attrs.evolve(step, before=[] if policy is None else [policy])
            case steps.PrepareNode(existing=None):
                return attrs.evolve(step, existing=self._objects_of(step))
            case steps.MakeStreams(existing=None):
                return attrs.evolve(step, existing=self._streams(step, step.sources))
            case steps.CopyRows(existing=None):
                return attrs.evolve(step, existing=self._streams(step, [step.donor]))
        return step

    def take_back(self, step: Step) -> None:
        """Undo one step, which may be done completely, in part or not at all."""
        match step:
            case steps.PrepareNode():
                self._unprepare(step)
            case steps.SetMembers():
                if step.before is not None:
                    self._store(step, step.before)
            case steps.SetPolicy():
                if step.before is not None:
                    self._record(step, step.before[0] if step.before else None)
            case steps.MakeStreams():
                self._drop_new_streams(step, step.sources)
            case steps.CopyRows():
                if _is_new(step, step.donor):
                    MeshCopy(self.site, step).remove()
                self._drop_new_streams(step, [step.donor])
            case steps.StopWrites():
                self._refuse_writes(step, is_refused=False)
            case _:
                raise TypeError(f"a step that cannot be undone: {type(step).__name__}")

    def missing_evidence(self, lost: LostPrimary) -> str:
        """Raise TypeError: no operation on a mesh assumes that a server is lost."""
        raise TypeError(f"a mesh has no primary {lost.primary}")

    def _prepare(self, step: steps.PrepareNode) -> None:
        tables, name = [*map(table_of, step.tables)], publication_name(step.mesh)
        operation = f"create the publication {name!r}"
        with (
            ApplyTarget.connect(
                self.site.servers[step.node], step.mesh, uses_origin=True
            ) as target,
            self.site.server(step.node) as server,
        ):
            # Tombstones are in the schema, and the triggers write them from the first change on.
            target.ensure_schema()
            link = server._link
            ensure_tombstones(link, tables, [*map(table_of, step.final)])
            # An administrator may have created it for a role that does not own the tables.
            if not has_publication(link, step.mesh):
                database = f"CREATE ON DATABASE {link.connection.info.dbname}"
                link.run(operation, *publishing(link, name, tables), grant=database)

    def _objects_of(self, step: steps.PrepareNode) -> list[str]:
        with self.site.server(step.node) as server:
            is_published = has_publication(server._link, step.mesh)
            tables = tables_with_triggers(server._link, [*map(table_of, step.tables)])
        return [*([_PUBLICATION] if is_published else []), *map(str, tables)]

    def _unprepare(self, step: steps.PrepareNode) -> None:
        # Before it is begun, all objects there belong to someone else.
        if step.existing is None:
            return
        with self.site.server(step.node) as server:
            if _PUBLICATION not in step.existing:
                _unpublish(server._link, step.mesh)
            made = without(step.tables, *step.existing)
            drop_tombstones(server._link, [*map(table_of, made)])

    def _members(self, node: str, mesh: str) -> Members:
        with self.site.server(node) as server:
            return read_members(server._link, mesh)

    def _record(self, step: steps.SetPolicy, policy: str | None) -> None:
        with self.site.server(step.node) as server:
            store_policy(server._link, step.mesh, policy)

    def _store(self, step: steps.SetMembers, members: Iterable[str]) -> None:
        with self.site.server(step.node) as server:
            store_members(server._link, step.mesh, step.ties, [*map(MeshMember.parse, members)])

    # Streams

    def _make_stream(self, step: steps.MakeStreams, source: str) -> None:
        with (
            self.site.server(source) as server,
            stream_target(self.site, step.mesh, source, step.node) as target,
        ):
            operation = f"create the stream from {source} to {step.node}"
            slot = slot_name(step.mesh, source, step.node)
            if not server._link.all(operation, applying.SLOT_EXISTS, [slot]):
                # Before the slot: every change that it sends is committed later.
                clock = server._link.one(operation, applying.CLOCK)
                row = [clock["now"], step.mesh, step.node]
                target.link.all(operation, sql.LOWER_HORIZON, row)
                server.create_logical_slot(slot, timeout=self.site.timeout)
            position = server._link.one(operation, sql.SLOT_POSITION, [slot])
            start_at(target, server, position["lsn"], is_ready=step.is_ready)

    def _streams(
        self, step: steps.MakeStreams | steps.CopyRows, sources: Iterable[str]
    ) -> list[str]:
        """Return the slots, origins and streams that exist before a step creates them."""
        operation, found = f"look for the streams to {step.node}", list[str]()
        with self.site.server(step.node) as target:
            link = target._link
            has_tables = (link.one(operation, applying.HAS_TABLES))["has_tables"]
            for source in sources:
                # The slot and the origin have one name.
                name = slot_name(step.mesh, source, step.node)
                with self.site.server(source) as server:
                    slots = server._link.all(operation, applying.SLOT_EXISTS, [name])
                if link.all(operation, applying.FIND_ORIGIN, [name]):
                    found.append(_ORIGIN + name)
                row = [applier_name(step.mesh, source, step.node)]
                streams = link.all(operation, applying.READ_APPLIER, row) if has_tables else []
                # A copy that was interrupted begins again, with another slot.
                if isinstance(step, steps.CopyRows):
                    slots, streams = [], [one for one in streams if one["state"] == "streaming"]
                found += [_SLOT + name] * bool(slots) + [_STREAM + name] * bool(streams)
        return found

    def _drop_new_streams(
        self, step: steps.MakeStreams | steps.CopyRows, sources: Iterable[str]
    ) -> None:
        for source in sources:
            if _is_new(step, source):
                name, existing = slot_name(step.mesh, source, step.node), step.existing or ()
                self._drop_stream(
                    step.mesh,
                    source,
                    step.node,
                    # Rows may refer to one that is left from an earlier membership.
                    keeps_origin=_ORIGIN + name in existing,
                    keeps_slot=_SLOT + name in existing,
                )

    def _drop_stream(
        self,
        mesh: str,
        source: str,
        target_node: str,
        *,
        keeps_origin: bool,
        keeps_slot: bool = False,
    ) -> None:
        if not keeps_slot:
            with self.site.server(source) as server:
                self._drop_slot(server, slot_name(mesh, source, target_node))
        with stream_target(self.site, mesh, source, target_node) as target:
            # Undone before the node was prepared: nothing was stored there.
            if not target.has_schema():
                return
            # The commit of each row refers to its origin by number; its name is how the writer is
            # found.
            if keeps_origin:
                target.link.all(target.operation, applying.DROP_APPLIER, [target.name])
            else:
                target.drop()

    def _forget_lost_node(self, step: steps.DropLost) -> None:
        name = applier_name(step.mesh, step.lost, step.node)
        with self.site.server(step.node) as server:
            self._drop_slot(server, slot_name(step.mesh, step.node, step.lost))
            # Its origin stays: rows that it wrote last are compared by its rank.
            server._link.all("forget a lost node", applying.DROP_APPLIER, [name])

    def _drop_own_slots(self, step: steps.DropOwnSlots) -> None:
        with self.site.server(step.node) as server:
            # Only those of its database: a mesh of another one may have the same names.
            for slot in sending_slots(server._link, step.mesh, step.node, step.targets):
                self._drop_slot(server, slot)

    def _drop_slot(self, server: Server, name: str) -> None:
        link, operation = server._link, f"forget the stream {name!r}"
        if (link.one(operation, sql.HAS_STREAMS))["has_streams"]:
            link.all(operation, sql.DROP_STREAM, [name])
        backoff = Backoff(self.site.timeout)
        while True:
            try:
                (server.slot(name)).drop()
            except SlotNotFound:
                return
            except SlotActive:
                # A running stream ends once it has noticed that a member left.
                if backoff.is_over:
                    raise
                sleep(backoff.next_pause())
            else:
                return

    # Waiting

    def _wait_for_donor(self, step: steps.WaitForDonor) -> None:
        for source in step.sources:
            with self.site.server(source) as server:
                slot = slot_name(step.mesh, source, step.target)
                operation = f"read the position of slot {slot!r}"
                position = server._link.one(operation, sql.SLOT_POSITION, [slot])
                self._wait(server, step.mesh, source, step.node, position["lsn"])

    def _wait_for_peers(self, step: steps.WaitForPeers) -> None:
        with self.site.server(step.node) as server:
            # Writes are refused by now, so this is behind the last one.
            lsn = write_marker(server._link)
            for target in step.targets:
                self._wait(server, step.mesh, step.node, target, lsn)

    def _wait(self, server: Server, mesh: str, source: str, target: str, lsn: LSN) -> None:
        # On an idle server no commit would move the slot.
        write_marker(server._link)
        slot = server.slot(slot_name(mesh, source, target))
        slot.wait_for_catchup(lsn, timeout=self.site.timeout)

    # Leaving

    def _refuse_writes(self, step: steps.StopWrites, *, is_refused: bool) -> None:
        with self.site.server(step.node) as server:
            link = server._link
            tables = mesh_tables(link, step.mesh)
            targets = read_targets(link, tables)
            for table in tables:
                # Also before a trigger is created: an interrupted attempt may have left one.
                _allow_writes(link, table)
                if is_refused:
                    refuses = SQL(sql.no_write_function(table_oid(link, table)))
                    # Partitions have the triggers for rows, also where a client names one.
                    each = SQL("ROW" if targets[table].is_partitioned else "STATEMENT")
                    link.run(
                        f"refuse writes to {table}",
                        SQL(sql.NO_WRITE).format(refuses),
                        SQL(sql.REFUSE_WRITES).format(parts.table(table), each, refuses),
                        grant=f"TRIGGER ON {table}",
                    )

    def _forget(self, step: steps.ForgetMesh) -> None:
        with self.site.server(step.node) as server:
            link = server._link
            tables = mesh_tables(link, step.mesh)
            for table in tables:
                _allow_writes(link, table)
            drop_tombstones(link, tables)
            _unpublish(link, step.mesh)
            # Nothing is applied here from now on, so no row needs the origin of its commit.
            members = read_members(link, step.mesh)
            if not members.all:
                # Also if someone has dropped the schema, which would be needed below.
                return
            for source in without(members.ranks, step.node):
                # The slots were dropped before; nodes that left earlier may not even exist.
                self._drop_stream(step.mesh, source, step.node, keeps_origin=False, keeps_slot=True)
            store_policy(link, step.mesh, None)
            store_members(link, step.mesh, members.ties, [])


def _is_new(step: steps.MakeStreams | steps.CopyRows, source: str) -> bool:
    """Return whether a step has created, or may have begun to create, the stream from a node."""
    name = _STREAM + slot_name(step.mesh, source, step.node)
    return step.existing is not None and name not in step.existing


def _allow_writes(link: Link, table: TableName) -> None:
    refuses = SQL(sql.no_write_function(table_oid(link, table)))
    link.run(f"allow writes to {table}", SQL(sql.ALLOW_WRITES).format(refuses))


def _unpublish(link: Link, mesh: str) -> None:
    name = publication_name(mesh)
    statement = SQL(sql.DROP_PUBLICATION).format(Identifier(name))
    link.run(f"drop the publication {name!r}", statement, grant="the publication's owner")
