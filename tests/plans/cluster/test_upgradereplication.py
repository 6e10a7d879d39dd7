"""Publications and subscriptions of an upgrade that someone has altered."""

from __future__ import annotations

from types import MappingProxyType

import attrs
import pytest
from logicalfacts import subscription_state
from upgradefacts import following

from pgreplkit.catalog.logical.publication import Operation, PublicationState
from pgreplkit.plans.cluster.upgrade import NEW, OLD
from pgreplkit.plans.cluster.upgradereplication import (
    Direction,
    FiringTrigger,
    published_operations,
    replication_findings,
)
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.tablename import TableName

PUBLICATION = PublicationState(
    pubname="Shop_1",
    pubowner="owner",
    puballtables=False,
    pubinsert=True,
    pubupdate=True,
    pubdelete=True,
    pubtruncate=True,
    pubviaroot=False,
)
SUBSCRIPTION = subscription_state(
    subname="Shop_1", subslotname="Shop_1", subpublications=["Shop_1"], suborigin="any"
)
NONE: MappingProxyType[str, object] = MappingProxyType({})


def found(
    publication: MappingProxyType[str, object] = NONE,
    subscription: MappingProxyType[str, object] = NONE,
    **changed: object,
) -> dict[str, Finding]:
    state = attrs.evolve(SUBSCRIPTION, **subscription)  # type: ignore[arg-type]
    given: dict[str, object] = {
        "publisher": OLD,
        "publications": [attrs.evolve(PUBLICATION, **publication)],  # type: ignore[arg-type]
        "limited": {},
        "groups": {"Shop_1": ["public.a", "public.b"]},
        "subscriptions": [attrs.evolve(following(), state=state)],
        "operations": published_operations(truncates=True),
        "is_running": True,
        **changed,
    }
    findings = replication_findings(Direction(**given))  # type: ignore[arg-type]
    return {one.check: one for one in findings if one.severity > Severity.OK}


def test_publications_and_subscriptions_as_created_are_no_findings() -> None:
    assert found() == found(is_running=False) == found(publisher=NEW) == {}
    # Before 11, 13 and 16 they have no such columns.
    older = MappingProxyType({"pubtruncate": None, "pubviaroot": None})
    assert found(older, operations=published_operations(truncates=False)) == {}
    assert found(subscription=MappingProxyType({"suborigin": None})) == {}


@pytest.mark.parametrize(
    ("changed", "observed", "remedy"),
    [
        (
            {"pubupdate": False, "pubdelete": False, "pubtruncate": False},
            "publish = 'insert'",
            "(publish = 'insert, update, delete, truncate')",
        ),
        (
            {
                "pubinsert": False,
                "pubupdate": False,
                "pubdelete": False,
                "pubtruncate": False,
                "pubviaroot": True,
            },
            "publish = '', publish_via_partition_root = true",
            "(publish = 'insert, update, delete, truncate', publish_via_partition_root = false)",
        ),
    ],
)
def test_altered_options_of_a_publication_are_found(
    changed: dict[str, object], observed: str, remedy: str
) -> None:
    [finding] = found(MappingProxyType(changed)).values()
    assert (finding.check, finding.severity) == ("old: publications", Severity.CRITICAL)
    assert finding.found == f"Shop_1: {observed}"
    assert finding.remedy.startswith(f'ALTER PUBLICATION "Shop_1" SET {remedy} on the old server')


def test_truncate_is_not_published_where_10_would_have_to_apply_it() -> None:
    [finding] = found(operations=published_operations(truncates=False), publisher=NEW).values()
    assert "SET (publish = 'insert, update, delete') on the new server" in finding.remedy
    assert Operation.TRUNCATE not in published_operations(truncates=False)


def test_row_filters_and_column_lists_are_found() -> None:
    [finding] = found(limited={"Shop_1": [TableName("public", "a")]}).values()
    assert finding.found == "Shop_1: some rows or columns of public.a"
    whole = 'ALTER PUBLICATION "Shop_1" SET TABLE ONLY public.a, ONLY public.b on the old server'
    assert finding.remedy == f"{whole}; then check again"


