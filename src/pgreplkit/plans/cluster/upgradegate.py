"""The checks of a cutover, a rollback and an end: the phase, lags, and the schema."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

import attrs

from pgreplkit._text import counted
from pgreplkit.catalog.logical.fence import FenceBlocker
from pgreplkit.plans.cluster.upgrade import NEW, OLD, Names
from pgreplkit.plans.cluster.upgradechecks import side_reach_finding, wal_level_finding
from pgreplkit.plans.cluster.upgradefacts import Side
from pgreplkit.plans.cluster.upgradefences import completing
from pgreplkit.plans.cluster.upgradefindings import (
    drift_found,
    event_triggers_finding,
    listed,
    named,
)
from pgreplkit.plans.cluster.upgradephases import UpgradeOperation, phase_finding
from pgreplkit.plans.cluster.upgradereplication import copied, emptied
from pgreplkit.plans.cluster.upgradestatus import UpgradePhase, UpgradeStatus
from pgreplkit.plans.logical.drift import SchemaDrift
from pgreplkit.plans.logical.subscription import SubscriptionStatus
from pgreplkit.plans.server.readiness import checked, free_places, names_of
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.tablename import TableName, quoted

_LONG = timedelta(seconds=1)
"""The age of a transaction for which a fence waits, and which a check reports."""


def cutover_findings(
    status: UpgradeStatus,
    drift: SchemaDrift,
    *,
    unsubscribed: Sequence[str],
    unpublished: Sequence[TableName],
    unrefreshed: Mapping[str, Sequence[TableName]],
    nonempty: Sequence[TableName],
    sequences: Sequence[Finding],
    writers: Sequence[str],
    subscriptions: Sequence[str],
    stuck: Sequence[str],
    writing_triggers: Sequence[str],
    unfenced_roles: Sequence[str],
    truncated: Sequence[str],
) -> Iterator[Finding]:
    """Return the findings of the gate: what must be so before anything is fenced."""
    yield phase_finding(status, UpgradeOperation.CUTOVER)
    yield _fence_finding(status, NEW, status.new_disabled)
    yield _roles_finding(unfenced_roles)
    yield named(
        "missing subscriptions",
        unsubscribed,
        needed="a subscription of the new server to each publication of the upgrade",
        remedy="{}: someone has dropped it; give the upgrade up with plan_finish(), and prepare it"
        " again",
    )
    yield _applied(
        stuck,
        status.forward,
        if_lost="changes are lost: give the upgrade up with plan_finish(), and prepare it again",
    )
    yield _others_finding(OLD, subscriptions)
    yield _truncated_finding(NEW, truncated)
    yield event_triggers_finding(writing_triggers)
    # Other differences, such as a new index, do not stop the apply workers.
    stopping = [one for one in drift.drifts if one.severity >= Severity.CRITICAL]
    yield checked(
        "schema",
        ok=not stopping,
        observed=drift_found(stopping) or "the same",
        needed="no DDL since the preparation",
        remedy="; ".join(drift.ddl) or "align the schemas",
    )
    yield _unpublished_finding(
        unpublished,
        status.forward,
        needed="no tables that were created since the preparation",
        publisher=OLD,
        publication=Names(upgrade=status.name).forward(1),
    )
    yield _unrefreshed_finding(NEW, unrefreshed, nonempty)
    yield _writers_finding(writers)
    yield from sequences


def _writers_finding(writers: Sequence[str]) -> Finding:
    return checked(
        "long writers",
        ok=not writers,
        observed=names_of(writers),
        needed="none: the fence waits for them",
        remedy="end them",
        # They may end before the cutover; if not, the fence times out, and is removed.
        otherwise=Severity.WARNING,
    )


def unsubscribed_tables(
    groups: Mapping[str, Sequence[str]], subscriptions: Sequence[SubscriptionStatus]
) -> dict[str, list[TableName]]:
    """Return the published tables that each subscription lacks, by the subscription's name.

    ``groups`` are the tables of the publications, which have the names of the subscriptions. A
    table that was added to a publication is replicated only after REFRESH PUBLICATION.
    """
    found = {}
    for one in subscriptions:
        subscribed = {each.table for each in one.tables}
        published = map(TableName.parse, groups.get(one.state.subname, ()))
        if missing := [table for table in published if table not in subscribed]:
            found[one.state.subname] = missing
    return found


def views_finding(unfilled: Sequence[TableName]) -> Finding:
    """Return the finding about materialized views that only the old server has filled."""
    return listed(
        "materialized views",
        {view: f"REFRESH MATERIALIZED VIEW {view}" for view in unfilled},
        needed="those of the old server filled on the new one, too: they are not replicated, and"
        " raise errors; the statements are for the new server",
        otherwise=Severity.WARNING,
    )


def blocking(blockers: Sequence[FenceBlocker]) -> list[str]:
    """Return the transactions that a fence may wait for long, each of them once."""
    found: dict[tuple[int | None, str | None, timedelta | None], list[FenceBlocker]] = {}
    for one in blockers:
        # Others end before they delay the fence.
        if one.age is None or one.age >= _LONG:
            found.setdefault((one.pid, one.application_name, one.age), []).append(one)
    return [
        str(first) + (f" and {counted(len(others), 'other table')}" if others else "")
        for first, *others in found.values()
    ]


def way_back_findings(old: Side, new: Side, groups: int) -> Iterator[Finding]:
    """Return the findings about the replication to the old server, which begins when no server
    accepts writes: what the preparation checked may have changed since."""
    yield wal_level_finding(NEW, new)
    yield side_reach_finding(OLD, NEW, old)
    for name, side, setting, used in (
        (NEW, new, "max_replication_slots", new.slots),
        (NEW, new, "max_wal_senders", new.senders),
        (OLD, old, "max_logical_replication_workers", old.pool.running),
        (OLD, old, "max_worker_processes", old.pool.processes),
    ):
        places = free_places(side.settings, setting, used=used, wanted=groups)
        yield attrs.evolve(places, check=f"{name}: {setting}")


def planned_finding(
    planned: Mapping[str, Sequence[str]], found: Mapping[str, Sequence[str]]
) -> Finding:
    """Return the finding about publications that were altered since the operation was planned.

    Its steps would neither fence nor wait for a table that was added.
    """
    altered = [
        name
        for name in sorted({*planned, *found})
        if name not in planned or name not in found or {*planned[name]} != {*found[name]}
    ]
    return checked(
        "plan",
        ok=not altered,
        observed=f"altered since: {', '.join(altered)}" if altered else "current",
        needed="the publications and tables of the time when it was made",
        remedy="plan the operation again",
    )


def _others_finding(node: str, subscriptions: Sequence[str]) -> Finding:
    """Return the finding about subscriptions that would write to a fenced server."""
    return named(
        "other subscriptions",
        subscriptions,
        needed="none enabled: the fence does not refuse their rows, and no one replicates them",
        remedy=f"ALTER SUBSCRIPTION … DISABLE for {{}} on the {node} server, and subscribe on the"
        " other one where their origins stopped",
    )


def _unpublished_finding(
    tables: Sequence[TableName],
    followers: Sequence[SubscriptionStatus],
    *,
    needed: str,
    publisher: str,
    publication: str,
) -> Finding:
    """Return the finding about tables that no publication of a direction has.

    ``followers`` are its subscriptions. One that still has a table would not copy it again, and
    what was written meanwhile would be lost.
    """
    remedies, new = [], [*tables]
    for one in followers:
        subscribed = {each.table for each in one.tables}
        if removed := [table for table in tables if table in subscribed]:
            remedies.append(copied(one.state.subname, removed, publisher=publisher))
            new = [table for table in new if table not in subscribed]
    if new:
        added = ", ".join(f"ONLY {table}" for table in new)
        remedies.append(
            f"create {names_of([str(table) for table in new])} on the"
            f" {OLD if publisher == NEW else NEW} server too, then ALTER PUBLICATION"
            f" {quoted(publication)} ADD TABLE {added} on the {publisher} one, and check again"
        )
    return checked(
        "new tables",
        ok=not tables,
        observed=names_of([str(table) for table in tables]),
        needed=needed,
        remedy="; then ".join(remedies),
    )


def _unrefreshed_finding(
    node: str, tables: Mapping[str, Sequence[TableName]], nonempty: Sequence[TableName]
) -> Finding:
    """Return the finding about tables of publications whose subscriptions do not have them.

    ``nonempty`` are those that have rows on the subscriber: it would copy the others to them.
    """
    refresh = "; ".join(f"ALTER SUBSCRIPTION {quoted(name)} REFRESH PUBLICATION" for name in tables)
    before = f"{emptied(nonempty, node)}; then " if nonempty else ""
    return checked(
        "tables without a subscription",
        ok=not tables,
        observed=names_of([str(table) for group in tables.values() for table in group]),
        needed="all tables of the publications in their subscriptions",
        remedy=f"{before}{refresh} on the {node} server",
    )


def _fence_finding(status: UpgradeStatus, node: str, disabled: Sequence[TableName]) -> Finding:
    """Return the finding about a fence that someone has altered: clients may have written."""
    fence = Names(upgrade=status.name).fence
    return checked(
        "fence",
        ok=not disabled,
        observed=f"missing or disabled on {', '.join(map(str, disabled))}"
        if disabled
        else "enabled",
        needed=f"the trigger {fence} enabled on all tables of the {node} server, as it was created",
        remedy=f"{completing(node, disabled, fence)}; then remove the rows that compare() finds on"
        f" the {node} server only",
    )


def _roles_finding(statements: Sequence[str]) -> Finding:
    return named(
        "session_replication_role",
        statements,
        needed="not replica by default: a fence does not refuse the writes of such sessions",
        remedy="{}; then end the sessions that began before",
        separator="; ",
    )


def _truncated_finding(node: str, truncated: Sequence[str]) -> Finding:
    return named(
        "rows after TRUNCATE",
        truncated,
        needed="the same rows on both servers: 10 neither sends TRUNCATE nor applies it",
        remedy="remove the rows of {} that compare() finds only on the"
        f" {node} server, with session_replication_role = replica there",
    )


def _applied(
    stuck: Sequence[str], subscriptions: Sequence[SubscriptionStatus], *, if_lost: str
) -> Finding:
    """Return the finding about subscriptions that do not catch up.

    ``if_lost`` is the remedy if the changes for one of them are lost.
    """
    is_lost = any(
        one.state.subslotname is not None and (one.slot is None or one.slot.is_lost)
        for one in subscriptions
    )
    return checked(
        "apply",
        ok=not stuck,
        observed="; ".join(stuck) or "all commits until now are applied",
        needed="subscriptions that catch up within seconds",
        remedy=if_lost
        if is_lost
        else "resolve what subscription.diagnose() reports; if they are only behind, wait until the"
        " lags of status() are small",
    )


def finish_findings(
    status: UpgradeStatus, planned: UpgradePhase, stuck: Sequence[str]
) -> Iterator[Finding]:
    """Return the findings of an end that was planned in a phase.

    ``stuck`` are subscriptions of the way back.
    """
    yield phase_finding(status, UpgradeOperation.FINISH, planned=planned)
    yield _fence_finding(status, OLD, status.old_disabled)
    yield _applied(
        stuck,
        status.back,
        if_lost="there is no way back any longer: run(force=True) ends the upgrade without it",
    )


def rollback_findings(
    status: UpgradeStatus,
    stuck: Sequence[str],
    *,
    gone: Sequence[TableName],
    unpublished: Sequence[TableName],
    unrefreshed: Mapping[str, Sequence[TableName]],
    nonempty: Sequence[TableName],
    subscriptions: Sequence[str],
    writing_triggers: Sequence[str],
    unfenced_roles: Sequence[str],
    truncated: Sequence[str],
) -> Iterator[Finding]:
    """Return the findings of a rollback: the old server must have followed all the time."""
    names = Names(upgrade=status.name)
    yield phase_finding(status, UpgradeOperation.ROLLBACK)
    yield _fence_finding(status, OLD, status.old_disabled)
    yield _roles_finding(unfenced_roles)
    # A subscription that was disabled for a while is behind, and its slot may be lost.
    running = [one for one in status.back if one.state.subenabled and one.is_synced]
    yield checked(
        "way back",
        ok=bool(running) and len(running) == len(status.forward),
        observed=f"{len(running)} of {len(status.forward)} groups replicate to the old server",
        needed="all of them, since the cutover",
        remedy="none after a cutover with way_back=False",
    )
    yield checked(
        "missing tables",
        ok=not gone,
        observed=names_of([str(table) for table in gone]),
        needed="all tables of the old server on the new one, under the same names",
        remedy="rename or drop them on the old server too, as on the new one",
    )
    yield _unpublished_finding(
        unpublished,
        status.back,
        needed="no rows in tables that the way back does not replicate",
        publisher=NEW,
        publication=names.back(names.forward(1)),
    )
    yield _unrefreshed_finding(OLD, unrefreshed, nonempty)
    yield _others_finding(NEW, subscriptions)
    yield _truncated_finding(OLD, truncated)
    yield event_triggers_finding(writing_triggers)
    yield _applied(
        stuck,
        status.back,
        if_lost="there is no way back any longer: the old server lacks changes of the new one",
    )
