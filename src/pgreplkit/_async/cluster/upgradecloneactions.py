"""The actions of each step of a preparation by clone, and how to undo them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from threading import Event
from uuid import uuid4

import attrs
from psycopg.sql import SQL, Identifier, Literal

from pgreplkit._async._io import TaskGroup, sleep, to_thread, to_thread_shielded
from pgreplkit._async.cluster.clone import aplan_clone
from pgreplkit._async.cluster.upgradeactions import (
    AsyncUpgradeActor,
    make_slots,
    move_origin,
)
from pgreplkit._async.cluster.upgradeschema import keep_schema
from pgreplkit._async.logical.publication import make_publication
from pgreplkit._async.primary import AsyncPrimary
from pgreplkit._async.server.identity import read_database
from pgreplkit._async.server.server import AsyncServer
from pgreplkit._async.streams.replication import AsyncReplicationConnection
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.catalog.cluster.upgradeclone import (
    CLUSTER,
    HBA,
    IDENT_MAPPINGS,
    WITHOUT_STATISTICS,
    ClusterFacts,
)
from pgreplkit.catalog.cluster.upgradeschema import KEEP
from pgreplkit.catalog.server.access import HBA_RULES
from pgreplkit.catalog.server.replay import Promotion
from pgreplkit.driver.backoff import Backoff
from pgreplkit.driver.probe import probe
from pgreplkit.errors import (
    AlreadyExists,
    ConnectionFailed,
    ControlFailed,
    Error,
    PublicationNotFound,
    ServerError,
    SlotNotFound,
)
from pgreplkit.host.recoveryfiles import is_standby
from pgreplkit.host.upgradeclone import CloneDirectories, empty
from pgreplkit.plans.cluster import upgradesteps as steps
from pgreplkit.plans.cluster.clone import CloneProgress
from pgreplkit.plans.cluster.failover import Reply
from pgreplkit.plans.cluster.journal import LostPrimary
from pgreplkit.plans.cluster.steps import DropSlots, Step
from pgreplkit.plans.cluster.upgrade import OLD
from pgreplkit.plans.cluster.upgradeclone import has_includes, written_mappings, written_rules
from pgreplkit.plans.cluster.upgradeschema import KeptSchema
from pgreplkit.plans.logical.subscription import SubscriptionOptions
from pgreplkit.plans.server.identity import is_one_server
from pgreplkit.values.lsn import LSN

_RECOVERY = 7 * 24 * 3600.0
"""Seconds for the recovery: it has to replay all WAL that was written during the copy."""
_ANALYZES = 24 * 3600.0
"""Seconds for the statistics of all tables."""
_ANSWERS = {
    Reply.ACCEPTED: "a server answers that refuses this role or database",
    Reply.REFUSED: "a server answers that accepts no connections yet",
    Reply.OPEN: "another program answers",
    Reply.NOT_ASKED: "this machine could not ask it",
}


@attrs.frozen(kw_only=True)
class AsyncCloneActor:
    """Performs the steps of a preparation by clone."""

    old: AsyncPrimary
    new: str = attrs.field(repr=False)
    reached: str = attrs.field(repr=False)
    """The connection string with which this machine reaches the old server."""
    host: CloneDirectories
    timeout: float

    async def cluster(self) -> ClusterFacts:
        """Return the facts about the whole old server."""
        link = self.old._link
        record = await link.one("read the facts of the server", CLUSTER)
        record.update(hba=None, ident=None)
        # Before 11 a file in another directory cannot be read, nor without the privilege.
        with suppress(ServerError):
            record.update(await self._access_files())
        return ClusterFacts(**record)

    async def _access_files(self) -> dict[str, str | None]:
        """Return pg_hba.conf and pg_ident.conf, with the lines of the files that they include."""
        link, operation = self.old._link, "read pg_hba.conf"
        files = await link.one(operation, HBA)
        if has_includes(files["hba"]):
            sql = HBA_RULES.sql(link.version.major)
            rules = [HBA_RULES.read(one) for one in await link.all(operation, sql)]
            files["hba"] = written_rules(rules)
        if files["ident"] is not None and has_includes(files["ident"]):
            mappings = await link.all("read pg_ident.conf", IDENT_MAPPINGS)
            files["ident"] = written_mappings(one.values() for one in mappings)
        return files

    async def unreached(self) -> str:
        """Return why this machine cannot connect to the old server as a standby; empty if it can.

        The new server runs on this machine.
        """
        try:
            async with await AsyncReplicationConnection.connect(self.reached):
                return ""
        except ConnectionFailed as error:
            return error.found

    async def answering(self) -> str:
        """Return what answers at the address of the new server; empty if nothing does."""
        try:
            async with await AsyncServer.connect(self.new) as there:
                found = await read_database(there._link)
        except ServerError:
            # It may refuse this role or this database only.
            reply = await to_thread(lambda: probe(self.new))
            return "" if reply is Reply.SILENT else _ANSWERS[reply]
        own = await read_database(self.old._link)
        which = "the old" if is_one_server(found, own) else "another"
        return f"{which} server answers"

    async def look(self, step: Step) -> Step:
        """Return the step with an identity, by which a stale journal is known."""
        if not isinstance(step, steps.PublishTables) or step.identity:
            return step
        return attrs.evolve(step, identity=uuid4().hex)

    async def perform(self, step: Step) -> Promotion | None:
        """Perform one step, which may be done in part or completely already."""
        try:
            await self._perform(step)
        except BaseException:
            if isinstance(step, steps.RecoverCopy | steps.UpgradeCopy):
                # No one would know of the servers that its programs have started.
                with suppress(Error):
                    await self._end_programs()
            raise
        return None

    async def _perform(self, step: Step) -> None:
        host = self.host
        match step:
            case steps.CopyServer():
                await self._copy_server(step.slot)
            case steps.PublishTables():
                await self._publish(step)
            case steps.MakeForwardSlots():
                await self._make_slots(step.slots)
            case steps.RecoverCopy():
                await self._recover(await self._position(step.slots[0]))
            case DropSlots():
                await self._drop_slots(step.slots)
            case steps.UpgradeCopy():
                await self._upgrade(step.transfer)
            case steps.StartUpgraded():
                cluster = await self.cluster()
                await to_thread(lambda: host.start_new(cluster))
            case steps.RemoveCopy():
                await to_thread(lambda: empty(host.copy))
            case steps.KeepSchema() if step.node == OLD:
                await keep_schema(self.old, self.old, step)
            case _:
                async with await AsyncPrimary.connect(self.new) as new:
                    await self._perform_on(new, step)

    async def _perform_on(self, new: AsyncPrimary, step: Step) -> None:
        """Perform a step that needs a connection to the new server."""
        match step:
            case steps.DropCopiedPublications():
                for name in step.publications:
                    with suppress(PublicationNotFound):
                        await (await new.publication(name)).drop()
            case steps.SubscribeAt():
                await self._subscribe(new, step.publication)
            case steps.AnalyzeUpgraded():
                await self._analyze(new._link)
            case _:
                # The same as after a copy of the rows.
                actor = AsyncUpgradeActor(self.old, new, {}, None, None, True, self.timeout)
                await actor.perform(step)

    async def take_back(self, step: Step) -> None:
        """Undo one step, which may be done completely, in part or not at all."""
        match step:
            case steps.FenceTables():
                pass  # It is removed with the new server.
            case steps.UpgradeCopy():
                await self._end_programs()
                await to_thread(self.host.remove_new)
            case steps.MakeForwardSlots():
                await self._drop_slots(step.slots)
            case steps.PublishTables():
                with suppress(PublicationNotFound):
                    await (await self.old.publication(step.publication)).drop()
            case steps.CopyServer():
                await self._end_programs()
                await to_thread(self.host.remove_new)
                await to_thread(lambda: empty(self.host.copy))
                await self._drop_slots([step.slot])
            case _:
                raise TypeError(f"a step that cannot be undone: {type(step).__name__}")

    async def missing_evidence(self, lost: LostPrimary) -> str:
        """Return the missing evidence that a primary is lost: an upgrade needs none."""
        return ""

    async def _drop_slots(self, names: Sequence[str]) -> None:
        """Drop slots whose walsenders may not have noticed yet that their client has ended."""
        for name in names:
            with suppress(SlotNotFound):
                await (await self.old.slot(name)).drop(force=True, timeout=self.timeout)

    async def _publish(self, step: steps.PublishTables) -> None:
        name, link = step.publication, self.old._link
        operation, grant = f"create the publication {name!r}", "the owner"
        identity = Literal(KeptSchema(identity=step.identity).to_text())
        identify = SQL(KEEP).format(Identifier(name), identity)
        try:
            # In one transaction: without its identity it would be that of another preparation.
            async with link.transaction(operation, timeout=self.timeout) as within:
                await make_publication(within, name, tables=step.tables, timeout=self.timeout)
                await within.run(operation, identify, grant=grant)
        except AlreadyExists:
            # With force=True, it may be that of another preparation.
            await link.run(operation, identify, grant=grant)

    async def _analyze(self, link: AsyncLink) -> None:
        operation, statement = "collect statistics", SQL("ANALYZE").format()
        if link.has("upgrade.statistics"):
            found = await link.all(operation, WITHOUT_STATISTICS)
            if not found:
                return
            # Without ONLY, a partitioned table would be analyzed with all of its partitions.
            only = SQL("ONLY {}")
            tables = [only.format(Identifier(one["schema"], one["name"])) for one in found]
            statement = SQL("ANALYZE {}").format(SQL(", ").join(tables))
        await link.run_alone(operation, statement, timeout=_ANALYZES, grant="the owner")

    async def _copy_server(self, slot: str) -> None:
        copy = self.host.copy
        # The file comes last.
        if await to_thread(lambda: is_standby(copy)):
            return
        await self._end_programs()
        await to_thread(lambda: empty(copy))
        plan = aplan_clone(
            self.reached,
            copy.data_directory,
            control=copy,
            slot=slot,
            checkpoint="fast",
            start_server=False,
        )
        cluster, given_up = await self.cluster(), Event()
        # Both at the same time: initdb takes as long as 100 MB, and its error is found early.
        group = TaskGroup(1)
        creating = group.start(
            lambda: to_thread_shielded(
                lambda: self.host.create_new(cluster, lambda: not given_up.is_set())
            )
        )

        def look(_: CloneProgress) -> None:
            if creating.done():
                creating.result()

        try:
            await plan.run(look)
            while not creating.done():
                await group.wait([creating], self.timeout)
            creating.result()
        except BaseException:
            given_up.set()
            await group.wait([creating], self.timeout)
            if creating.done() and not creating.cancelled():
                creating.exception()  # Retrieved, as asyncio logs those that nothing retrieves.
            raise
        finally:
            await group.close()

    async def _upgrade(self, transfer: str) -> None:
        await self._end_programs()
        cluster, given_up = await self.cluster(), Event()
        try:
            await to_thread(
                lambda: self.host.upgrade(cluster, transfer, lambda: not given_up.is_set())
            )
        finally:
            # A cancelled task leaves its thread behind.
            given_up.set()

    async def _end_programs(self) -> None:
        """Wait for programs of an attempt that was killed: they would write to the same files."""
        backoff = Backoff(self.timeout)
        while pids := await to_thread(self.host.stop_servers):
            if backoff.is_over:
                found = f"process {pids[0]} of an earlier attempt is still running"
                raise ControlFailed("begin again", found, remedy="wait for its end, or end it")
            await sleep(backoff.next_pause())

    async def _make_slots(self, names: Sequence[str]) -> None:
        await make_slots(self.old, names, self.timeout)
        reached = {name: await self._position(name) for name in names}
        target = max(reached.values())
        for name, position in reached.items():
            # Before 11 there is one slot only.
            if position != target:
                await (await self.old.slot(name)).advance(target)

    async def _position(self, slot: str) -> LSN:
        """Return the position from which a slot sends commits; no one reads from it yet."""
        position = (await self.old.slot(slot)).state.confirmed_flush_lsn
        if position is None:
            raise ServerError(f"read the position of slot {slot!r}", "it has none")
        return position

    async def _recover(self, target: LSN) -> None:
        host = self.host
        if await to_thread(lambda: is_standby(host.copy)):
            settings, major = await self.old.settings(), self.old.version.major
            await to_thread(lambda: host.begin_recovery(target, major=major, settings=settings))
            # Recovery ends before the first record that begins at the target or later.
            await self.old.write_marker()
            backoff = Backoff(_RECOVERY)
            while not await to_thread(host.is_promoted):
                if backoff.is_over:
                    raise ControlFailed(
                        f"recover the copy up to {target}",
                        f"it is still replaying WAL after {backoff.limit:g} s",
                        remedy="see its pg_ctl.log; resume() the plan to wait again, or undo() it",
                    )
                await sleep(backoff.next_pause())
        reached = await to_thread(host.end_recovery)
        if reached != target:
            raise ControlFailed(
                f"recover the copy up to {target}",
                f"its recovery ended at {reached}",
                remedy="undo() the plan, and run it again",
            )

    async def _subscribe(self, new: AsyncPrimary, name: str) -> None:
        # It exists if an attempt was killed after this statement.
        with suppress(AlreadyExists):
            await new.create_subscription(
                name,
                self.reached,
                [name],
                SubscriptionOptions(
                    copy_data=False, create_slot=False, slot_name=name, enabled=False
                ),
                timeout=self.timeout,
            )
        subscription = await new.subscription(name)
        if not subscription.state.subenabled:
            await move_origin(new, subscription, await self._position(name))
            await subscription.enable(timeout=self.timeout)
