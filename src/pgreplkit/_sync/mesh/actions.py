# Generated from pgreplkit/_async/mesh/actions.py by `nox -s sync`. Do not edit.
"""The actions of each kind of step of a mesh, and how to undo them."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
from psycopg.sql import SQL, Identifier

from pgreplkit._sync._io import sleep
from pgreplkit._sync.cluster.site import Site
from pgreplkit._sync.logical.applytarget import ApplyTarget
from pgreplkit._sync.logical.tombstones import drop_tombstones, ensure_tombstones, table_oid
from pgreplkit._sync.mesh.copying import MeshCopy
from pgreplkit._sync.mesh.members import mesh_tables, read_members, store_members
from pgreplkit._sync.mesh.setup import publishing
from pgreplkit._sync.mesh.streams import start_at
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
    MeshMember,
    applier_name,
    publication_name,
    slot_name,
    without,
)
from pgreplkit.values.lsn import LSN
from pgreplkit.values.tablename import TableName, table_of


@attrs.frozen
class MeshActor:
    """Performs the steps of operations on a mesh."""

    site: Site

    def perform(self, step: Step) -> Promotion | None:
        """Perform one step."""
        match step:
            case steps.PrepareNode():
                self._prepare(step)
            case steps.SetMembers():
                self._store(step, step.members)
            case steps.MakeStreams():
                for source in step.sources:
                    self._make_stream(step, source)
            case steps.WaitForDonor():
                self._wait_for_donor(step)
            case steps.CopyRows():
                MeshCopy(self.site, step).run()
            case steps.StopWrites():
                self._refuse_writes(step, is_refused=True)
            case steps.WaitForPeers():
                self._wait_for_peers(step)
            case steps.DropStreams():
                for source in step.sources:
                    self._drop_stream(step.mesh, source, step.node, keeps_origin=True)
            case steps.DropLost():
                self._forget_lost_node(step)
            case steps.ForgetMesh():
                self._forget(step)
            case _:
                raise TypeError(f"unknown kind of step: {type(step).__name__}")
        return None

    def take_back(self, step: Step) -> None:
        """Undo one step, which may be done completely, in part or not at all."""
        match step:
            case steps.PrepareNode():
                with self.site.server(step.node) as server:
                    _unpublish(server._link, step.mesh)
                    drop_tombstones(server._link, [*map(table_of, step.tables)])
            case steps.SetMembers():
                self._store(step, step.before)
            case steps.MakeStreams():
                for source in step.sources:
                    self._drop_stream(step.mesh, source, step.node, keeps_origin=False)
            case steps.CopyRows():
                MeshCopy(self.site, step).remove()
                self._drop_stream(step.mesh, step.donor, step.node, keeps_origin=False)
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
            if not link.all(operation, sql.HAS_PUBLICATION, [name]):
                database = f"CREATE ON DATABASE {link.connection.info.dbname}"
                link.run(operation, *publishing(link, name, tables), grant=database)

    def _store(self, step: steps.SetMembers, members: Iterable[str]) -> None:
        with self.site.server(step.node) as server:
            store_members(server._link, step.mesh, step.ties, [*map(MeshMember.parse, members)])

    # Streams

    def _make_stream(self, step: steps.MakeStreams, source: str) -> None:
        name = applier_name(step.mesh, source, step.node)
        with (
            self.site.server(source) as server,
            ApplyTarget.connect(self.site.servers[step.node], name, uses_origin=True) as target,
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

    def _drop_stream(self, mesh: str, source: str, target_node: str, *, keeps_origin: bool) -> None:
        name, slot = applier_name(mesh, source, target_node), slot_name(mesh, source, target_node)
        with self.site.server(source) as server:
            self._drop_slot(server, slot)
        with ApplyTarget.connect(self.site.servers[target_node], name, uses_origin=True) as target:
            # Undone before the node was prepared: nothing was stored there.
            if not target.has_schema():
                return
            # The commit of each row refers to its origin by number; its name is how the writer is
            # found.
            if keeps_origin:
                target.link.all(target.operation, applying.DROP_APPLIER, [name])
            else:
                target.drop()

    def _forget_lost_node(self, step: steps.DropLost) -> None:
        name = applier_name(step.mesh, step.lost, step.node)
        with self.site.server(step.node) as server:
            self._drop_slot(server, slot_name(step.mesh, step.node, step.lost))
            # Its origin stays: rows that it wrote last are compared by its rank.
            server._link.all("forget a lost node", applying.DROP_APPLIER, [name])

    def _drop_slot(self, server: Server, name: str) -> None:
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
            for table in mesh_tables(link, step.mesh):
                # Also before a trigger is created: an interrupted attempt may have left one.
                _allow_writes(link, table)
                if is_refused:
                    refuses = SQL(sql.no_write_function(table_oid(link, table)))
                    link.run(
                        f"refuse writes to {table}",
                        SQL(sql.NO_WRITE).format(refuses),
                        SQL(sql.REFUSE_WRITES).format(parts.table(table), refuses),
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
            for source in without(members.ranks, step.node):
                self._drop_stream(step.mesh, source, step.node, keeps_origin=False)
            store_members(link, step.mesh, members.ties, [])


def _allow_writes(link: Link, table: TableName) -> None:
    refuses = SQL(sql.no_write_function(table_oid(link, table)))
    link.run(f"allow writes to {table}", SQL(sql.ALLOW_WRITES).format(refuses))


def _unpublish(link: Link, mesh: str) -> None:
    name = publication_name(mesh)
    statement = SQL(sql.DROP_PUBLICATION).format(Identifier(name))
    link.run(f"drop the publication {name!r}", statement, grant="the publication's owner")
