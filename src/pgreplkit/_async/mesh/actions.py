"""The actions of each kind of step of a mesh, and how to undo them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import attrs
from psycopg.sql import SQL, Identifier

from pgreplkit._async._io import sleep
from pgreplkit._async.cluster.site import AsyncSite
from pgreplkit._async.logical.applyshapes import read_targets
from pgreplkit._async.logical.applytarget import AsyncApplyTarget
from pgreplkit._async.logical.tombstones import (
    drop_tombstones,
    ensure_tombstones,
    table_oid,
    tables_with_triggers,
)
from pgreplkit._async.mesh.copying import AsyncMeshCopy
from pgreplkit._async.mesh.members import (
    has_publication,
    mesh_tables,
    read_members,
    sending_slots,
    store_members,
    store_policy,
)
from pgreplkit._async.mesh.setup import publishing
from pgreplkit._async.mesh.streams import start_at, stream_target
from pgreplkit._async.server.positions import write_marker
from pgreplkit._async.server.server import AsyncServer
from pgreplkit._async.wire.link import AsyncLink
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
class AsyncMeshActor:
    """Performs the steps of operations on a mesh."""

    site: AsyncSite
    max_clock_skew: timedelta
    """The longest time for which a node waits until its clock has passed those of copied rows."""

    async def perform(self, step: Step) -> Promotion | None:
        """Perform one step."""
        match step:
            case steps.PrepareNode():
                await self._prepare(step)
            case steps.SetMembers():
                await self._store(step, step.members)
            case steps.SetPolicy():
                await self._record(step, step.policy)
            case steps.MakeStreams():
                for source in step.sources:
                    await self._make_stream(step, source)
            case steps.WaitForDonor():
                await self._wait_for_donor(step)
            case steps.CopyRows():
                await AsyncMeshCopy(self.site, step).run(self.max_clock_skew)
            case steps.StopWrites():
                await self._refuse_writes(step, is_refused=True)
            case steps.WaitForPeers():
                await self._wait_for_peers(step)
            case steps.DropStreams():
                for source in step.sources:
                    await self._drop_stream(step.mesh, source, step.node, keeps_origin=True)
            case steps.DropLost():
                await self._forget_lost_node(step)
            case steps.DropOwnSlots():
                await self._drop_own_slots(step)
            case steps.ForgetMesh():
                await self._forget(step)
            case _:
                raise TypeError(f"unknown kind of step: {type(step).__name__}")
        return None

    async def look(self, step: Step) -> Step:
        """Return the step with the objects that exist before it is begun."""
        match step:
            case steps.SetMembers(before=None):
                stored = await self._members(step.node, step.mesh)
                return attrs.evolve(step, before=[member.written for member in stored.all])
            case steps.SetPolicy(before=None):
                policy = (await self._members(step.node, step.mesh)).policy
                return attrs.evolve(step, before=[] if policy is None else [policy])
            case steps.PrepareNode(existing=None):
                return attrs.evolve(step, existing=await self._objects_of(step))
            case steps.MakeStreams(existing=None):
                return attrs.evolve(step, existing=await self._streams(step, step.sources))
            case steps.CopyRows(existing=None):
                return attrs.evolve(step, existing=await self._streams(step, [step.donor]))
        return step

    async def take_back(self, step: Step) -> None:
        """Undo one step, which may be done completely, in part or not at all."""
        match step:
            case steps.PrepareNode():
                await self._unprepare(step)
            case steps.SetMembers():
                if step.before is not None:
                    await self._store(step, step.before)
            case steps.SetPolicy():
                if step.before is not None:
                    await self._record(step, step.before[0] if step.before else None)
            case steps.MakeStreams():
                await self._drop_new_streams(step, step.sources)
            case steps.CopyRows():
                if _is_new(step, step.donor):
                    await AsyncMeshCopy(self.site, step).remove()
                await self._drop_new_streams(step, [step.donor])
            case steps.StopWrites():
                await self._refuse_writes(step, is_refused=False)
            case _:
                raise TypeError(f"a step that cannot be undone: {type(step).__name__}")

    async def missing_evidence(self, lost: LostPrimary) -> str:
        """Raise TypeError: no operation on a mesh assumes that a server is lost."""
        raise TypeError(f"a mesh has no primary {lost.primary}")

    async def _prepare(self, step: steps.PrepareNode) -> None:
        tables, name = [*map(table_of, step.tables)], publication_name(step.mesh)
        operation = f"create the publication {name!r}"
        async with (
            await AsyncApplyTarget.connect(
                self.site.servers[step.node], step.mesh, uses_origin=True
            ) as target,
            await self.site.server(step.node) as server,
        ):
            # Tombstones are in the schema, and the triggers write them from the first change on.
            await target.ensure_schema()
            link = server._link
            await ensure_tombstones(link, tables, [*map(table_of, step.final)])
            # An administrator may have created it for a role that does not own the tables.
            if not await has_publication(link, step.mesh):
                database = f"CREATE ON DATABASE {link.connection.info.dbname}"
                await link.run(operation, *publishing(link, name, tables), grant=database)

    async def _objects_of(self, step: steps.PrepareNode) -> list[str]:
        async with await self.site.server(step.node) as server:
            is_published = await has_publication(server._link, step.mesh)
            tables = await tables_with_triggers(server._link, [*map(table_of, step.tables)])
        return [*([_PUBLICATION] if is_published else []), *map(str, tables)]

    async def _unprepare(self, step: steps.PrepareNode) -> None:
        # Before it is begun, all objects there belong to someone else.
        if step.existing is None:
            return
        async with await self.site.server(step.node) as server:
            if _PUBLICATION not in step.existing:
                await _unpublish(server._link, step.mesh)
            made = without(step.tables, *step.existing)
            await drop_tombstones(server._link, [*map(table_of, made)])

    async def _members(self, node: str, mesh: str) -> Members:
        async with await self.site.server(node) as server:
            return await read_members(server._link, mesh)

    async def _record(self, step: steps.SetPolicy, policy: str | None) -> None:
        async with await self.site.server(step.node) as server:
            await store_policy(server._link, step.mesh, policy)

    async def _store(self, step: steps.SetMembers, members: Iterable[str]) -> None:
        async with await self.site.server(step.node) as server:
            await store_members(
                server._link, step.mesh, step.ties, [*map(MeshMember.parse, members)]
            )

    # Streams

    async def _make_stream(self, step: steps.MakeStreams, source: str) -> None:
        async with (
            await self.site.server(source) as server,
            await stream_target(self.site, step.mesh, source, step.node) as target,
        ):
            operation = f"create the stream from {source} to {step.node}"
            slot = slot_name(step.mesh, source, step.node)
            if not await server._link.all(operation, applying.SLOT_EXISTS, [slot]):
                # Before the slot: every change that it sends is committed later.
                clock = await server._link.one(operation, applying.CLOCK)
                row = [clock["now"], step.mesh, step.node]
                await target.link.all(operation, sql.LOWER_HORIZON, row)
                await server.create_logical_slot(slot, timeout=self.site.timeout)
            position = await server._link.one(operation, sql.SLOT_POSITION, [slot])
            await start_at(target, server, position["lsn"], is_ready=step.is_ready)

    async def _streams(
        self, step: steps.MakeStreams | steps.CopyRows, sources: Iterable[str]
    ) -> list[str]:
        """Return the slots, origins and streams that exist before a step creates them."""
        operation, found = f"look for the streams to {step.node}", list[str]()
        async with await self.site.server(step.node) as target:
            link = target._link
            has_tables = (await link.one(operation, applying.HAS_TABLES))["has_tables"]
            for source in sources:
                # The slot and the origin have one name.
                name = slot_name(step.mesh, source, step.node)
                async with await self.site.server(source) as server:
                    slots = await server._link.all(operation, applying.SLOT_EXISTS, [name])
                if await link.all(operation, applying.FIND_ORIGIN, [name]):
                    found.append(_ORIGIN + name)
                row = [applier_name(step.mesh, source, step.node)]
                streams = (
                    await link.all(operation, applying.READ_APPLIER, row) if has_tables else []
                )
                # A copy that was interrupted begins again, with another slot.
                if isinstance(step, steps.CopyRows):
                    slots, streams = [], [one for one in streams if one["state"] == "streaming"]
                found += [_SLOT + name] * bool(slots) + [_STREAM + name] * bool(streams)
        return found

    async def _drop_new_streams(
        self, step: steps.MakeStreams | steps.CopyRows, sources: Iterable[str]
    ) -> None:
        for source in sources:
            if _is_new(step, source):
                name, existing = slot_name(step.mesh, source, step.node), step.existing or ()
                await self._drop_stream(
                    step.mesh,
                    source,
                    step.node,
                    # Rows may refer to one that is left from an earlier membership.
                    keeps_origin=_ORIGIN + name in existing,
                    keeps_slot=_SLOT + name in existing,
                )

    async def _drop_stream(
        self,
        mesh: str,
        source: str,
        target_node: str,
        *,
        keeps_origin: bool,
        keeps_slot: bool = False,
    ) -> None:
        if not keeps_slot:
            async with await self.site.server(source) as server:
                await self._drop_slot(server, slot_name(mesh, source, target_node))
        async with await stream_target(self.site, mesh, source, target_node) as target:
            # Undone before the node was prepared: nothing was stored there.
            if not await target.has_schema():
                return
            # The commit of each row refers to its origin by number; its name is how the writer is
            # found.
            if keeps_origin:
                await target.link.all(target.operation, applying.DROP_APPLIER, [target.name])
            else:
                await target.drop()

    async def _forget_lost_node(self, step: steps.DropLost) -> None:
        name = applier_name(step.mesh, step.lost, step.node)
        async with await self.site.server(step.node) as server:
            await self._drop_slot(server, slot_name(step.mesh, step.node, step.lost))
            # Its origin stays: rows that it wrote last are compared by its rank.
            await server._link.all("forget a lost node", applying.DROP_APPLIER, [name])

    async def _drop_own_slots(self, step: steps.DropOwnSlots) -> None:
        async with await self.site.server(step.node) as server:
            # Only those of its database: a mesh of another one may have the same names.
            for slot in await sending_slots(server._link, step.mesh, step.node, step.targets):
                await self._drop_slot(server, slot)

    async def _drop_slot(self, server: AsyncServer, name: str) -> None:
        link, operation = server._link, f"forget the stream {name!r}"
        if (await link.one(operation, sql.HAS_STREAMS))["has_streams"]:
            await link.all(operation, sql.DROP_STREAM, [name])
        backoff = Backoff(self.site.timeout)
        while True:
            try:
                await (await server.slot(name)).drop()
            except SlotNotFound:
                return
            except SlotActive:
                # A running stream ends once it has noticed that a member left.
                if backoff.is_over:
                    raise
                await sleep(backoff.next_pause())
            else:
                return

    # Waiting

    async def _wait_for_donor(self, step: steps.WaitForDonor) -> None:
        for source in step.sources:
            async with await self.site.server(source) as server:
                slot = slot_name(step.mesh, source, step.target)
                operation = f"read the position of slot {slot!r}"
                position = await server._link.one(operation, sql.SLOT_POSITION, [slot])
                await self._wait(server, step.mesh, source, step.node, position["lsn"])

    async def _wait_for_peers(self, step: steps.WaitForPeers) -> None:
        async with await self.site.server(step.node) as server:
            # Writes are refused by now, so this is behind the last one.
            lsn = await write_marker(server._link)
            for target in step.targets:
                await self._wait(server, step.mesh, step.node, target, lsn)

    async def _wait(
        self, server: AsyncServer, mesh: str, source: str, target: str, lsn: LSN
    ) -> None:
        # On an idle server no commit would move the slot.
        await write_marker(server._link)
        slot = await server.slot(slot_name(mesh, source, target))
        await slot.wait_for_catchup(lsn, timeout=self.site.timeout)

    # Leaving

    async def _refuse_writes(self, step: steps.StopWrites, *, is_refused: bool) -> None:
        async with await self.site.server(step.node) as server:
            link = server._link
            tables = await mesh_tables(link, step.mesh)
            targets = await read_targets(link, tables)
            for table in tables:
                # Also before a trigger is created: an interrupted attempt may have left one.
                await _allow_writes(link, table)
                if is_refused:
                    refuses = SQL(sql.no_write_function(await table_oid(link, table)))
                    # Partitions have the triggers for rows, also where a client names one.
                    each = SQL("ROW" if targets[table].is_partitioned else "STATEMENT")
                    await link.run(
                        f"refuse writes to {table}",
                        SQL(sql.NO_WRITE).format(refuses),
                        SQL(sql.REFUSE_WRITES).format(parts.table(table), each, refuses),
                        grant=f"TRIGGER ON {table}",
                    )

    async def _forget(self, step: steps.ForgetMesh) -> None:
        async with await self.site.server(step.node) as server:
            link = server._link
            tables = await mesh_tables(link, step.mesh)
            for table in tables:
                await _allow_writes(link, table)
            await drop_tombstones(link, tables)
            await _unpublish(link, step.mesh)
            # Nothing is applied here from now on, so no row needs the origin of its commit.
            members = await read_members(link, step.mesh)
            if not members.all:
                # Also if someone has dropped the schema, which would be needed below.
                return
            for source in without(members.ranks, step.node):
                # The slots were dropped before; nodes that left earlier may not even exist.
                await self._drop_stream(
                    step.mesh, source, step.node, keeps_origin=False, keeps_slot=True
                )
            await store_policy(link, step.mesh, None)
            await store_members(link, step.mesh, members.ties, [])


def _is_new(step: steps.MakeStreams | steps.CopyRows, source: str) -> bool:
    """Return whether a step has created, or may have begun to create, the stream from a node."""
    name = _STREAM + slot_name(step.mesh, source, step.node)
    return step.existing is not None and name not in step.existing


async def _allow_writes(link: AsyncLink, table: TableName) -> None:
    refuses = SQL(sql.no_write_function(await table_oid(link, table)))
    await link.run(f"allow writes to {table}", SQL(sql.ALLOW_WRITES).format(refuses))


async def _unpublish(link: AsyncLink, mesh: str) -> None:
    name = publication_name(mesh)
    statement = SQL(sql.DROP_PUBLICATION).format(Identifier(name))
    await link.run(f"drop the publication {name!r}", statement, grant="the publication's owner")
