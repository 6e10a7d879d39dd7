"""AsyncUpgrade: a database moves to a server of a newer major version, and back if need be."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import attrs

from pgreplkit._async._io import insist_on_hook, to_thread
from pgreplkit._async.cluster.plan import AsyncChecks, AsyncPlan
from pgreplkit._async.cluster.upgradeactions import AsyncUpgradeActor
from pgreplkit._async.cluster.upgradefacts import (
    databases_of,
    read_lacking_rights,
    read_upgrade_facts,
)
from pgreplkit._async.cluster.upgradefences import (
    read_others,
    read_unfenced_roles,
    read_writing_triggers,
)
from pgreplkit._async.cluster.upgradegate import read_filled, read_gate, read_stuck, read_way_back
from pgreplkit._async.cluster.upgradegroups import (
    compared_groups,
    published_groups,
    read_gone,
    read_tables,
    read_unpublished,
    returned_groups,
)
from pgreplkit._async.cluster.upgradelock import AsyncUpgradeLock
from pgreplkit._async.cluster.upgraderebuild import read_objects
from pgreplkit._async.cluster.upgradereplication import read_replication
from pgreplkit._async.cluster.upgraderows import read_files, read_truncated
from pgreplkit._async.cluster.upgradestatus import read_slots, read_state
from pgreplkit._async.logical.compare import acompare
from pgreplkit._async.logical.drift import other_relations
from pgreplkit._async.primary import AsyncPrimary, insist_on_primaries
from pgreplkit._async.server.identity import insist_on_two_databases
from pgreplkit.driver.conninfo import checked_conninfo
from pgreplkit.errors import TableNotFound
from pgreplkit.host.journalfile import journal_at
from pgreplkit.host.schemacopy import program_majors
from pgreplkit.plans.cluster.journal import CLONING, REBUILT, Journal
from pgreplkit.plans.cluster.upgrade import (
    NEW,
    OLD,
    Names,
    checked_upgrade_name,
    cutover_journal,
    finish_journal,
    forward_of,
    prepare_journal,
    rollback_journal,
)
from pgreplkit.plans.cluster.upgradechecks import programs_finding, upgrade_findings
from pgreplkit.plans.cluster.upgradegate import (
    finish_findings,
    planned_finding,
    rollback_findings,
    unsubscribed_tables,
)
from pgreplkit.plans.cluster.upgradegroups import (
    TableGroup,
    checked_count,
    chosen_groups,
    groups_of,
    tables_of,
)
from pgreplkit.plans.cluster.upgradepairing import WrongServers, servers_finding
from pgreplkit.plans.cluster.upgradephases import (
    UpgradeOperation,
    compared_publisher,
    not_compared,
    phase_finding,
)
from pgreplkit.plans.cluster.upgraderebuild import rebuilt_journal
from pgreplkit.plans.cluster.upgradeslots import forward_slots_findings
from pgreplkit.plans.cluster.upgradestatus import UpgradePhase, UpgradeStatus
from pgreplkit.plans.logical.compare import CompareProgress
from pgreplkit.plans.server.readiness import Readiness
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.flags import checked_flags
from pgreplkit.values.functions import insist_on_arguments
from pgreplkit.values.rows import Rows
from pgreplkit.values.seconds import Timeout, checked_seconds
from pgreplkit.values.several import by_name
from pgreplkit.values.tablename import AnyTable, TableName

_LOST_JOURNAL = (
    f"make it readable; or pass another path as journal=, where no file exists: {REBUILT}"
)

Redirect = Callable[[str], object]
"""Moves the clients to a server; called with "old" or "new"."""


class AsyncUpgrade:
    """The move of a database to a server of a newer major version, by logical replication.

    ``old`` and ``new`` are connected to the two databases, in autocommit mode. Four plans, each of
    them shown, checked, run and resumed on its own, may be days apart: ``plan_prepare``,
    ``plan_cutover``, ``plan_rollback`` and ``plan_finish``. The state between them is on the
    servers: ``name`` is the prefix of the publications, subscriptions, slots and fences, by which
    another process finds them. The journal file has the plan that is running.

    ``replication`` has the connection strings with which the servers reach each other: "old" is the
    one that the new server uses. By default they are those of the two connections.

    Needs: on both servers a superuser, or the rights that ``check`` lists.
    """

    def __init__(
        self,
        old: AsyncPrimary,
        new: AsyncPrimary,
        *,
        name: str,
        journal: str | os.PathLike[str] | None = None,
        replication: Mapping[str, str] | None = None,
        timeout: Timeout = 60.0,
    ) -> None:
        insist_on_primaries(old=old, new=new)
        self._old, self._new = old, new
        self._names = Names(upgrade=checked_upgrade_name(name))
        self._file = None if journal is None else Path(journal).absolute()
        self._replication = dict(by_name(replication, "replication"))
        # A misspelt key would be ignored, and the connection string of this process used.
        if unknown := self._replication.keys() - {OLD, NEW}:
            raise ValueError(f"replication has the servers old and new, not {sorted(unknown)}")
        for node, conninfo in self._replication.items():
            checked_conninfo(conninfo, f"replication[{node!r}]")
        self._timeout = checked_seconds(timeout, "timeout")

    @property
    def _sides(self) -> tuple[AsyncPrimary, AsyncPrimary]:
        return self._old, self._new

    @property
    def name(self) -> str:
        """The upgrade's name."""
        return self._names.upgrade

    async def check(self, *, groups: int = 1) -> Readiness:
        """Check everything that the upgrade needs; nothing is changed.

        Each finding has the remedy. The plans check the same, and refuse to start if a finding is
        critical.

        Subscriptions that are rolled back show whether the servers reach each other. If a role
        lacks rights, a finding has the statements that grant them, and only the servers are
        checked. After the preparation, the phase is the only finding.
        """
        return Readiness(findings=tuple(await self._preparation(groups)))

    async def _preparation(
        self, groups: int, *, copies_schema: bool = True, copies_owners: bool = True
    ) -> list[Finding]:
        """Return the findings of a preparation; only the phase, if that is critical."""
        old, new = self._sides
        found = []
        # Without rights the phase cannot be read, and the others say which are missing.
        if not await read_lacking_rights(self._names, old=old, new=new):
            found = [phase := await self._phase()]
            if phase.severity is not Severity.OK:
                return found
        facts = await read_upgrade_facts(
            old,
            new,
            self._names,
            checked_count(groups, "groups"),
            self._replication,
            copies_schema=copies_schema,
            copies_owners=copies_owners,
        )
        return [*found, *upgrade_findings(facts)]

    async def _phase(self) -> Finding:
        """Return the finding about other servers, or about the phase.

        With one that is critical, others would advise to remove the upgrade's own objects and rows.
        """
        status, wrong = await self._state()
        if wrong is not None:
            return servers_finding(wrong)
        return phase_finding(status, UpgradeOperation.PREPARE)

    async def groups(self, count: int = 1) -> Rows[TableGroup]:
        """Distribute the tables to at most ``count`` groups of similar size.

        Each group gets a subscription, which copies and applies it in parallel with the others.
        Tables that are joined by foreign keys, and partitions of one table, stay together.

        Raises: ValueError if ``count`` is not positive.  Source: pg_class, pg_constraint.
        """
        return Rows(groups_of(await read_tables(self._old._link), count))

    async def status(self) -> UpgradeStatus:
        """Return the phase, the subscriptions and the fences, as they are on both servers."""
        status, _ = await self._state()
        return status

    async def _state(self) -> tuple[UpgradeStatus, WrongServers | None]:
        return await read_state(self._old, self._new, self._names, interrupted=self._interrupted())

    async def _status_to_move(self) -> UpgradeStatus | list[Finding]:
        """Return the status; or the findings with which nothing else can be checked."""
        old, new = self._sides
        # Without rights the phase cannot be read.
        if lacking := await read_lacking_rights(self._names, old=old, new=new):
            return lacking
        status, wrong = await self._state()
        return status if wrong is None else [servers_finding(wrong)]

    async def compare(
        self, tables: Iterable[AnyTable] | None = None
    ) -> AsyncIterator[CompareProgress]:
        """Compare the rows of tables, while clients write; see ``compare``.

        The server that accepts writes is the publisher: the old one before a cutover, and the new
        one after it. By default all tables that are replicated are compared. A table without a key
        cannot be compared: leave it out of ``tables``.

        Raises: as ``compare``, among them KeyMissing; TableNotFound if none is replicated, as
        before the preparation, after the end, and after a cutover without a way back.
        """
        (status, wrong), (old, new) = await self._state(), self._sides
        if wrong is not None:
            raise TableNotFound("compare the tables", wrong.found, remedy=wrong.remedy)
        if compared_publisher(status) == NEW:
            source, target = new, old
            groups = await compared_groups(new, await returned_groups(new, self._names))
        else:
            source, target = old, new
            groups = await compared_groups(old, await published_groups(old, self._names))
        if not groups:
            raise TableNotFound("compare the tables", not_compared(status))
        # As the publications have them: tables that were created later are not replicated.
        chosen = [table for group in groups.values() for table in group]
        async for progress in acompare(source, target, chosen if tables is None else tables):
            yield progress

    async def plan_prepare(
        self,
        groups: Sequence[TableGroup] | None = None,
        *,
        copy_schema: bool = True,
        owners: bool = True,
        bindir: str | os.PathLike[str] | None = None,
    ) -> AsyncPlan:
        """Plan the preparation: copy the schema, fence the new server, copy the rows, and follow.

        ``groups`` are those of ``groups()``; by default there is one. ``bindir`` is the folder of
        the new version's pg_dump and pg_restore. With ``copy_schema=False`` the new server must
        have the schema already, indexes and triggers included; with ``owners=False`` no owners and
        privileges are copied. ``undo()`` of the plan leaves the schema and the copied rows on the
        new server.

        Raises: ValueError for groups that leave out a table, or have it twice.
        """
        checked_flags(copy_schema=copy_schema, owners=owners)
        tables = await read_tables(self._old._link)
        others = await other_relations(self._old._link, tables_of(groups))
        chosen = chosen_groups(groups, tables, others)
        journal = prepare_journal(self._names, chosen, copies_schema=copy_schema)
        checks = _PrepareChecks(self, len(chosen), copy_schema, owners, bindir)
        return await self._plan(journal, checks, None, bindir=bindir, owners=owners)

    async def plan_cutover(
        self,
        redirect: Redirect | None = None,
        *,
        way_back: bool = True,
    ) -> AsyncPlan:
        """Plan the cutover: fence the old server, let the new one catch up, move the clients.

        ``redirect("new")`` moves the clients; it may be called again after a failure, which it is
        too if it takes longer than the upgrade's ``timeout``. It runs in a thread of its own. With
        ``way_back`` the old server follows the new one afterwards, so that ``plan_rollback`` loses
        nothing. ``result.write_outage`` is the time in which no one could write: from the attempt
        of the fence that stood until ``redirect`` has returned.

        The checks refuse to start while a table is copied, if the new server does not catch up
        within six seconds, or if the schema has changed since the preparation.

        Raises: TypeError if ``redirect`` cannot be called with one argument; ConnectionFailed.
        """
        checked_flags(way_back=way_back)
        groups = await published_groups(self._old, self._names)
        left_out = await read_unpublished(self._old, groups)
        journal = cutover_journal(self._names, groups, way_back=way_back, left_out=left_out)
        files: dict[TableName, int] = {}
        checks = _GateChecks(self, groups, way_back, files)
        return await self._plan(journal, checks, redirect, files=files)

    async def plan_rollback(self, redirect: Redirect | None = None) -> AsyncPlan:
        """Plan the way back after a cutover, with all that was written on the new server.

        ``redirect("old")`` moves the clients. Afterwards the new server follows the old one again,
        without a new copy, so that another cutover is possible.

        Raises: as ``plan_cutover``.
        """
        groups = await published_groups(self._old, self._names)
        back = await returned_groups(self._new, self._names)
        returned = [table for group in back.values() for table in group]
        left_out = await read_unpublished(self._new, back)
        journal = rollback_journal(self._names, groups, returned, left_out=left_out)
        files: dict[TableName, int] = {}
        checks = _RollbackChecks(self, {**groups, **back}, files)
        return await self._plan(journal, checks, redirect, files=files)

    async def plan_finish(self) -> AsyncPlan:
        """Plan the end: drop all subscriptions, slots and publications of the upgrade.

        After a cutover there is no way back then. The server that does not accept writes stays
        fenced. If the old server no longer follows, run the plan with ``force=True``.
        """
        groups = await published_groups(self._old, self._names)
        returned = await returned_groups(self._new, self._names)
        status = await self.status()
        # A slot remains if someone has dropped its subscription.
        slots = [*await read_slots(self._old), *await read_slots(self._new)]
        forward = self._names.forward_in([*forward_of(groups, returned), *slots])
        # Only those that exist: after a cutover without a way back there are none.
        back = self._names.back_in([*(one.state.subname for one in status.back), *slots])
        journal = finish_journal(self._names, forward, back=back)
        checks = _FinishChecks(self, {**groups, **returned}, status.phase)
        return await self._plan(journal, checks, None)

    async def plan_resume(
        self,
        redirect: Redirect | None = None,
        *,
        owners: bool = True,
        bindir: str | os.PathLike[str] | None = None,
    ) -> AsyncPlan:
        """Return the plan that was interrupted; its ``resume()`` continues it.

        It is read from the journal file, also if all of its steps are done. If that is lost, it is
        rebuilt from the objects on both servers: steps that leave no trace are repeated, such as
        the call of ``redirect``.

        Raises: ValueError if the journal belongs to another upgrade, or is lost and nothing was
        interrupted, or the new server was not filled by a copy of rows; HostFileError.
        """
        checked_flags(owners=owners)
        journal = await self._journal()
        if journal.operation.startswith(CLONING):
            raise ValueError(
                f"could not resume the {journal.operation}: it is that of an UpgradeClone; call the"
                " plan_resume() of an UpgradeClone"
            )
        actor = self._actor(redirect, bindir, owners, {})
        return AsyncPlan(actor, journal, None, self._file, self._lock(), actor.look)

    async def _journal(self) -> Journal:
        journal = journal_at(self._file, remedy=_LOST_JOURNAL)
        if journal is not None:
            journal.check_servers((OLD, NEW), "upgrade")
            # Its steps would act on its own objects, on these servers.
            if not self._is_of_this(journal):
                raise ValueError(
                    f"could not resume {self.name!r}: {self._file} has the {journal.operation};"
                    " pass the journal of this upgrade"
                )
            if not journal.operation.startswith(CLONING):
                journal.check_databases(await databases_of(*self._sides))
            return journal
        (old, new), operation = self._sides, f"resume {self.name!r}"
        await insist_on_two_databases(operation, old._link, new._link)
        status, wrong = await self._state()
        if wrong is not None:
            raise ValueError(f"could not {operation}: {wrong}")
        objects = await read_objects(old, new, status, self._names)
        tables = await read_tables(old._link)
        rebuilt = rebuilt_journal(self._names, objects, tables, now=datetime.now(UTC))
        if rebuilt is None:
            raise ValueError(
                f"could not resume {self.name!r}: it has no journal file, and on the servers no"
                f" operation is incomplete: it is {status.phase}; plan the next operation"
            )
        return attrs.evolve(rebuilt, databases=await databases_of(*self._sides))

    async def _plan(
        self,
        journal: Journal,
        checks: AsyncChecks,
        redirect: Redirect | None,
        *,
        owners: bool = True,
        bindir: str | os.PathLike[str] | None = None,
        files: Mapping[TableName, int] | None = None,
    ) -> AsyncPlan:
        await insist_on_two_databases(
            f"plan the {journal.operation}", self._old._link, self._new._link
        )
        actor = self._actor(redirect, bindir, owners, {} if files is None else files)
        kept = attrs.evolve(journal, databases=await databases_of(*self._sides))
        return AsyncPlan(actor, kept, checks, self._file, self._lock(), actor.look)

    def _lock(self) -> AsyncUpgradeLock:
        return AsyncUpgradeLock(self._names, {OLD: self._old, NEW: self._new})

    def _actor(
        self,
        redirect: Redirect | None,
        bindir: str | os.PathLike[str] | None,
        owners: bool,
        files: Mapping[TableName, int],
    ) -> AsyncUpgradeActor:
        if redirect is not None:
            # Before the plan is run: a function that cannot be called would stop it while no one
            # can write.
            insist_on_hook(redirect, "redirect")
            insist_on_arguments(redirect, "redirect", takes=1)
        return AsyncUpgradeActor(
            self._old, self._new, self._replication, redirect, bindir, owners, self._timeout, files
        )

    def _interrupted(self) -> str:
        """Return the operation of the journal file that is not complete; empty if there is none."""
        # Without a file no other process can have left a plan.
        journal = journal_at(self._file, remedy=_LOST_JOURNAL)
        if journal is None or not journal.is_unfinished or not self._is_of_this(journal):
            return ""
        return journal.operation

    def _is_of_this(self, journal: Journal) -> bool:
        """Return whether a journal is of this upgrade; another one may use the same file."""
        return journal.operation.endswith(f" of {self.name}")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"


