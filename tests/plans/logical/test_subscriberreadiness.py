"""Whether a subscriber is ready for more subscriptions: settings and keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from logicalfacts import ONE, pool
from serverfacts import settings

from pgreplkit import TableName
from pgreplkit.plans.logical.subscriberreadiness import SubscriberFacts, subscriber_readiness
from pgreplkit.rows import IdentityKind, Readiness, ReplicaIdentity, Severity

GOOD = {
    "max_sync_workers_per_subscription": 2,
    "max_logical_replication_workers": 8,
    "max_worker_processes": 12,
    "max_replication_slots": 10,
    "max_active_replication_origins": 10,
    "track_commit_timestamp": "on",
}


def identity(
    kind: IdentityKind = IdentityKind.DEFAULT,
    columns: Sequence[str] = ("id",),
    *,
    index: str | None = "one_pkey",
) -> ReplicaIdentity:
    facts: dict[str, Any] = {"kind": kind, "index": index, "columns": columns}
    return ReplicaIdentity(table=ONE, remedy="ALTER …", **facts)


def readiness(
    *,
    major: int = 18,
    subscriptions: int = 1,
    publisher: ReplicaIdentity | None = None,
    subscriber: ReplicaIdentity | None = None,
    relayed: Sequence[TableName] = (),
    running: int = 1,
    origins: int = 1,
    **changed: object,
) -> Readiness:
    facts = SubscriberFacts(
        major=major,
        settings=settings(**GOOD | changed),
        pool=pool(running=running, origins=origins),
        publisher=() if publisher is None else (publisher,),
        subscriber={} if subscriber is None else {ONE: subscriber},
        relayed=relayed,
    )
    return subscriber_readiness(facts, subscriptions=subscriptions)


def test_a_subscriber_with_free_workers_and_origins_is_ready() -> None:
    found = readiness(publisher=identity(), subscriber=identity())
    assert {finding.severity for finding in found.findings} == {Severity.OK}
    assert len(found.findings) == 5


@pytest.mark.parametrize(("subscriptions", "ready"), [(1, True), (2, True), (3, False)])
def test_each_subscription_needs_an_apply_worker_and_its_copies(
    subscriptions: int, ready: bool
) -> None:
    found = readiness(subscriptions=subscriptions, running=2)
    assert (found["max_logical_replication_workers"].severity is Severity.OK) is ready
    assert found.is_ready is ready


def test_max_worker_processes_must_exceed_the_logical_workers() -> None:
    found = readiness(max_worker_processes=8)["max_worker_processes"]
    assert found.severity is Severity.CRITICAL
    assert found.remedy == "ALTER SYSTEM SET max_worker_processes = 12"
    assert readiness(max_worker_processes=9)["max_worker_processes"].severity is Severity.OK


def test_origins_are_limited_by_their_own_setting_from_18_on() -> None:
    old, new = readiness(major=17, origins=9), readiness(major=18, origins=9)
    assert old["max_replication_slots"].severity is Severity.CRITICAL
    assert new["max_active_replication_origins"].severity is Severity.CRITICAL
    with pytest.raises(KeyError):
        new["max_replication_slots"]


@pytest.mark.parametrize(("version", "severity"), [(17, Severity.INFO), (18, Severity.WARNING)])
def test_commit_timestamps_are_recommended_where_the_server_logs_conflicts(
    version: int, severity: Severity
) -> None:
    found = readiness(major=version, track_commit_timestamp="off")
    assert found["track_commit_timestamp"].severity is severity
    assert found.is_ready


@pytest.mark.parametrize(
    ("publisher", "subscriber", "version", "severity"),
    [
        (identity(), identity(columns=("id",)), 18, Severity.OK),
        (identity(columns=("a", "b")), identity(columns=("b", "a")), 18, Severity.OK),
        (identity(), identity(columns=("id", "more")), 18, Severity.WARNING),
        (identity(), identity(columns=(), index=None), 18, Severity.WARNING),
        (identity(), None, 18, Severity.CRITICAL),
        (identity(IdentityKind.NOTHING, (), index=None), identity(), 18, Severity.CRITICAL),
        (identity(IdentityKind.FULL, (), index=None), identity(), 16, Severity.OK),
        (identity(IdentityKind.FULL, (), index=None), identity(), 15, Severity.WARNING),
        (
            identity(IdentityKind.FULL, (), index=None),
            identity(IdentityKind.FULL, (), index=None),
            16,
            Severity.WARNING,
        ),
    ],
)
def test_the_subscriber_needs_the_key_of_the_publishers_identity(
    publisher: ReplicaIdentity, subscriber: ReplicaIdentity | None, version: int, severity: Severity
) -> None:
    found = readiness(publisher=publisher, subscriber=subscriber, major=version)
    assert found["table public.one"].severity is severity


def test_a_table_to_which_the_publisher_subscribes_is_reported() -> None:
    own = identity()
    found = readiness(publisher=own, subscriber=own, relayed=[ONE])
    assert found["origin of public.one"].severity is Severity.WARNING
    other = readiness(publisher=own, subscriber=own, relayed=[TableName("other", "one")])
    assert other.severity is Severity.OK
