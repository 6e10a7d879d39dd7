"""The fences of an upgrade: those that must be up, and the signs of a stale journal."""

from __future__ import annotations

import attrs
import pytest
from upgradefacts import GROUPS, JOURNALS, NAMES, NOW

from pgreplkit.catalog.logical.fence import FenceFunction
from pgreplkit.plans.cluster import upgradesteps as do
from pgreplkit.plans.cluster.journal import Journal, StepResult
from pgreplkit.plans.cluster.steps import Step
from pgreplkit.plans.cluster.upgrade import finish_journal, prepare_journal
from pgreplkit.plans.cluster.upgradeclone import clone_journal
from pgreplkit.plans.cluster.upgradefences import (
    accepting,
    lasting_steps,
    must_be_fenced,
    stale_publication,
    stale_reason,
    unfenced_remedy,
)
from pgreplkit.plans.cluster.upgradegroups import TableGroup
from pgreplkit.plans.cluster.upgradeschema import KeptSchema
from pgreplkit.values.tablename import TableName

TABLE = TableName("public", "a")
PREPARE = prepare_journal(NAMES, [TableGroup(tables=(TABLE,), bytes=1)], copies_schema=True)


def after(journal: Journal, count: int) -> Journal:
    results = (StepResult(step=step, began_at=NOW, ended_at=NOW) for step in journal.steps[:count])
    return attrs.evolve(journal, done=tuple(results))


def fenced(journal: Journal, applied: int, *, before: set[str]) -> set[str]:
    """The fenced servers after some steps were applied."""
    found = {*before}
    for step in journal.steps[:applied]:
        if isinstance(step, do.FenceTables):
            found.add(step.node)
        if isinstance(step, do.OpenTables):
            found.discard(step.node)
    return found


@pytest.mark.parametrize("journal", [*JOURNALS, PREPARE], ids=lambda journal: journal.operation)
def test_a_server_must_be_fenced_if_it_is_before_and_after_the_next_step(journal: Journal) -> None:
    target = {"cutover": {"new"}, "rollback": {"old"}}.get(journal.operation.split()[0], set())
    for done in range(len(journal.steps) + 1):
        certain = fenced(journal, done, before=target) & fenced(journal, done + 1, before=target)
        assert must_be_fenced(after(journal, done)).keys() == certain


def test_the_source_of_an_operation_is_fenced_with_all_its_publications() -> None:
    for journal in JOURNALS:
        names = [*GROUPS] if "cutover" in journal.operation else [f"{one}_back" for one in GROUPS]
        source = next(one.node for one in journal.steps if isinstance(one, do.FenceTables))
        assert must_be_fenced(after(journal, len(journal.steps)))[source] == tuple(names)


def test_the_target_of_an_operation_is_fenced_with_all_tables_of_the_preparation() -> None:
    for journal in JOURNALS:
        target = next(one.node for one in journal.steps if isinstance(one, do.OpenTables))
        assert must_be_fenced(after(journal, 0)) == {target: tuple(GROUPS)}


def test_an_end_needs_no_fence() -> None:
    journal = finish_journal(NAMES, [*GROUPS], back=[])
    assert must_be_fenced(after(journal, 1)) == {}


def test_undo_keeps_rows_that_the_source_got_while_its_fence_was_disabled() -> None:
    [journal, *_] = JOURNALS
    opened = next(n for n, one in enumerate(journal.steps) if isinstance(one, do.OpenTables))
    fencing = "{}.fence_writes(['public.a'], name='shop_fence')"
    for done, node, wanted in (
        (opened - 1, "old", "undo() the plan"),
        # It may be open already, so that undo() is refused.
        (opened, "old", fencing.format("old")),
        (opened + 1, "old", fencing.format("old")),
        (opened - 1, "new", fencing.format("new")),
    ):
        assert unfenced_remedy(after(journal, done), node, [TABLE], "shop_fence").startswith(wanted)
    found = unfenced_remedy(after(PREPARE, 4), "new", [TABLE], "shop_fence")
    assert found.startswith(fencing.format("new"))


OTHER = {"old": "new", "new": "old"}
MOVES = [
    attrs.evolve(
        journal,
        steps=tuple(
            attrs.evolve(step, identity="mine") if isinstance(step, do.FenceTables) else step
            for step in journal.steps
        ),
        fences=("before", "") if "rollback" in journal.operation else ("", "before"),
    )
    for journal in JOURNALS
]
"""Cutovers and a rollback that have begun to fence."""


def place(journal: Journal, kind: type[Step]) -> int:
    return [type(step) for step in journal.steps].index(kind)


