"""Notes of a pipeline: all are counted, and few are kept."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, strategies as st

from pgreplkit.apply.notes import Notes

STATEMENTS = st.sampled_from(["update", "delete"])
ANSWERS = st.sampled_from([None, b"t"])
RUNS = st.lists(st.tuples(STATEMENTS, ANSWERS, st.integers(1, 250)), max_size=8)


@given(RUNS)
def test_notes_are_kept_or_counted(runs: list[tuple[str, bytes | None, int]]) -> None:
    notes, given_ones = Notes(), Counter[tuple[object, bytes | None]]()
    for statement, answer, times in runs:
        for number in range(times):
            # A step has its statement first, and values that differ.
            notes.add((statement, number), answer)
        given_ones[statement, answer] += times
    found = Counter((note[0], answer) for note, answer in notes.kept if isinstance(note, tuple))
    assert all(number <= 100 for number in found.values())
    for place, number in notes.unkept():
        assert found[place] == 100
        found[place] += number
    assert found == given_ones


def test_a_note_that_is_no_step_is_its_own_statement() -> None:
    notes = Notes()
    notes.add("flush", None)
    assert notes.kept == [("flush", None)]
    assert [*notes.unkept()] == []
