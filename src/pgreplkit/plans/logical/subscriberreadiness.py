"""What a server needs to subscribe, and its tables to be written without conflicts unseen."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import attrs

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
    """What the subscriber tells, and of each table what both tell."""

    major: int
    settings: Settings
    pool: WorkerPool
    publisher: Sequence[ReplicaIdentity]
    subscriber: Mapping[TableName, ReplicaIdentity]
    relayed: Collection[TableName]
    """The tables to which the publisher subscribes itself."""


def subscriber_readiness(facts: SubscriberFacts, *, subscriptions: int) -> Readiness:
    """One finding for each thing that so many more subscriptions need."""
    return Readiness(findings=(*_server(facts, subscriptions), *_tables(facts)))


def _server(facts: SubscriberFacts, subscriptions: int) -> Iterator[Finding]:
    settings = facts.settings
    copies = number(settings, "max_sync_workers_per_subscription")
    wanted = subscriptions * (1 + copies)
    yield free_places(
        settings, "max_logical_replication_workers", used=facts.pool.running, wanted=wanted
    )
    workers = number(settings, "max_logical_replication_workers")
    yield setting_found(
        settings,
        "max_worker_processes",
        number(settings, "max_worker_processes") > workers,
        needed=f"more than max_logical_replication_workers ({workers}), which are among them",
        value=str(workers + 4),
    )
    # Until 17 it bounded the slots and the origins alike.
    bound = "max_active_replication_origins" if facts.major >= 18 else "max_replication_slots"
    yield free_places(settings, bound, used=facts.pool.origins, wanted=wanted)
    yield setting_found(
        settings,
        "track_commit_timestamp",
        value_of(settings, "track_commit_timestamp") is True,
        needed="on, to see that a row was last changed by another",
        value="on",
        otherwise=Severity.WARNING if facts.major >= 18 else Severity.INFO,
    )


def _tables(facts: SubscriberFacts) -> Iterator[Finding]:
    for identity in facts.publisher:
        own = facts.subscriber.get(identity.table)
        check = f"table {identity.table}"
        if identity.table in facts.relayed:
            yield checked(
                f"origin of {identity.table}",
                ok=False,
                observed="the publisher subscribes to it itself",
                needed="copy_data=False where rows from elsewhere are not wanted: origin='none'"
                " leaves out changes, and copies all rows",
                otherwise=Severity.WARNING,
            )
        if own is None:
            yield checked(
                check, ok=False, observed="the subscriber does not have it", needed="the table"
            )
        elif not identity.is_usable:
            yield checked(
                check,
                ok=False,
                observed="the publisher has no replica identity for it",
                needed="one, or no UPDATE and DELETE are published",
                remedy=f"on the publisher: {identity.remedy}",
            )
        elif identity.kind is IdentityKind.FULL:
            yield checked(
                check,
                ok=own.index is not None and facts.major >= 16,
                observed="its replica identity is FULL",
                needed="from 16 on an index here; before, each UPDATE and DELETE reads all of it",
                remedy="give it a primary key on both sides",
                otherwise=Severity.WARNING,
            )
        else:
            yield checked(
                check,
                ok={*own.columns} == {*identity.columns},
                observed=f"a key of ({', '.join(own.columns)})" if own.columns else "no key",
                needed=f"a unique key of ({', '.join(identity.columns)}), as the publisher has it:"
                " without, rows can be there twice",
                remedy=f"ALTER TABLE {identity.table} ADD PRIMARY KEY"
                f" ({', '.join(identity.columns)})",
                otherwise=Severity.WARNING,
            )
