"""The journal of an interrupted upgrade, rebuilt from the objects on both servers."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from itertools import takewhile

import attrs

from pgreplkit.catalog.cluster.upgrade import UserTable
from pgreplkit.plans.cluster import upgradesteps as do
from pgreplkit.plans.cluster.journal import Journal, StepResult
from pgreplkit.plans.cluster.steps import Step
from pgreplkit.plans.cluster.upgrade import (
    NEW,
    OLD,
    Names,
    cutover_journal,
    finish_journal,
    forward_of,
    prepare_journal,
    rollback_journal,
)
from pgreplkit.plans.cluster.upgradegroups import TableGroup
from pgreplkit.plans.cluster.upgradestatus import UpgradePhase, is_ending
from pgreplkit.values.tablename import TableName


@attrs.frozen(kw_only=True)
class UpgradeObjects:
    """The objects of an upgrade that exist, and their states."""

    phase: UpgradePhase
    publications: Mapping[str, Sequence[str]]
    """The publications on the old server, with their tables."""
    back_publications: Mapping[str, Sequence[str]]
    """Those on the new server: tables may have been added after the cutover."""
    back_slots: Sequence[str]
    forward: Mapping[str, bool]
    """The subscriptions of the new server, and whether they are enabled."""
    back: Mapping[str, bool]
    """Those of the old server."""
    is_copied: bool
    """Whether all tables are copied."""
    is_filled: bool
    """Whether a published table has rows on the new server that no subscription copied there."""
    kept: Sequence[str]
    """The servers whose schema was kept: "old" and "new"."""
    fences: Mapping[str, bool]
    """By server, the fences that exist, and whether they refuse writes."""
    identities: Mapping[str, str] = attrs.field(factory=dict)
    """By server, the identities of the fences that exist."""
    since: Mapping[str, datetime] = attrs.field(factory=dict)
    """By server, when the fences began to keep writers waiting, where that is known."""
    unfenced: Collection[str] = ()
    """The servers whose fence lacks a published table, or is disabled on one."""

    def refuses(self, node: str) -> bool:
        """Return whether a server is fenced."""
        return self.fences.get(node, False)


def rebuilt_journal(
    names: Names, objects: UpgradeObjects, tables: Sequence[UserTable], *, now: datetime
) -> Journal | None:
    """Return the journal of the operation that was interrupted; None if there is none.

    Steps that leave no trace count as not done: each step can be repeated.

    Raises:
        ValueError: If it would copy rows into tables that have them, as after a clone.
    """
    journal = _operation(names, objects, tables)
    if journal is None:
        return None
    steps = tuple(_identified(step, objects.identities) for step in journal.steps)
    done = takewhile(lambda step: _is_done(step, objects), steps)
    results = tuple(
        StepResult(step=step, began_at=now, ended_at=now, refused_at=_refused_at(step, objects))
        for step in done
    )
    fences = tuple(objects.identities.get(node, "") for node in (OLD, NEW))
    return attrs.evolve(journal, steps=steps, done=results, fences=fences)


def _identified(step: Step, identities: Mapping[str, str]) -> Step:
    """Return a step with the fence that it has created."""
    if not isinstance(step, do.FenceTables):
        return step
    return attrs.evolve(step, identity=identities.get(step.node, ""))


def _refused_at(step: Step, objects: UpgradeObjects) -> datetime | None:
    return objects.since.get(step.node) if isinstance(step, do.FenceTables) else None


def _operation(
    names: Names, objects: UpgradeObjects, tables: Sequence[UserTable]
) -> Journal | None:
    """Return the steps of the operation that leads to these objects."""
    groups, is_back = objects.publications, bool(objects.back_publications)
    returned = [table for group in objects.back_publications.values() for table in group]
    if (not groups and not is_back) or _is_complete(objects):
        return None
    # The publications of the old server are dropped before those of the new one.
    forward = forward_of(groups, objects.back_publications)
    # A slot remains if someone has dropped its subscription.
    back = names.back_in([*objects.back, *objects.back_slots])
    finish = finish_journal(names, forward, back=back)
    # A preparation by rows begins with the fence, and one by clone adds it to filled tables.
    if not objects.fences and NEW not in objects.kept:
        raise _unknown(names)
    published = [*groups, *objects.back_publications]
    if not objects.forward and is_ending(names, published, is_kept=NEW in objects.kept):
        return finish
    # The last step of a preparation keeps the schema; until the end, each group has a subscription.
    if NEW in objects.kept and not _has_all_groups(objects):
        return finish
    if not objects.refuses(NEW):
        if not objects.forward or not objects.refuses(OLD):
            return finish
        # Before a cutover lets the new server accept writes, all slots exist: one that is missing
        # was dropped since, and a new one would lack what was written.
        has_slots = len(objects.back_slots) == len(objects.back_publications)
        return cutover_journal(names, groups, way_back=is_back and has_slots)
    if objects.refuses(OLD):
        # Only a rollback fences the new server while the old one follows it.
        if objects.back:
            return rollback_journal(names, groups, returned)
        return cutover_journal(names, groups, way_back=is_back)
    if OLD in objects.fences or objects.back:
        return rollback_journal(names, groups, returned)
    if objects.is_filled:
        raise _unknown(names)
    return prepare_journal(names, _groups(groups, tables), copies_schema=True)


def _unknown(names: Names) -> ValueError:
    return ValueError(
        f"could not resume {names.upgrade!r} without its journal file: the new server was filled by"
        " a preparation by clone, or its replication is being removed; find the file of the"
        " UpgradeClone, or run plan_finish() with force=True, drop the slot"
        f" {names.copy!r} if it exists, and begin with an empty new server"
    )


def _is_complete(objects: UpgradeObjects) -> bool:
    """Return True for a complete operation; no object shows whether the clients were moved."""
    if not _has_all_groups(objects):
        return False
    if objects.phase is UpgradePhase.PREPARED:
        return not objects.back and OLD not in objects.fences and NEW in objects.kept
    # The last step of a cutover removes the fence. An end begins with the forward subscriptions:
    # those of the way back may be missing after a cutover without one.
    return objects.phase is UpgradePhase.CUT_OVER and NEW not in objects.fences


def _has_all_groups(objects: UpgradeObjects) -> bool:
    return {*objects.publications} <= {*objects.forward}


def _groups(
    published: Mapping[str, Sequence[str]], tables: Sequence[UserTable]
) -> list[TableGroup]:
    """Return the groups of a preparation; tables that are not published yet are the last one."""
    groups = [tuple(TableName.parse(table) for table in group) for group in published.values()]
    known = {table for group in groups for table in group}
    rest = tuple(one.table for one in tables if one.is_copied and one.table not in known)
    return [TableGroup(tables=group, bytes=0) for group in [*groups, rest] if group]


def _is_done(step: Step, objects: UpgradeObjects) -> bool:
    """Return whether the objects show that a step was completed."""
    match step:
        case do.CopyTables():
            return bool(objects.publications)  # They are created later.
        case do.FenceTables():
            # An attempt that was killed may have left tables without it; without waiting again for
            # what was written to them, it is not repeated.
            applied = objects.forward if step.node == OLD else objects.back
            is_partial = step.node in objects.unfenced and any(applied.values())
            return objects.refuses(step.node) and not is_partial
        case do.PublishTables():
            there = objects.publications if step.node == OLD else objects.back_publications
            # Tables may have been added to the upgrade since.
            published = there.get(step.publication)
            return published is not None and {*step.tables} <= {*published}
        case do.KeepSchema():
            return step.node in objects.kept
        case do.Subscribe():
            return step.publication in objects.forward
        case do.WaitCopied():
            return objects.is_copied
        # The first two leave no trace, and the subscriptions are disabled afterwards.
        case do.WaitApplied() | do.SetSequences() | do.StopSubscriptions():
            return not any((objects.forward if step.node == NEW else objects.back).values())
        case do.MakeBackSlots():
            return {*step.slots} <= {*objects.back_slots}
        case do.ArmForward():
            return not objects.refuses(OLD)
        case do.OpenTables():
            return not objects.refuses(step.node)
    return False
