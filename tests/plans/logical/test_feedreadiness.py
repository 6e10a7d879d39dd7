"""Whether a feed can run."""

from __future__ import annotations

import attrs
from serverfacts import settings

from pgreplkit.catalog.logical.replicaidentity import identity_in
from pgreplkit.plans.logical.feedreadiness import FeedFacts, feed_readiness
from pgreplkit.values.tablename import TableName

TABLE = TableName("public", "t")
IDENTITY = identity_in(
    {
        "schema": "public",
        "name": "t",
        "kind": "d",
        "index": "t_pkey",
        "columns": ["id"],
        "remedy": "",
    }
)
FACTS = FeedFacts(
    settings=settings(wal_level="logical", max_replication_slots=10),
    role="mover",
    may_replicate=True,
    slots=3,
    has_slot=False,
    tables=[TABLE],
    identities=[IDENTITY],
    sink="RedisSink('cdc')",
    refusal="",
    remedy="",
)


def failing(**changed: object) -> list[str]:
    facts = attrs.evolve(FACTS, **changed)  # type: ignore[arg-type]
    return [finding.check for finding in feed_readiness(facts).problems]


def test_a_feed_with_all_that_it_needs_is_ready() -> None:
    assert failing() == []


def test_each_missing_requirement_is_a_finding_of_its_own() -> None:
    assert failing(may_replicate=False) == ["role"]
    assert failing(tables=[]) == ["published tables"]
    assert failing(refusal="it answers no ping") == ["sink"]
    unusable = attrs.evolve(IDENTITY, index=None)
    assert failing(identities=[unusable]) == ["table public.t"]


def test_an_existing_slot_needs_no_free_place() -> None:
    assert failing(slots=10) == ["max_replication_slots"]
    assert failing(slots=10, has_slot=True) == []
