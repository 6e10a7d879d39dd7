"""StampedSets: statements for several changes that are all expected to win.

They decide nothing: if one of the changes meets a conflict, the statement fails, and the
transaction is applied again change by change, by the statements that compare and decide.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from pgreplkit._text import quote_identifier
from pgreplkit.apply.shape import Match, Written
from pgreplkit.apply.statements import TIMESTAMPTZ, Parameters, Statement, equals, insert_sql
from pgreplkit.catalog.logical.keytypes import has_spellings
from pgreplkit.catalog.logical.tombstones import key_json


def fixed_names(key: Sequence[Written]) -> set[str]:
    """Return the columns of a key that no update of the row changes.

    A number can have another spelling, as 1.00 for 1.0, which is a value of the later update.
    """
    return {each.column.name for each in key if not has_spellings(each.column)}


class StampedSets:
    """Composes the statements that apply the changes of several rows at once."""

    def __init__(self, match: Match, key: Sequence[Written], oid: str) -> None:
        self._match, self._key, self._oid = match, key, oid
        self._only = f"ONLY {match.target.table}"

    def insert(self, one: Statement, parameters: Parameters, rows: int) -> Statement:
        """Return the INSERT of rows that do not exist."""
        match, width = self._match, parameters.width - 1
        values = [
            [f"${parameters.place(each.position) + 1 + row * width}" for each in match.written]
            for row in range(rows)
        ]
        # Without the commit time, which is the last one.
        types = one.types[:-1] * rows
        return self._several(
            one, b"i", insert_sql(match, values), rows, is_timed=False, types=types
        )

    def check(self, one: Statement, rows: int) -> Statement:
        """Return the query for deletions that are not older than rows that were just inserted.

        As a statement of its own it sees a deletion for whose end the INSERT has waited.
        """
        width, types = len(self._key), [each.column.type for each in self._key]
        keys = ", ".join(
            "jsonb_build_array("
            + ", ".join(f"${row * width + at + 1}::{types[at]}" for at in range(width))
            + ")"
            for row in range(rows)
        )
        sql = (
            "SELECT 1 / (NOT EXISTS (SELECT FROM pgreplkit.tombstone AS d"
            f" WHERE d.relation = {self._oid} AND d.key = ANY (ARRAY[{keys}])"
            f" AND pg_xact_commit_timestamp(d.xmin) >= ${rows * width + 1}))::int"
        )
        return self._several(one, b"c", sql, rows, is_timed=True)

    def update(self, one: Statement, parameters: Parameters, rows: int) -> Statement:
        """Return the UPDATE of rows that are older."""
        names = fixed_names(self._key)
        changed = [
            each
            for each in self._match.written
            if each.column.name not in names and each.column.identity != "a"
        ]
        sets = (
            ", ".join(
                f"{quote_identifier(each.column.name)} = v.{parameters.column(each.position)}"
                for each in changed
            )
            or self._same()
        )
        source, types = self._source(parameters, self._match.written, rows)
        sql = (
            f"WITH changed AS (UPDATE {self._only} AS t SET {sets} FROM {source}"
            f" WHERE {self._place(parameters)} AND {self._is_older('t', types)} RETURNING 1)"
            f" SELECT 1 / (count(*) = {rows})::int FROM changed"
        )
        return self._several(one, b"u", sql, rows, is_timed=True, types=types)

    def delete(self, one: Statement, parameters: Parameters, rows: int) -> Statement:
        """Return the DELETE of rows that are older, which leaves tombstones."""
        source, types = self._source(parameters, self._key, rows)
        key = key_json([each.column.name for each in self._key], "t")
        sql = (
            f"WITH gone AS (DELETE FROM {self._only} AS t USING {source}"
            f" WHERE {self._place(parameters)} AND {self._is_older('t', types)}"
            f" RETURNING {key} AS key), buried AS (INSERT INTO pgreplkit.tombstone AS d"
            f" (relation, key) SELECT {self._oid}, key FROM gone ON CONFLICT (relation, key)"
            " DO UPDATE SET xid = EXCLUDED.xid, is_late = EXCLUDED.is_late"
            f" WHERE {self._is_older('d', types)})"
            f" SELECT 1 / (count(*) = {rows})::int FROM gone"
        )
        return self._several(one, b"d", sql, rows, is_timed=True, types=types)

    def _same(self) -> str:
        column = quote_identifier(self._key[0].column.name)
        return f"{column} = t.{column}"

    def _source(
        self, parameters: Parameters, columns: Sequence[Written], rows: int
    ) -> tuple[str, tuple[int, ...]]:
        """Return the list of rows, and the types of all parameters."""
        ordered = sorted(columns, key=lambda each: each.position)
        width = len(ordered)
        lists = ", ".join(
            "(" + ", ".join(f"${row * width + at + 1}" for at in range(width)) + ")"
            for row in range(rows)
        )
        names = ", ".join(parameters.column(each.position) for each in ordered)
        types = tuple(each.column.type_oid for each in ordered) * rows
        return f"(VALUES {lists}) AS v ({names})", (*types, TIMESTAMPTZ)

    def _place(self, parameters: Parameters) -> str:
        return " AND ".join(
            equals(each, f"v.{parameters.column(each.position)}") for each in self._key
        )

    @staticmethod
    def _is_older(row: str, types: Sequence[int]) -> str:
        # The time is the last parameter. An equal one is not decided here.
        return f"coalesce(pg_xact_commit_timestamp({row}.xmin) < ${len(types)}, true)"

    @staticmethod
    def _several(
        one: Statement,
        kind: bytes,
        sql: str,
        rows: int,
        *,
        is_timed: bool,
        types: tuple[int, ...] = (),
    ) -> Statement:
        return attrs.evolve(
            one,
            name=b"%b_%b%d" % (one.name, kind, rows),
            sql=sql,
            needs_row=False,
            is_stamped=False,
            is_timed=is_timed,
            types=types,
        )