AGAIN = (
    'SUBSCRIPTION "Shop_1" {} on the new server; then SET session_replication_role = replica;'
    " DELETE FROM ONLY public.a; DELETE FROM ONLY public.b; RESET session_replication_role on the"
    ' new server; then ALTER PUBLICATION "Shop_1" ADD TABLE ONLY public.a, ONLY public.b on the old'
    ' server; then ALTER SUBSCRIPTION "Shop_1" REFRESH PUBLICATION on the new server'
)
REMOVED = 'ALTER PUBLICATION "Shop_1" DROP TABLE ONLY public.a, ONLY public.b on the old server'
SET = 'SET PUBLICATION "Shop_1"'
SLOT = "ALTER SUBSCRIPTION \"Shop_1\" SET (slot_name = 'Shop_1') on the new server"
ORIGIN = 'ALTER SUBSCRIPTION "Shop_1" SET (origin = any) on the new server'


@pytest.mark.parametrize(
    ("changed", "observed", "running", "stopped"),
    [
        ({"subslotname": None}, "slot_name = NONE", SLOT, SLOT),
        ({"subslotname": "other"}, "slot_name = other", SLOT, SLOT),
        (
            {"subpublications": ("p", "q")},
            "publications p, q",
            f"{REMOVED}; then ALTER {AGAIN.format(SET)}",
            'ALTER SUBSCRIPTION "Shop_1" SET PUBLICATION "Shop_1" WITH (refresh = false) on the new'
            " server",
        ),
        (
            {"suborigin": "none"},
            "origin = none",
            f"{ORIGIN}; then {REMOVED}; then ALTER {AGAIN.format('REFRESH PUBLICATION')}",
            ORIGIN,
        ),
    ],
)
def test_altered_subscriptions_are_found_with_statements_that_lose_no_row(
    changed: dict[str, object], observed: str, running: str, stopped: str
) -> None:
    [finding] = found(subscription=MappingProxyType(changed)).values()
    assert (finding.check, finding.severity) == ("new: subscriptions", Severity.CRITICAL)
    assert (finding.found, finding.remedy) == (f"Shop_1: {observed}", running)
    # The forward subscription after a cutover has missed nothing.
    [finding] = found(subscription=MappingProxyType(changed), is_running=False).values()
    assert finding.remedy == stopped


def test_tables_that_were_published_again_are_copied_again() -> None:
    uncopied = {"Shop_1": [TableName("public", "a"), TableName("public", "b")]}
    [finding] = found(uncopied=uncopied).values()
    assert (finding.check, finding.severity) == ("new: copied rows", Severity.CRITICAL)
    assert finding.found == "older than the publication of public.a, public.b"
    statements = f"{REMOVED}; then ALTER {AGAIN.format('REFRESH PUBLICATION')}"
    assert finding.remedy.startswith(f"{statements}; if compare()")
    # What is copied before the publication is as created may be lost again.
    filtered = {"Shop_1": [TableName("public", "a")]}
    assert [*found(uncopied=uncopied, limited=filtered)] == ["old: publications"]


def test_a_subscription_that_is_connected_elsewhere_needs_a_new_preparation() -> None:
    [finding] = found(misled=["Shop_1"]).values()
    assert finding.found == "Shop_1: connected to another server than the old one"
    assert "prepare it again" in finding.remedy
    [back] = found(misled=["Shop_1"], publisher=NEW).values()
    assert (back.check, "no way back" in back.remedy) == ("old: subscriptions", True)


def test_replicated_tables_of_the_subscriber_must_be_logged() -> None:
    [finding] = found(unlogged=[TableName("public", "a")]).values()
    assert (finding.check, finding.severity) == ("new: unlogged tables", Severity.CRITICAL)
    assert finding.remedy == "ALTER TABLE public.a SET LOGGED on the new server"
    [back] = found(unlogged=[TableName("public", "a")], publisher=NEW).values()
    assert (back.check, back.remedy) == (
        "old: unlogged tables",
        "ALTER TABLE public.a SET LOGGED on the old server",
    )


def test_triggers_that_fire_on_apply_since_the_preparation_are_critical() -> None:
    table = TableName("public", "a")
    audit = FiringTrigger(table=table, trigger='"Audit"', is_kept=True)
    late = FiringTrigger(table=table, trigger="late", is_kept=False)
    statement = "ALTER TABLE public.a ENABLE TRIGGER {} on the new server".format
    [finding] = found(firing=[audit]).values()
    assert (finding.check, finding.severity, finding.found) == (
        "new: triggers that fire on apply",
        Severity.WARNING,
        '"Audit" of public.a',
    )
    assert finding.remedy.startswith("none if they are meant")
    assert finding.remedy.endswith(statement('"Audit"'))
    # It has fired since then, and another one since the preparation.
    [finding] = found(firing=[audit, late]).values()
    assert (finding.severity, finding.found) == (Severity.CRITICAL, "late of public.a")
    assert finding.remedy.startswith(f"{statement('late')}; then remove the differences")
