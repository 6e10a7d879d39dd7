"""Rows that are changed one after the other, by one statement."""

from __future__ import annotations

from itertools import count

from applyfacts import OWN, USERS, dumped
from hypothesis import given, strategies as st

from pgreplkit.apply import TableRule
from pgreplkit.apply.batches import Batch
from pgreplkit.apply.shape import match
from pgreplkit.apply.stamped import StampedStatements, Stamps
from pgreplkit.apply.statements import Statement, Statements
from pgreplkit.apply.tableplans import Step
from pgreplkit.protocol.pgoutput.tuples import BINARY, TEXT

NUMBERS = map(b"s%d".__mod__, count(1))
MATCH = match(USERS, OWN, TableRule(), dumped)
STATEMENTS = Statements(MATCH, lambda: next(NUMBERS))
INSERT, OTHER = STATEMENTS.insert(), STATEMENTS.insert()
DELETE = STATEMENTS.delete()


def row(number: int) -> tuple[list[bytes | None], list[int]]:
    return [b"%d" % number, None, b"n"], [TEXT, TEXT, number]


@given(st.lists(st.sampled_from([INSERT, OTHER, DELETE]), max_size=9), st.integers(1, 450))
def test_every_row_is_sent_once_and_in_its_order(runs: list[Statement], length: int) -> None:
    given_steps = [
        (statement, *row(at * 1000 + place))
        for at, statement in enumerate(runs)
        for place in range(length if statement is not DELETE else 1)
    ]
    batch, sent = Batch(), list[Step]()
    for step in given_steps:
        if batch.takes(step):
            continue
        sent += batch.steps()
        if not batch.takes(step):
            sent.append(step)
    sent += batch.steps()
    assert not batch
    assert [value for step in sent for value in step[1]] == [
        value for step in given_steps for value in step[1]
    ]
    assert [how for step in sent for how in step[2]] == [how for s in given_steps for how in s[2]]
    assert all(len(step[1]) <= 600 for step in sent)


def test_several_rows_are_one_statement_with_a_name_of_its_own() -> None:
    batch = Batch()
    for number in range(7):
        assert batch.takes((INSERT, *row(number)))
    sent = [*batch.steps()]
    assert [len(values) for _, values, _ in sent] == [12, 6, 3]
    assert [statement.name for statement, _, _ in sent] == [b"s1_4", b"s1_2", b"s1"]
    assert sent[1][0].sql == (
        'INSERT INTO public.t ("id", "name", "n") VALUES ($1, $2, $3), ($4, $5, $6)'
    )
    assert not batch.takes((DELETE, [b"1"], [TEXT]))


def sizes_of(batch: Batch, number: int) -> list[int]:
    """Return the numbers of rows of the statements for a batch."""
    for at in range(number):
        assert batch.takes((INSERT, *row(at)))
    steps = [*batch.steps()]
    assert [value for _, values, _ in steps for value in values[::3]] == [
        b"%d" % at for at in range(number)
    ]
    return [len(values) // 3 for _, values, _ in steps]


def test_a_number_of_rows_that_comes_often_gets_a_statement_of_its_own() -> None:
    batch = Batch()
    assert [sizes_of(batch, 7) for _ in range(8)] == [[4, 2, 1]] * 8
    assert sizes_of(batch, 7) == [7]
    assert sizes_of(batch, 6) == [4, 2]


def test_few_numbers_of_rows_get_statements_of_their_own() -> None:
    batch = Batch()
    for number in range(3, 70):
        for _ in range(9):
            sizes_of(batch, number)
    known = {number for number in range(3, 70) if sizes_of(batch, number) == [number]}
    powers = {4, 8, 16, 32, 64}
    assert len(known - powers) <= 4


@given(st.lists(st.sampled_from([3, 5, 6, 7, 9, 13]), max_size=80))
def test_every_row_is_sent_once_whatever_numbers_are_usual(numbers: list[int]) -> None:
    batch = Batch()
    for number in numbers:
        assert sum(sizes_of(batch, number)) == number


SETS = Statements(match(USERS, OWN, TableRule(), dumped), lambda: next(NUMBERS), sets=True)
UPDATE = SETS.update(has_old=False)


@given(st.lists(st.integers(0, 30), max_size=60))
def test_a_set_has_each_key_once_and_rows_stay_in_their_order(keys: list[int]) -> None:
    batch, sent = Batch(), list[Step]()
    for key in keys:
        step = UPDATE, *row(key)
        if not batch.takes(step):
            sent += batch.steps()
            assert batch.takes(step)
    sent += batch.steps()
    found = [[*values[::3]] for _, values, _ in sent]
    assert [key for each in found for key in each] == [b"%d" % key for key in keys]
    assert all(len({*each}) == len(each) for each in found)
    # Also a set of one row fails if the row is missing.
    assert all(statement.types for statement, _, _ in sent)


def test_rows_with_a_commit_time_share_it_and_keys_follow_their_insertion() -> None:
    stamped = StampedStatements(MATCH, Stamps(1), lambda: next(NUMBERS))
    insert, delete = stamped.upsert(is_new=True), stamped.delete()
    batch = Batch()
    for number in (1, 2):
        values, formats = row(number)
        assert batch.takes((insert, [*values, b"time"], [*formats, BINARY]))
    assert [(values, formats) for _, values, formats in batch.steps()] == [
        ([b"1", None, b"n", b"2", None, b"n"], [TEXT, TEXT, 1, TEXT, TEXT, 2]),
        ([b"1", b"2", b"time"], [TEXT, TEXT, BINARY]),
    ]
    assert batch.takes((delete, [b"1", b"time"], [TEXT, BINARY]))
    assert not batch.takes((delete, [b"1", b"time"], [TEXT, BINARY]))
    [(statement, deleted, hows)] = batch.steps()
    # Alone it fails too, if it does not win.
    assert statement.sql.endswith("SELECT 1 / (count(*) = 1)::int FROM gone")
    assert (deleted, hows) == ([b"1", b"time"], [TEXT, BINARY])