@attrs.frozen
class _PrepareChecks:
    """The checks of a preparation."""

    upgrade: AsyncUpgrade
    groups: int
    copies_schema: bool
    copies_owners: bool
    bindir: str | os.PathLike[str] | None

    async def findings(self) -> list[Finding]:
        found = await self.upgrade._preparation(
            self.groups, copies_schema=self.copies_schema, copies_owners=self.copies_owners
        )
        if not self.copies_schema:
            return found
        old, new = self.upgrade._sides
        folder = None if self.bindir is None else Path(self.bindir)
        programs = await to_thread(partial(program_majors, folder))
        return [*found, programs_finding(programs, old=old.version.major, new=new.version.major)]


@attrs.frozen
class _GateChecks:
    """The checks of a cutover."""

    upgrade: AsyncUpgrade
    planned: Mapping[str, Sequence[str]]
    """The tables of the publications when the cutover was planned."""
    way_back: bool
    files: dict[TableName, int]
    """Filled with the files of the tables, for the steps."""

    async def findings(self) -> list[Finding]:
        status = await self.upgrade._status_to_move()
        if isinstance(status, list):
            return status
        (old, new), names = self.upgrade._sides, self.upgrade._names
        groups = await published_groups(old, names)
        # Before the rows are compared: later changes of them are found when no one can write.
        self.files.update(await read_files(old, new, groups))
        findings = [planned_finding(self.planned, groups)]
        findings += await read_gate(old, new, status, names, groups, self.files)
        # Without a preparation there is nothing else to look at.
        if self.planned and self.way_back and status.phase is UpgradePhase.PREPARED:
            here = self.upgrade._replication.get(NEW)
            findings += await read_way_back(old, new, names, len(self.planned), here)
        return findings


