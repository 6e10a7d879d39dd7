"""Findings on whether a feed can run: its source, its tables and its sink."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from pgreplkit._text import counted
from pgreplkit.catalog.logical.replicaidentity import ReplicaIdentity
from pgreplkit.plans.logical.applyrights import replication_found
from pgreplkit.plans.server.readiness import (
    Readiness,
    Settings,
    checked,
    free_places,
    setting_found,
    value_of,
)
from pgreplkit.values.finding import Finding
from pgreplkit.values.tablename import TableName


@attrs.frozen(kw_only=True)
class FeedFacts:
    """The facts that the checks of a feed look at."""

    settings: Settings
    role: str
    may_replicate: bool
    slots: int
    has_slot: bool
    tables: Sequence[TableName]
    identities: Sequence[ReplicaIdentity]
    sink: str
    """The sink's repr."""
    refusal: str
    """The reason why the sink cannot be used; empty if it can."""
    remedy: str
    """The remedy for the refusal."""


def feed_readiness(facts: FeedFacts) -> Readiness:
    """Return the findings of all checks."""
    return Readiness(findings=(*_source(facts), *_tables(facts), *_sink(facts)))


def _source(facts: FeedFacts) -> Iterator[Finding]:
    yield setting_found(
        facts.settings,
        "wal_level",
        value_of(facts.settings, "wal_level") == "logical",
        needed="logical",
        value="logical",
    )
    # A slot that exists already has its place.
    if not facts.has_slot:
        yield free_places(facts.settings, "max_replication_slots", used=facts.slots, wanted=1)
    remedy = f"ALTER ROLE {facts.role} REPLICATION"
    yield replication_found("role", facts.role, remedy, ok=facts.may_replicate)


def _tables(facts: FeedFacts) -> Iterator[Finding]:
    yield checked(
        "published tables",
        ok=bool(facts.tables),
        observed=counted(len(facts.tables), "table"),
        needed="at least one table in the publications",
    )
    for identity in facts.identities:
        yield checked(
            f"table {identity.table}",
            ok=identity.is_usable,
            observed="it has a replica identity"
            if identity.is_usable
            else "it has no replica identity",
            needed="a replica identity, unless only inserts are published",
            remedy=f"ALTER TABLE {identity.table} ADD PRIMARY KEY (…), or REPLICA IDENTITY FULL",
        )


def _sink(facts: FeedFacts) -> Iterator[Finding]:
    yield checked(
        "sink",
        ok=not facts.refusal,
        observed=facts.refusal or f"{facts.sink} can be used",
        needed="an engine that keeps the feed's messages and its position",
        remedy=facts.remedy,
    )
