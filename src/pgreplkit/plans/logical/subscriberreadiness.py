"""Readiness of a subscriber: its settings, and the keys of its tables."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import attrs

from pgreplkit.catalog.features import has
from pgreplkit.catalog.logical.replicaidentity import IdentityKind, ReplicaIdentity
from pgreplkit.catalog.logical.stuck import WorkerPool
from pgreplkit.plans.server.readiness import (
    Readiness,
    Settings,
    checked,
    free_places,
    number,
    setting_found,
    value_of,
)
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.tablename import TableName


@attrs.frozen(kw_only=True)
class SubscriberFacts:
    """The facts about a subscriber, and about the tables of both sides."""

    major: int
    settings: Settings
    pool: WorkerPool
    publisher: Sequence[ReplicaIdentity]
    subscriber: Mapping[TableName, ReplicaIdentity]
    relayed: Collection[TableName]
    """The tables to which the publisher itself subscribes."""


def subscriber_readiness(facts: SubscriberFacts, *, subscriptions: int) -> Readiness:
    """Return one finding for each requirement of that many more subscriptions."""
    return Readiness(findings=(*_server(facts, subscriptions), *_tables(facts)))


def _server(facts: SubscriberFacts, subscriptions: int) -> Iterator[Finding]:
    settings = facts.settings
    copies = number(settings, "max_sync_workers_per_subscription") or 0
    # An apply worker and the workers of its parallel copies, each with an origin of its own.
    wanted = subscriptions * (1 + copies)
    yield free_places(
        settings, "max_logical_replication_workers", used=facts.pool.running, wanted=wanted
    )
    workers = number(settings, "max_logical_replication_workers") or 0
    yield setting_found(
        settings,
        "max_worker_processes",
        (number(settings, "max_worker_processes") or 0) > workers,
        needed=f"more than max_logical_replication_workers ({workers}), which it includes",
        # As many as the defaults leave for parallel queries and extensions.
        value=str(workers + 4),
    )
    # Before 18 one setting limited slots and origins alike.
    has_limit = has("subscription.origin_limit", facts.major)
    limit = "max_active_replication_origins" if has_limit else "max_replication_slots"
    yield free_places(settings, limit, used=facts.pool.origins, wanted=wanted)
    yield setting_found(
        settings,
        "track_commit_timestamp",
        value_of(settings, "track_commit_timestamp") is True,
        needed="on, to detect that another origin changed a row last",
        value="on",
        # Only from 18 on are conflicts counted and logged by their kinds.
        otherwise=Severity.WARNING if has("subscription.conflicts", facts.major) else Severity.INFO,
    )


def _tables(facts: SubscriberFacts) -> Iterator[Finding]:
    for identity in facts.publisher:
        if identity.table in facts.relayed:
            yield checked(
                f"origin of {identity.table}",
                ok=False,
                observed="the publisher itself subscribes to it",
                needed="copy_data=False unless rows of other origins are wanted: origin='none'"
                " filters changes, but copies all rows",
                otherwise=Severity.WARNING,
            )
        yield _table(identity, facts.subscriber.get(identity.table), facts.major)


def _table(identity: ReplicaIdentity, own: ReplicaIdentity | None, major: int) -> Finding:
    """Check that the subscriber finds the rows that the publisher's identity names."""
    check = f"table {identity.table}"
    if own is None:
        return checked(
            check, ok=False, observed="the subscriber does not have it", needed="the table"
        )
    if not identity.is_usable:
        return checked(
            check,
            ok=False,
            observed="the publisher has no replica identity for it",
            needed="a replica identity, or a publication without UPDATE and DELETE",
            remedy=f"on the publisher: {identity.remedy}",
        )
    if identity.kind is IdentityKind.FULL:
        # From 16 on, the apply worker uses any suitable index to find the row.
        return checked(
            check,
            ok=own.index is not None and has("subscription.full_index", major),
            observed="its replica identity is FULL",
            needed="an index on the subscriber (16 on): each change reads all rows without it",
            remedy="add a primary key on both sides",
            otherwise=Severity.WARNING,
        )
    return checked(
        check,
        ok={*own.columns} == {*identity.columns},
        observed=f"a key of ({', '.join(own.columns)})" if own.columns else "no key",
        needed=f"a unique key of ({', '.join(identity.columns)}), as on the publisher; otherwise"
        " rows can be duplicated",
        remedy=f"ALTER TABLE {identity.table} ADD PRIMARY KEY ({', '.join(identity.columns)})",
        otherwise=Severity.WARNING,
    )