def ends(journal: Journal) -> tuple[str, str]:
    """The server that is fenced, and the one that is opened."""
    source = journal.steps[place(journal, do.FenceTables)].node
    return source, OTHER[source]


def fences(journal: Journal, applied: int) -> dict[str, FenceFunction | None]:
    """The fences after some steps were applied to the servers."""
    source, target = ends(journal)
    is_fenced = applied > place(journal, do.FenceTables)
    is_open = applied > place(journal, do.OpenTables)
    return {
        source: FenceFunction(is_fenced, "mine" if is_fenced else ""),
        target: FenceFunction(not is_open, "before"),
    }


@pytest.mark.parametrize("journal", MOVES, ids=lambda journal: journal.operation)
def test_a_plan_that_another_process_completed_is_neither_continued_nor_undone(
    journal: Journal,
) -> None:
    count, complete = len(journal.steps), fences(journal, len(journal.steps))
    fenced, opened = place(journal, do.FenceTables), place(journal, do.OpenTables)
    for done in range(count):
        known = after(journal, done)
        # The next step may be done, too.
        for applied in (done, done + 1):
            assert stale_reason(known, fences(journal, applied), undoes=False) == ""
        # Steps of this process are no sign of another one, also where undo() is refused.
        assert stale_reason(known, fences(journal, done), undoes=True) == ""
        if done <= opened:
            assert "server accepts writes" in stale_reason(known, complete, undoes=True)
        if done < opened:
            assert "server accepts writes" in stale_reason(known, complete, undoes=False)
        if done > fenced:
            # The others may have moved the clients back since: both servers would accept writes.
            later = {node: complete[OTHER[node]] for node in complete}
            for undoes in (False, True):
                assert "server accepts writes" in stale_reason(known, later, undoes=undoes)
        assert stale_reason(known, {"old": None, "new": None}, undoes=True) == ""


@pytest.mark.parametrize("journal", MOVES, ids=lambda journal: journal.operation)
def test_a_journal_is_stale_once_another_run_has_fenced_a_server(journal: Journal) -> None:
    fenced, opened = place(journal, do.FenceTables), place(journal, do.OpenTables)
    source, target = ends(journal)
    for done in range(len(journal.steps)):
        for undoes in (False, True) if done <= opened else (False,):
            known, found = after(journal, done), fences(journal, done)
            # It has perhaps not applied everything, as this one had.
            again = {**found, source: FenceFunction(True, "theirs")}
            assert source in stale_reason(known, again, undoes=undoes)
            # Its source has rows that are not applied yet, or its clients must not be refused.
            back = {**found, target: FenceFunction(True, "theirs")}
            assert target in stale_reason(known, back, undoes=undoes)
            # By hand, after what could have been written: before that, it is fenced again.
            by_hand = {**found, source: FenceFunction(True)}
            assert (source in stale_reason(known, by_hand, undoes=undoes)) == (done > fenced)


@pytest.mark.parametrize("journal", JOURNALS, ids=lambda journal: journal.operation)
def test_a_move_that_has_not_begun_to_fence_leaves_the_fence_of_another_run(
    journal: Journal,
) -> None:
    source, target = ends(journal)
    fences = ("before", "") if target == "old" else ("", "before")
    known = attrs.evolve(after(journal, place(journal, do.FenceTables)), fences=fences)
    before = {source: FenceFunction(False), target: FenceFunction(True, "before")}
    for undoes in (False, True):
        assert stale_reason(known, before, undoes=undoes) == ""
        found = {**before, source: FenceFunction(True, "theirs")}
        assert source in stale_reason(known, found, undoes=undoes)


@pytest.mark.parametrize("undoes", [False, True])
def test_a_preparation_is_stale_once_another_run_has_fenced_a_server(undoes: bool) -> None:
    fenced = place(PREPARE, do.FenceTables)
    step = PREPARE.steps[fenced]
    assert isinstance(step, do.FenceTables)
    begun = attrs.evolve(step, identity="mine")
    steps = (*PREPARE.steps[:fenced], begun, *PREPARE.steps[fenced + 1 :])
    # A preparation that was given up before has left its fence.
    unbegun = attrs.evolve(PREPARE, fences=("", "left"))
    looked_at = attrs.evolve(unbegun, steps=steps)
    for journal, own in (
        (unbegun, {"left"}),
        (after(looked_at, fenced), {"left", "mine"}),
        (after(looked_at, fenced + 1), {"mine"}),
        (after(looked_at, len(steps) - 1), {"mine"}),
    ):
        for identity in ("left", "mine", "theirs", ""):
            found = {"old": FenceFunction(False), "new": FenceFunction(True, identity)}
            is_stale = "new" in stale_reason(journal, found, undoes=undoes)
            assert is_stale == (identity not in own)
        cut_over = {"old": FenceFunction(True, "theirs"), "new": FenceFunction(False)}
        assert "fence of the old server" in stale_reason(journal, cut_over, undoes=undoes)


