# Generated from pgreplkit/_async/logical/subscriberreadiness.py by `nox -s sync`. Do not edit.
"""The facts that decide whether a server is ready for more subscriptions."""

from __future__ import annotations

from collections.abc import Iterable

from pgreplkit._sync.logical.coverage import insist_on_all, tables_between
from pgreplkit._sync.logical.publication import read_identities
from pgreplkit._sync.server.settings import read_settings
from pgreplkit._sync.wire.link import Link
from pgreplkit.catalog.logical.publication import AnyPublished
from pgreplkit.catalog.logical.stuck import WorkerPool, worker_pool
from pgreplkit.catalog.logical.subscription import SUBSCRIBED_NAMES
from pgreplkit.plans.logical.subscriberreadiness import SubscriberFacts
from pgreplkit.values.tablename import TableName


def read_subscriber_facts(
    publisher: Link, subscriber: Link, tables: Iterable[AnyPublished] | None
) -> SubscriberFacts:
    """Read both servers: by default all tables that the subscriber gets, or could get.

    Raises: TableNotFound; PublicationNotFound.
    """
    operation = "check the subscriber's readiness"
    between = tables_between(publisher, subscriber, tables, operation)
    names = [published.table for published in between]
    theirs = read_identities(publisher, names)
    insist_on_all(operation, "the publisher", names, [identity.table for identity in theirs])
    # Tables that are missing here are a finding, not an error.
    ours = read_identities(subscriber, names)
    # The publisher may itself receive tables by replication; their changes can arrive twice.
    relayed = publisher.all("look for subscriptions", SUBSCRIBED_NAMES)
    pool = subscriber.one("count the workers", worker_pool(subscriber.version.major))
    return SubscriberFacts(
        major=subscriber.version.major,
        settings=read_settings(subscriber),
        pool=WorkerPool(**pool),
        publisher=theirs,
        subscriber={identity.table: identity for identity in ours},
        relayed={TableName(record["nspname"], record["relname"]) for record in relayed},
    )
