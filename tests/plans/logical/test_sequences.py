"""The values to which a subscriber's sequences are set, so that none is returned twice."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given, strategies as st
from logicalfacts import sequence

from pgreplkit import TableName
from pgreplkit.plans.logical.sequences import SequenceChange, sequence_changes
from pgreplkit.rows import SequenceState, Severity


def change(
    source: SequenceState, target: SequenceState | None, *, margin: int = 0
) -> SequenceChange:
    [found] = sequence_changes(
        {source.name: source}, {} if target is None else {source.name: target}, margin=margin
    )
    return found


def test_a_sequence_that_is_behind_is_set_to_the_publishers_position() -> None:
    found = change(sequence(last_value=100), sequence(last_value=7))
    assert (found.last_value, found.is_called, found.findings) == (100, True, ())
    assert found.sql == "SELECT setval('public.numbers', 100, true)"


def test_a_sequence_that_was_never_used_stays_so() -> None:
    fresh = sequence(last_value=1, is_called=False)
    assert change(fresh, fresh).sql == ""
    unused = sequence(last_value=5, is_called=False)
    found = change(unused, fresh)
    assert (found.last_value, found.is_called) == (5, False)
    # With a margin the next value is the one after it.
    assert change(unused, fresh, margin=10).is_called is True


def test_the_name_is_quoted_in_the_statement() -> None:
    odd = sequence("It's", last_value=5)
    assert "setval('public.\"It''s\"', 5, true)" in change(odd, sequence("It's", last_value=1)).sql


def test_a_missing_sequence_is_critical_and_not_set() -> None:
    found = change(sequence(), None)
    assert (found.last_value, found.is_called, found.sql) == (None, None, "")
    assert [finding.severity for finding in found.findings] == [Severity.CRITICAL]


@pytest.mark.parametrize(
    ("changed", "severity"),
    [
        ({"data_type": "integer"}, Severity.WARNING),
        ({"minimum": -5}, Severity.WARNING),
        ({"maximum": 1000}, Severity.WARNING),
        ({"increment": 2}, Severity.WARNING),
        ({"increment": -1}, Severity.CRITICAL),
        ({"cycle": True}, Severity.WARNING),
        ({"cache": 50}, None),
        ({"start": 3}, None),
    ],
)
def test_a_different_definition_is_reported(
    changed: dict[str, Any], severity: Severity | None
) -> None:
    found = change(sequence(), sequence(**changed))
    assert [finding.severity for finding in found.findings] == [severity] * bool(severity)


@pytest.mark.parametrize(("cycle", "what"), [(True, "repeats"), (False, "fails")])
def test_a_position_past_the_subscribers_limit_is_critical(cycle: bool, what: str) -> None:
    source = sequence(last_value=900, maximum=1000, cycle=cycle)
    found = change(source, sequence(last_value=1, maximum=1000, cycle=cycle), margin=200)
    [finding] = found.findings
    assert finding.severity is Severity.CRITICAL
    assert what in finding.found
    assert found.last_value == 1000


def test_a_sequence_of_the_opposite_direction_is_never_ahead() -> None:
    assert change(sequence(last_value=100), sequence(last_value=5000, increment=-1)).sql


def test_changes_are_ordered_by_name() -> None:
    sources = {s.name: s for s in (sequence("b"), sequence("a"))}
    assert [one.name.name for one in sequence_changes(sources, sources, margin=0)] == ["a", "b"]
    assert sequence_changes({}, {TableName("public", "a"): sequence("a")}, margin=0) == ()


@given(
    increment=st.integers(-20, 20).filter(bool),
    source_value=st.integers(-10_000, 10_000),
    target_value=st.integers(-10_000, 10_000),
    called=st.tuples(st.booleans(), st.booleans()),
    margin=st.integers(0, 1000),
)
def test_the_next_value_is_one_that_neither_side_has_returned(
    increment: int,
    source_value: int,
    target_value: int,
    called: tuple[bool, bool],
    margin: int,
) -> None:
    limits: dict[str, Any] = {"increment": increment, "minimum": -(1 << 40), "maximum": 1 << 40}
    source = sequence(last_value=source_value, is_called=called[0], **limits)
    target = sequence(last_value=target_value, is_called=called[1], **limits)
    found = change(source, target, margin=margin)
    assert found.findings == ()
    after = target
    if found.sql:
        after = sequence(last_value=found.last_value, is_called=found.is_called, **limits)
    way = 1 if increment > 0 else -1
    # The publisher may return ``margin`` values more before it stops.
    assert after.next_value * way >= (source.next_value + margin * increment) * way
    assert after.next_value * way >= target.next_value * way
    assert change(source, after, margin=margin).sql == ""


@given(st.integers(1, 50), st.integers(1, 50), st.integers(0, 20))
def test_a_change_stays_within_the_subscribers_limits(last: int, maximum: int, margin: int) -> None:
    assume(last > 1)
    found = change(
        sequence(last_value=last), sequence(last_value=1, maximum=maximum), margin=margin
    )
    if found.last_value is not None:
        assert 1 <= found.last_value <= maximum
    is_past = last + margin > maximum
    assert any(finding.severity is Severity.CRITICAL for finding in found.findings) is is_past
