# Generated from pgreplkit/_async/cluster/upgradereplication.py by `nox -s sync`. Do not edit.
"""Read the publications and subscriptions of an upgrade, to find what someone has altered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pgreplkit._sync._io import sleep
from pgreplkit._sync.primary import Primary
from pgreplkit.catalog.cluster.upgradereplication import LIMITED
from pgreplkit.catalog.view import table_in
from pgreplkit.driver.backoff import Backoff
from pgreplkit.plans.cluster.upgrade import OLD
from pgreplkit.plans.cluster.upgradereplication import (
    Direction,
    published_operations,
    replication_findings,
)
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
    limited: dict[str, list[TableName]] = {}
    for record in source._link.all("read the publications", LIMITED, [[*groups]]):
        limited.setdefault(record.pop("publication"), []).append(table_in(record))
    direction = Direction(
        publisher=publisher,
        publications=[one.state for one in source.publications() if one.name in groups],
        limited=limited,
        groups=groups,
        subscriptions=subscriptions,
        misled=_misled(source, target, subscriptions) if is_running else (),
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
