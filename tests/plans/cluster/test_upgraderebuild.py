"""A lost journal of an upgrade is rebuilt from the objects on both servers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs
import pytest
from upgradeobjects import (
    CASES,
    CUTOVER,
    GIVE_UP,
    GROUPS,
    NAMES,
    NOTHING,
    ONE_WAY,
    PREPARE,
    ROLLBACK,
    TABLES,
    all_of,
    performed,
)

from pgreplkit.plans.cluster import upgradesteps as do
from pgreplkit.plans.cluster.journal import Journal
from pgreplkit.plans.cluster.upgrade import rollback_journal
from pgreplkit.plans.cluster.upgradeclone import clone_journal
from pgreplkit.plans.cluster.upgradegroups import TableGroup
from pgreplkit.plans.cluster.upgraderebuild import UpgradeObjects, rebuilt_journal
from pgreplkit.values.tablename import TableName

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def rebuilt(objects: UpgradeObjects) -> Journal | None:
    return rebuilt_journal(NAMES, objects, TABLES, now=NOW)


@pytest.mark.parametrize(("begin", "journal"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_each_interruption_is_recognized_by_the_objects(
    begin: UpgradeObjects, journal: Journal
) -> None:
    first = {"prep": do.PublishTables, "cuto": do.FenceTables, "roll": do.FenceTables}
    begun = [n for n, s in enumerate(journal.steps) if type(s) is first.get(journal.operation[:4])]
    found = 0
    for count in range(len(journal.steps) + 1):
        objects = performed(begin, journal, count)
        other = rebuilt(objects)
        if other is None:
            # Not begun as far as the objects show, or complete: either can be planned again.
            assert not begun or count <= begun[0] or count == len(journal.steps)
            continue
        found += 1
        assert other.operation == journal.operation
        if other.operation.startswith("end"):
            # All that is left is dropped.
            left = performed(objects, other, len(other.steps))
            kinds = (left.publications, left.back_publications, left.forward, left.back)
            assert not any(kinds)
            assert journal.steps[-1] == other.steps[-1]
        else:
            assert other.steps == journal.steps
        # No step is taken for done that is not, and none is repeated that cannot be.
        assert len(other.done) <= count
        stopped = next(
            (n for n, s in enumerate(journal.steps) if isinstance(s, do.StopSubscriptions)), 99
        )
        if "preparation" not in journal.operation and stopped < count:
            assert len(other.done) > stopped
    assert found


def test_an_end_without_its_journal_drops_slots_whose_subscriptions_are_gone() -> None:
    # After the first step of an end.
    ending = attrs.evolve(all_of(PREPARE, CUTOVER), forward={}, back={})
    found = rebuilt(ending)
    assert found is not None
    dropped = [one for one in found.steps if isinstance(one, do.DropSubscriptions)]
    assert dropped[-1] == do.DropSubscriptions("old", ["shop_1_back", "shop_2_back"])


def test_an_upgrade_without_objects_and_a_complete_one_have_no_journal() -> None:
    assert rebuilt(NOTHING) is None
    for complete in (all_of(PREPARE), all_of(PREPARE, CUTOVER), all_of(PREPARE, CUTOVER, ROLLBACK)):
        assert rebuilt(complete) is None
    assert rebuilt(all_of(PREPARE, ONE_WAY)) is None
    assert rebuilt(all_of(PREPARE, CUTOVER, ROLLBACK, ONE_WAY)) is None


@pytest.mark.parametrize(
    "before",
    [
        all_of(PREPARE),
        all_of(PREPARE, CUTOVER),
        all_of(PREPARE, ONE_WAY),
        all_of(PREPARE, CUTOVER, ROLLBACK),
        all_of(PREPARE, CUTOVER, ROLLBACK, ONE_WAY),
    ],
    ids=str,
)
def test_an_end_that_has_dropped_some_subscriptions_continues(before: UpgradeObjects) -> None:
    left = {"shop_2": before.forward["shop_2"]}
    journal = rebuilt(attrs.evolve(before, forward=left))
    assert journal is not None
    assert journal.operation == "end of shop"
    assert not performed(before, journal, len(journal.steps)).back


def test_tables_that_were_not_published_yet_are_the_last_group() -> None:
    objects = attrs.evolve(NOTHING, publications={"shop_1": ("public.b",)}, fences={"new": True})
    journal = rebuilt(objects)
    assert journal is not None
    published = [step.tables for step in journal.steps if isinstance(step, do.PublishTables)]
    assert published == [("public.b",), ("public.a", "public.c")]
    assert type(journal.remaining[0]) is do.PublishTables


def test_tables_that_were_added_to_the_way_back_are_fenced_by_its_rollback() -> None:
    back = {"shop_1_back": (*GROUPS["shop_1"], "public.late"), "shop_2_back": GROUPS["shop_2"]}
    begun = performed(all_of(PREPARE, CUTOVER), ROLLBACK, 1)
    journal = rebuilt(attrs.evolve(begun, back_publications=back))
    assert journal is not None
    assert journal.steps == rollback_journal(NAMES, GROUPS, ["public.late"]).steps


def test_a_publication_of_the_way_back_without_new_tables_is_not_complete() -> None:
    groups = {**GROUPS, "shop_1": (*GROUPS["shop_1"], "public.late")}
    begun = performed(all_of(PREPARE, CUTOVER, ROLLBACK), CUTOVER, 3)
    journal = rebuilt(attrs.evolve(begun, publications=groups))
    assert journal is not None
    assert journal.remaining[0] == do.PublishTables("new", "shop_1_back", groups["shop_1"])


def test_an_interrupted_clone_without_its_journal_is_refused() -> None:
    """A preparation by rows would copy rows into full tables."""
    groups = [TableGroup(tables=(TableName("public", name),), bytes=0) for name in "abc"]
    clone = clone_journal(NAMES, groups, directory="/d", copy="/d.copy", transfer="link")
    kinds = [type(step) for step in clone.steps]
    for count in range(kinds.index(do.StartUpgraded), len(clone.steps)):
        objects = attrs.evolve(performed(NOTHING, clone, count), is_filled=True)
        with pytest.raises(ValueError, match=r"by clone.*; find .*plan_finish.*'shop_copy'"):
            rebuilt(objects)
    assert rebuilt(all_of(clone)) is None


@pytest.mark.parametrize("before", [all_of(PREPARE), all_of(PREPARE, CUTOVER, ROLLBACK)], ids=str)
def test_an_end_that_has_dropped_some_publications_continues(before: UpgradeObjects) -> None:
    ended = performed(before, GIVE_UP, 1)
    # The schema was kept as the comment of the first one.
    left = {"shop_2": GROUPS["shop_2"]}
    journal = rebuilt(attrs.evolve(ended, publications=left, kept=(), is_filled=True))
    assert journal is not None
    assert journal.operation == "end of shop"
    assert performed(ended, journal, len(journal.steps)).publications == {}


def test_slots_of_the_way_back_that_were_dropped_are_not_created_after_the_opening() -> None:
    opened = next(n for n, step in enumerate(CUTOVER.steps, 1) if isinstance(step, do.OpenTables))
    objects = attrs.evolve(performed(all_of(PREPARE), CUTOVER, opened), back_slots=())
    journal = rebuilt(objects)
    assert journal is not None
    assert journal.steps == ONE_WAY.steps
    assert isinstance(journal.remaining[0], do.Redirect)


@pytest.mark.parametrize("journal", [CUTOVER, ROLLBACK], ids=lambda journal: journal.operation)
def test_a_rebuilt_journal_has_the_identities_and_times_of_the_fences(journal: Journal) -> None:
    begin = all_of(PREPARE) if journal is CUTOVER else all_of(PREPARE, CUTOVER)
    fenced = next(n for n, step in enumerate(journal.steps) if isinstance(step, do.FenceTables))
    objects = performed(begin, journal, fenced + 1)
    times = {"old": NOW - timedelta(seconds=3), "new": NOW - timedelta(seconds=2)}
    there = attrs.evolve(objects, identities={"old": "a", "new": "b"}, since=times)
    other = rebuilt(there)
    assert other is not None
    assert other.done[fenced].refused_at == times["old" if journal is CUTOVER else "new"]
    step = other.done[fenced].step
    assert isinstance(step, do.FenceTables)
    assert step.identity == ("a" if journal is CUTOVER else "b")
    assert other.fences == ("a", "b")


@pytest.mark.parametrize(
    ("node", "begin", "journal"),
    [("old", all_of(PREPARE), CUTOVER), ("new", all_of(PREPARE, CUTOVER), ROLLBACK)],
)
def test_a_fence_that_lacks_a_table_is_completed_before_the_wait(
    node: str, begin: UpgradeObjects, journal: Journal
) -> None:
    fenced = next(n for n, s in enumerate(journal.steps) if isinstance(s, do.FenceTables))
    stopped = next(n for n, s in enumerate(journal.steps) if isinstance(s, do.StopSubscriptions))
    # Later the wait cannot be repeated, and resume() finds the table.
    for count, is_repeated in ((fenced + 1, True), (stopped + 1, False)):
        objects = attrs.evolve(performed(begin, journal, count), unfenced=[node])
        other = rebuilt(objects)
        assert other is not None
        assert isinstance(other.remaining[0], do.FenceTables) == is_repeated
