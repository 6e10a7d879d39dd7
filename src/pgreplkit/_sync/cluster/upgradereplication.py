# Generated from pgreplkit/_async/cluster/upgradereplication.py by `nox -s sync`. Do not edit.
"""Read the publications and subscriptions of an upgrade, to find what someone has altered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pgreplkit._sync._io import sleep
from pgreplkit._sync.cluster.upgradeschema import read_copies, read_fingerprint, read_kept_schema
from pgreplkit._sync.primary import Primary
from pgreplkit.catalog.cluster.upgradereplication import ADDED_LATER, FIRING, LIMITED, UNLOGGED
from pgreplkit.catalog.view import table_in
from pgreplkit.driver.backoff import Backoff
from pgreplkit.plans.cluster.upgrade import OLD, Names
from pgreplkit.plans.cluster.upgradereplication import (
    Direction,
    FiringTrigger,
    published_operations,
    replication_findings,
)
from pgreplkit.plans.cluster.upgradeschema import KeptSchema, uncopied_tables
from pgreplkit.plans.logical.subscription import SubscriptionStatus
from pgreplkit.values.finding import Finding
from pgreplkit.values.tablename import TableName

_CONNECT = 6.0
"""Seconds for a worker that was started again to connect to its publisher."""


def read_replication(
    old: Primary,
    new: Primary,
    groups: Mapping[str, Sequence[str]],
    subscriptions: Sequence[SubscriptionStatus],
    *,
    publisher: str,
    is_running: bool = True,
) -> list[Finding]:
    """Return the findings about one direction; ``groups`` are the tables of its publications."""
    source, target = (old, new) if publisher == OLD else (new, old)
    uncopied: dict[str, list[TableName]] = {}
    if is_running and publisher == OLD:
        uncopied = _uncopied_forward(old, new, groups)
    elif is_running:
        uncopied = _uncopied_back(new, groups, subscriptions)
    direction = Direction(
        publisher=publisher,
        publications=[one.state for one in source.publications() if one.name in groups],
        limited=_by_publication(source, LIMITED, groups),
        groups=groups,
        subscriptions=subscriptions,
        misled=_misled(source, target, subscriptions) if is_running else (),
        uncopied=uncopied,
        unlogged=_unlogged(target, groups),
        firing=_firing(old, target, groups, is_old=publisher != OLD),
        operations=published_operations(truncates=old._link.has("publication.truncate")),
        is_running=is_running,
    )
    return [*replication_findings(direction)]


def _misled(
    publisher: Primary, subscriber: Primary, subscriptions: Sequence[SubscriptionStatus]
) -> list[str]:
    """Return the subscriptions whose workers run, and do not use their slot of the publisher."""
    found, backoff = [], Backoff(_CONNECT)
    for one in subscriptions:
        while one.is_applying and one.slot is not None and not one.slot.active:
            if backoff.is_over:
                found.append(one.state.subname)
                break
            sleep(backoff.next_pause())
            one = (subscriber.subscription(one.state.subname)).status(publisher)
    return found


def _by_publication(
    server: Primary, sql: str, groups: Mapping[str, Sequence[str]]
) -> dict[str, list[TableName]]:
    found: dict[str, list[TableName]] = {}
    for record in server._link.all("read the publications", sql, [[*groups]]):
        found.setdefault(record.pop("publication"), []).append(table_in(record))
    return found


def _uncopied_forward(
    old: Primary, new: Primary, groups: Mapping[str, Sequence[str]]
) -> dict[str, list[TableName]]:
    """Return the tables of the old server that were added again, and not copied since."""
    if not groups:
        return {}
    names = _names(groups)
    kept = read_kept_schema(old, names.forward(1)) or KeptSchema()
    found = {*uncopied_tables(kept, read_copies(old, names), read_copies(new, names))}
    return {
        name: uncopied
        for name, tables in groups.items()
        if (uncopied := [TableName.parse(table) for table in tables if table in found])
    }


def _uncopied_back(
    new: Primary,
    groups: Mapping[str, Sequence[str]],
    subscriptions: Sequence[SubscriptionStatus],
) -> dict[str, list[TableName]]:
    """Return the tables of the new server that were added later, and not copied since.

    The subscriptions of the way back have not copied those that were there from the first.
    """
    uncopied = {each.table for one in subscriptions for each in one.ready_tables if not each.lsn}
    later = _by_publication(new, ADDED_LATER, groups)
    return {
        name: lost
        for name, tables in later.items()
        if (lost := [table for table in tables if table in uncopied])
    }


def _all_tables(groups: Mapping[str, Sequence[str]]) -> set[TableName]:
    return {TableName.parse(table) for tables in groups.values() for table in tables}


def _unlogged(subscriber: Primary, groups: Mapping[str, Sequence[str]]) -> list[TableName]:
    """Return the replicated tables that a crash of the subscriber would empty."""
    tables = _all_tables(groups)
    records = subscriber._link.all("read the unlogged tables", UNLOGGED)
    return [table for one in records if (table := table_in(one)) in tables]


def _firing(
    old: Primary,
    subscriber: Primary,
    groups: Mapping[str, Sequence[str]],
    *,
    is_old: bool,
) -> list[FiringTrigger]:
    """Return the triggers of replicated tables that fire for replicated changes."""
    tables = _all_tables(groups)
    records = subscriber._link.all("read the triggers", FIRING)
    found = [(table_in(record), record) for record in records]
    found = [(table, record) for table, record in found if table in tables]
    # Most databases have none, and the fingerprint takes longer.
    if not found:
        return []
    kept = read_kept_schema(old, _names(groups).forward(1)) or KeptSchema()
    before, now = kept.old if is_old else kept.new, read_fingerprint(subscriber._link)
    return [
        FiringTrigger(
            table=table,
            trigger=record["trigger"],
            is_kept=before.get(record["object"], "") == now.get(record["object"]),
        )
        for table, record in found
    ]


def _names(groups: Mapping[str, Sequence[str]]) -> Names:
    """Return the names of the upgrade with these publications, of either direction."""
    first = next(iter(groups)).removesuffix("_back")
    return Names(upgrade=first.rpartition("_")[0])