@attrs.frozen
class _RollbackChecks:
    """The checks of a rollback."""

    upgrade: AsyncUpgrade
    planned: Mapping[str, Sequence[str]]
    """The tables of the publications of both directions when the rollback was planned."""
    files: dict[TableName, int]
    """Filled with the files of the tables, for the steps."""

    async def findings(self) -> list[Finding]:
        status = await self.upgrade._status_to_move()
        if isinstance(status, list):
            return status
        # After a cutover the new server is the publisher of the way back.
        (old, new), names = self.upgrade._sides, self.upgrade._names
        forward, returned = await published_groups(old, names), await returned_groups(new, names)
        # Before the rows are compared: later changes of them are found when no one can write.
        self.files.update(await read_files(new, old, returned))
        stuck = await read_stuck(new, old, status.back)
        others = await read_others(new, names)
        # Without a cutover the new server may have tables of its own.
        is_over = status.phase is UpgradePhase.CUT_OVER
        # Without a way back nothing is published there, which is a finding of its own.
        unpublished: Sequence[TableName] = ()
        if is_over and returned:
            unpublished = await read_unpublished(new, returned, with_rows=True)
        back = [one.state.subname for one in status.back]
        unrefreshed = unsubscribed_tables(returned, status.back if is_over else ())
        return [
            planned_finding(self.planned, {**forward, **returned}),
            *rollback_findings(
                status,
                stuck,
                gone=await read_gone(new, forward) if is_over else [],
                unpublished=unpublished,
                unrefreshed=unrefreshed,
                nonempty=await read_filled(old, unrefreshed),
                subscriptions=others,
                truncated=await read_truncated(new, old, back, self.files) if is_over else [],
                writing_triggers=await read_writing_triggers(old=old, new=new),
                unfenced_roles=await read_unfenced_roles(old=old, new=new),
            ),
            *(await self._replication(status, forward, returned) if is_over else ()),
        ]

    async def _replication(
        self,
        status: UpgradeStatus,
        forward: Mapping[str, Sequence[str]],
        returned: Mapping[str, Sequence[str]],
    ) -> list[Finding]:
        """Return the findings about both directions: afterwards the new server follows again."""
        old, new = self.upgrade._sides
        return [
            *await read_replication(old, new, returned, status.back, publisher=NEW),
            *await read_replication(
                old, new, forward, status.forward, publisher=OLD, is_running=False
            ),
            *forward_slots_findings(
                status.forward,
                old.connection.info.dbname,
                can_advance=old._link.has("slot.advance"),
            ),
        ]


@attrs.frozen
class _FinishChecks:
    """The checks of an end: after a cutover, the old server may still be needed."""

    upgrade: AsyncUpgrade
    planned: Mapping[str, Sequence[str]]
    """The tables of the publications when the end was planned."""
    phase: UpgradePhase
    """The phase then."""

    async def findings(self) -> list[Finding]:
        status = await self.upgrade._status_to_move()
        if isinstance(status, list):
            return status
        (old, new), names = self.upgrade._sides, self.upgrade._names
        forward, returned = await published_groups(old, names), await returned_groups(new, names)
        stuck = await read_stuck(new, old, status.back)
        return [
            planned_finding(self.planned, {**forward, **returned}),
            *finish_findings(status, self.phase, stuck),
        ]
