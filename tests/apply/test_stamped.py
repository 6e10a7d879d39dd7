"""Statements that compare versions, and what their answers mean."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest
from applyfacts import OWN, TEXT, USERS, column, dumped, target

from pgreplkit.apply import ConflictKind, TableRule
from pgreplkit.apply.shape import Match, match
from pgreplkit.apply.stamped import StampedStatements, Stamps, conflict_of
from pgreplkit.apply.statements import Kind
from pgreplkit.catalog.logical.applytables import TargetTable
from pgreplkit.errors import SchemaMismatch
from pgreplkit.protocol.pgoutput.tables import Table


def matched(table: Table = USERS, own: TargetTable = OWN) -> Match:
    return match(table, own, TableRule(), dumped)


def names() -> Callable[[], bytes]:
    numbers = count(1)
    return lambda: b"s%d" % next(numbers)


def stamped(
    rank: int | None = 2, *, by_time: bool = True, own: TargetTable = OWN
) -> StampedStatements:
    return StampedStatements(matched(own=own), Stamps(rank, by_time), names())


def test_rows_and_tombstones_are_compared_by_time_and_rank() -> None:
    upsert, delete = stamped().upsert(is_new=True), stamped().delete()
    older = (
        "(coalesce(pg_xact_commit_timestamp(t.xmin) < $4, true) OR"
        " pg_xact_commit_timestamp(t.xmin) = $4 AND pgreplkit.rank_of(t.xmin) <= 2)"
    )
    assert f'DO UPDATE SET "name" = EXCLUDED."name", "n" = EXCLUDED."n" WHERE {older}' in (
        upsert.sql
    )
    assert "pgreplkit.outlives(" in upsert.sql
    # A row that existed is newer than the last deletion of its key.
    assert "RETURNING CASE WHEN t.xmax <> 0 THEN 'o' WHEN NOT pgreplkit.outlives(" in upsert.sql
    assert upsert.sql.endswith("THEN 'd' END")
    assert upsert.picks is None
    # The key and the commit time, of the row's values.
    assert delete.picks == (0, 3)
    assert "INSERT INTO pgreplkit.tombstone" in delete.sql
    assert older.replace("$4", "$2").replace("t.xmin", "d.xmin") in delete.sql
    replace = stamped().upsert(is_new=False)
    assert "RETURNING CASE WHEN t.xmax <> 0 THEN NULL WHEN NOT pgreplkit.outlives(" in replace.sql
    assert replace.sql.endswith("THEN 'd' ELSE 'o' END")
    sweep = stamped().sweep()
    assert sweep is not None
    assert "key->>0" in sweep.sql


def test_an_update_sets_what_was_sent_of_an_older_row() -> None:
    update = stamped().update(frozenset({1}))
    assert update.picks == (0, 2, 3)
    assert 'SET "n" = $2 WHERE t."id" = $1 AND' in update.sql
    assert 'SET "id" = t."id"' in stamped().update(frozenset({1, 2})).sql


def test_without_ranks_texts_decide_and_a_deletion_wins() -> None:
    upsert, delete = stamped(None).upsert(is_new=True), stamped(None).delete()
    row, new = 'ROW(t."name", t."n")', 'ROW(EXCLUDED."name", EXCLUDED."n")'
    assert f'{row}::text COLLATE "C" <= {new}::text' in upsert.sql
    assert "pg_xact_commit_timestamp(t.xmin) = $2 AND true)" in delete.sql
    assert "NULL::int" in upsert.sql
    sweep = stamped(None).sweep()
    assert sweep is not None
    assert "rank_of" not in sweep.sql


def test_priorities_need_neither_times_nor_tombstones() -> None:
    by_rank = stamped(by_time=False)
    for statement in (
        by_rank.upsert(is_new=True),
        by_rank.update(frozenset({1})),
        by_rank.delete(),
    ):
        assert "(pg_xact_commit_timestamp(t.xmin) IS NULL OR pgreplkit.rank_of(t.xmin) <= 2)" in (
            statement.sql
        )
        assert "tombstone" not in statement.sql
        assert "outlives" not in statement.sql
        # The server would not know the type of a parameter that is not used.
        assert statement.picks is not None
        assert 3 not in statement.picks
    assert by_rank.upsert(is_new=True).sql.endswith("CASE WHEN t.xmax <> 0 THEN 'o' END")


def test_a_partitioned_table_cannot_tell_a_new_row_from_a_replaced_one() -> None:
    own = target(*OWN.columns, is_partitioned=True)
    assert "xmax" not in stamped(own=own).upsert(is_new=True).sql
    sql = stamped(own=own, by_time=False).upsert(is_new=True).sql
    assert sql.endswith("RETURNING NULL::text")
    assert "ONLY" not in stamped(own=own).delete().sql


def test_rows_without_the_subscribers_key_are_refused() -> None:
    keyless = target(*OWN.columns, keys=())
    other = target(
        column("id"), column("name", TEXT, not_null=True), column("n"), keys=(("name",),)
    )
    for own, found in ((keyless, "the subscriber has none"), (other, "key is \\(name\\)")):
        with pytest.raises(SchemaMismatch, match=found):
            stamped(own=own)


@pytest.mark.parametrize(
    ("kind", "answer", "conflict", "is_applied"),
    [
        (Kind.INSERT, None, ConflictKind.INSERT_EXISTS, False),
        (Kind.UPDATE, None, ConflictKind.UPDATE_ORIGIN_DIFFERS, False),
        (Kind.DELETE, None, ConflictKind.DELETE_ORIGIN_DIFFERS, False),
        (Kind.INSERT, b"d", ConflictKind.INSERT_DELETED, False),
        (Kind.UPDATE, b"d", ConflictKind.UPDATE_DELETED, False),
        (Kind.UPDATE, b"m", ConflictKind.UPDATE_MISSING, False),
        (Kind.DELETE, b"m", ConflictKind.DELETE_MISSING, False),
        (Kind.INSERT, b"o", ConflictKind.INSERT_EXISTS, True),
        (Kind.UPDATE, b"o", ConflictKind.UPDATE_MISSING, True),
    ],
)
def test_each_answer_is_one_conflict(
    kind: Kind, answer: bytes | None, conflict: ConflictKind, is_applied: bool
) -> None:
    assert conflict_of(kind, answer) == (conflict, is_applied)
