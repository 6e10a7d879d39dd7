"""Conflicts of a transaction: all are counted, and few are kept."""

from __future__ import annotations

from hypothesis import given, strategies as st

from pgreplkit.apply.conflicts import Conflicts, met
from pgreplkit.apply.notes import Notes
from pgreplkit.apply.statements import Kind, Statement
from pgreplkit.plans.logical.applying import ConflictKind

KINDS = {
    Kind.UPDATE: ConflictKind.UPDATE_MISSING,
    Kind.DELETE: ConflictKind.DELETE_MISSING,
}
STATEMENTS = {
    kind: Statement(kind, f"public.{kind.name.lower()}s", b"s", "", None, needs_row=True)
    for kind in KINDS
}
RUNS = st.lists(st.tuples(st.sampled_from([*KINDS]), st.integers(1, 250)), max_size=6)


@given(RUNS)
def test_the_notes_of_rows_that_are_missing_are_all_counted(runs: list[tuple[Kind, int]]) -> None:
    notes, numbers = Notes(), dict.fromkeys(KINDS, 0)
    for kind, times in runs:
        for _ in range(times):
            notes.add((STATEMENTS[kind], [b"%d" % numbers[kind]], [0]), None)
            numbers[kind] += 1
    conflicts = Conflicts.of(notes)
    for kind, number in numbers.items():
        place = STATEMENTS[kind].table, KINDS[kind]
        assert conflicts.numbers[place] == number
        kept = [one for one in conflicts.kept if one.place == place]
        # The first ones, which have their rows.
        assert [one.step[1] for one in kept] == [[b"%d" % n] for n in range(min(number, 100))]
    tables = [STATEMENTS[Kind.DELETE].table] if numbers[Kind.DELETE] else []
    assert [*conflicts.tables_of_missing] == tables


def test_a_conflict_that_was_added_is_kept_within_the_rate() -> None:
    conflicts, conflict = Conflicts(), met((STATEMENTS[Kind.UPDATE], [b"1"], [0]), None)
    assert conflict.resolution == "skipped"
    for _ in range(101):
        conflicts.add(conflict)
    assert conflicts.numbers == {conflict.place: 101}
    assert len(conflicts.kept) == 100
