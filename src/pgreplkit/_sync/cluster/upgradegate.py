# Generated from pgreplkit/_async/cluster/upgradegate.py by `nox -s sync`. Do not edit.
"""Read the findings of the gate of a cutover."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pgreplkit._sync.cluster.upgradefacts import read_side, read_unreached
from pgreplkit._sync.cluster.upgradefences import (
    read_others,
    read_unfenced_roles,
    read_writing_triggers,
)
from pgreplkit._sync.cluster.upgradegroups import read_tables, read_unpublished
from pgreplkit._sync.cluster.upgradeprivileges import read_missing_privileges
from pgreplkit._sync.cluster.upgradereplication import read_replication
from pgreplkit._sync.cluster.upgraderows import read_nonempty, read_truncated
from pgreplkit._sync.cluster.upgradeschema import read_fingerprint, read_kept_schema
from pgreplkit._sync.logical.drift import schema_drift
from pgreplkit._sync.logical.fence import read_blockers
from pgreplkit._sync.logical.sequences import SequencePlan
from pgreplkit._sync.primary import Primary
from pgreplkit._sync.wire.link import Link
from pgreplkit.catalog.cluster.upgrade import FILLED_VIEWS
from pgreplkit.catalog.view import table_in
from pgreplkit.errors import SlotLost, SlotNotFound, SubscriptionStuck
from pgreplkit.plans.cluster.upgrade import OLD, Names
from pgreplkit.plans.cluster.upgradegate import (
    blocking,
    cutover_findings,
    unsubscribed_tables,
    views_finding,
    way_back_findings,
)
from pgreplkit.plans.cluster.upgradephases import UpgradeOperation, phase_finding
from pgreplkit.plans.cluster.upgradeprivileges import privileges_finding
from pgreplkit.plans.cluster.upgradeschema import KeptSchema, schema_findings
from pgreplkit.plans.cluster.upgradeslots import back_slots_finding, slot_text
from pgreplkit.plans.cluster.upgradestatus import UpgradePhase, UpgradeStatus
from pgreplkit.plans.logical.subscription import SubscriptionStatus
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.tablename import TableName

_CATCH_UP = 6.0
"""Seconds for a subscription to catch up before a cutover: a worker that ended is started again
after wal_retrieve_retry_interval, 5 seconds by default. A slower one would keep the applications
from writing for as long."""


def read_gate(
    old: Primary,
    new: Primary,
    status: UpgradeStatus,
    names: Names,
    groups: Mapping[str, Sequence[str]],
    files: dict[TableName, int],
) -> list[Finding]:
    """Return the findings of the gate of a cutover; ``groups`` are the publications' tables."""
    published = [TableName.parse(table) for group in groups.values() for table in group]
    if not published:
        # There is nothing else to look at.
        return [phase_finding(status, UpgradeOperation.CUTOVER)]
    drift = schema_drift(old, new, published)
    plan = SequencePlan.read(old, new)
    kept = read_kept_schema(old, names.forward(1)) or KeptSchema()
    is_prepared = status.phase is UpgradePhase.PREPARED
    subscribed = {one.state.subname for one in status.forward}
    followers = status.forward if is_prepared else ()
    unrefreshed = unsubscribed_tables(groups, followers)
    return [
        privileges_finding(
            read_missing_privileges(old._link, new._link, database=new.connection.info.dbname)
        ),
        *schema_findings(kept, read_fingerprint(old._link), read_fingerprint(new._link)),
        views_finding(_unfilled_views(old._link, new._link)),
        *read_replication(old, new, groups, followers, publisher=OLD),
        *cutover_findings(
            status,
            drift,
            unsubscribed=sorted({*groups} - subscribed) if is_prepared else (),
            unpublished=read_unpublished(old, groups),
            unrefreshed=unrefreshed,
            nonempty=read_filled(new, unrefreshed),
            sequences=[one for one in plan.problems if one.severity >= Severity.CRITICAL],
            writers=blocking(read_blockers(old._link, published)),
            subscriptions=read_others(old, names),
            writing_triggers=read_writing_triggers(old=old, new=new),
            unfenced_roles=read_unfenced_roles(old=old, new=new),
            truncated=read_truncated(old, new, groups, files),
            stuck=read_stuck(old, new, followers),
        ),
    ]


def read_filled(subscriber: Primary, groups: Mapping[str, Sequence[TableName]]) -> list[TableName]:
    """Return those of the tables that a subscriber has, with rows."""
    tables = [table for group in groups.values() for table in group]
    if not tables:
        return []
    there = {one.table for one in read_tables(subscriber._link)}
    return read_nonempty(subscriber._link, [one for one in tables if one in there])


def _unfilled_views(old: Link, new: Link) -> list[TableName]:
    """Return the materialized views that only the old server has filled."""
    here, there = [
        [table_in(one) for one in link.all("read the materialized views", FILLED_VIEWS)]
        for link in (old, new)
    ]
    return [view for view in here if view not in there]


def read_way_back(
    old: Primary,
    new: Primary,
    names: Names,
    groups: int,
    conninfo: str | None,
) -> list[Finding]:
    """Return the findings about the replication to the old server after a cutover."""
    here = read_side(old, names, unreached=read_unreached(old, new, conninfo))
    slots, database = new.slots(), new.connection.info.dbname
    own = names.back_in([one.name for one in slots])
    return [
        back_slots_finding([slot_text(one.state, database) for one in slots if one.name in own]),
        *way_back_findings(here, read_side(new, names), groups),
    ]


def read_stuck(
    publisher: Primary, subscriber: Primary, states: Sequence[SubscriptionStatus]
) -> list[str]:
    """Return why subscriptions do not catch up."""
    found = []
    for one in states:
        if one.state.subslotname is None:
            # Another finding says so.
            continue
        subscription = subscriber.subscription(one.state.subname)
        try:
            subscription.wait_for_catchup(timeout=_CATCH_UP, publisher=publisher)
        except (SubscriptionStuck, SlotLost, SlotNotFound) as error:
            found.append(str(error))
    return found