@pytest.mark.parametrize("undoes", [False, True])
@pytest.mark.parametrize(
    ("before", "later"),
    [
        # Given up, and prepared again, cut over, or cut over and rolled back.
        (("", "a"), (None, "b")),
        (("", "a"), ("b", None)),
        (("", "a"), (None, "c")),
        # Ended, and prepared again without the fence of the old server, or rolled back.
        (("b", ""), (None, "c")),
    ],
)
def test_an_end_is_stale_once_a_server_has_a_fence_of_another_run(
    before: tuple[str, str], later: tuple[str | None, str | None], undoes: bool
) -> None:
    journal = attrs.evolve(finish_journal(NAMES, [*GROUPS], back=["shop_1_back"]), fences=before)

    def found(*identities: str | None) -> dict[str, FenceFunction | None]:
        pairs = zip(("old", "new"), identities, strict=True)
        return {node: FenceFunction(bool(one), one or "") for node, one in pairs}

    for done in range(len(journal.steps)):
        known = after(journal, done)
        for fences in (found(*before), found(None, None)):
            # The fence that is left may be removed at any time.
            assert stale_reason(known, fences, undoes=undoes) == ""
        assert "of another run" in stale_reason(known, found(*later), undoes=undoes)


def test_a_stale_journal_is_refused_with_the_servers_that_accept_writes_now() -> None:
    is_open, is_fenced = FenceFunction(False), FenceFunction(True)
    for old, new, wanted in (
        (is_open, is_fenced, "now the old server accepts writes"),
        (is_open, is_open, "now the old server and the new server accept writes"),
        (is_fenced, None, "no server that answers accepts writes now"),
    ):
        assert accepting({"old": old, "new": new}) == wanted


@pytest.mark.parametrize("journal", [*JOURNALS, PREPARE], ids=lambda journal: journal.operation)
def test_subscriptions_and_slots_are_verified_until_the_server_is_opened(journal: Journal) -> None:
    kinds = [type(step) for step in journal.steps]
    for done in range(len(kinds) + 1):
        wanted = []
        if journal is not PREPARE and done <= place(journal, do.OpenTables):
            lasting = (do.StopSubscriptions, do.MakeBackSlots)
            wanted = [step for step in journal.steps[:done] if isinstance(step, lasting)]
        assert lasting_steps(after(journal, done)) == wanted


def test_a_clone_is_stale_unless_its_publications_have_its_identities() -> None:
    groups = [TableGroup(tables=(TableName("public", name),), bytes=1) for name in "ab"]
    planned = clone_journal(NAMES, groups, directory="/d", copy="/d.copy", transfer="link")
    first, second, *others = planned.steps
    assert isinstance(first, do.PublishTables)
    assert isinstance(second, do.PublishTables)
    begun = (attrs.evolve(first, identity="1"), attrs.evolve(second, identity="2"), *others)
    journal = attrs.evolve(planned, steps=begun)
    mine: dict[str, KeptSchema | None] = {
        first.publication: KeptSchema(identity="1"),
        second.publication: KeptSchema(identity="2"),
    }
    of_another = f"the publication {first.publication} of the old server is of another run"
    without = KeptSchema()
    of_rows: dict[str, KeptSchema | None] = dict.fromkeys(mine, without)
    for done in range(len(journal.steps) + 1):
        assert stale_publication(after(journal, done), mine) == ""
        # Undo drops the first publication last: without it nothing of the clone is left.
        missing = {**mine, first.publication: None}
        assert bool(stale_publication(after(journal, done), missing)) == (done > 0)
        for kept in (KeptSchema(identity="3"), without):
            other = {**mine, first.publication: kept}
            assert stale_publication(after(journal, done), other) == of_another
    # The next one may not exist yet.
    assert stale_publication(after(journal, 1), {**mine, second.publication: None}) == ""
    assert stale_publication(after(journal, 1), {**mine, second.publication: without}) != ""
    # Before a clone is begun, no publication is its own.
    assert stale_publication(planned, dict.fromkeys(mine)) == ""
    assert stale_publication(planned, of_rows) == of_another
    assert [step.unbegun() for step in begun] == [*planned.steps]
