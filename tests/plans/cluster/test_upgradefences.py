"""The servers that must refuse writes while an operation of an upgrade is not complete."""

from __future__ import annotations

import attrs
import pytest
from upgradefacts import GROUPS, JOURNALS, NAMES, NOW

from pgreplkit.plans.cluster import upgradesteps as do
from pgreplkit.plans.cluster.journal import Journal, StepResult
from pgreplkit.plans.cluster.upgrade import TableGroup, finish_journal, prepare_journal
from pgreplkit.plans.cluster.upgradefences import must_be_fenced, unfenced_remedy
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
