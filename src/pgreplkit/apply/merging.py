"""Merging: statements for rows whose conflicts a function decides."""

from __future__ import annotations

from pgreplkit._text import quote_identifier
from pgreplkit.apply.shape import Match
from pgreplkit.apply.statements import (
    FAILS_WITHOUT_ROW,
    Kind,
    Parameters,
    Statement,
    equals,
    is_same,
)
from pgreplkit.errors import SchemaMismatch

INSISTING = f"WITH done AS ({{}} RETURNING 1) {FAILS_WITHOUT_ROW}"
"""Fails if an UPDATE found no row; returns NULL otherwise. After a failure the transaction is
applied change by change, where the function can be called."""


class Merging:
    """Composes the statements for one table."""

    def __init__(self, match: Match) -> None:
        problems = []
        # Without the whole old row, a conflict could not be noticed.
        if not match.is_full:
            problems.append("MergeWith needs the whole old row, of REPLICA IDENTITY FULL")
        if not (match.key and match.is_unique):
            problems.append("MergeWith needs a unique key, by which a row is found")
        if problems:
            raise SchemaMismatch(str(match.source), tuple(problems))
        self._match = match

    def same(self, parameters: Parameters) -> str:
        """Return the condition that a row is as the old one, the first of the values."""
        return " AND ".join(
            is_same(one, parameters[one.position])
            for one in self._match.written
            if one.position < self._match.width
        )

    def local(self, name: bytes) -> Statement:
        """Return the query that locks a row, and returns its columns as texts; values: the row."""
        match = self._match
        key = {one.position for one in match.key}
        parameters = Parameters(key, match.width + len(match.constants))
        # In the order of the publisher's columns, so that its reader loads them; others are NULL.
        texts = {
            one.position: f"t.{quote_identifier(one.column.name)}::text" for one in match.written
        }
        columns = ", ".join(texts.get(at, "NULL::text") for at in range(match.width))
        where = " AND ".join(equals(one, parameters[one.position]) for one in match.key)
        only = "" if match.target.is_partitioned else "ONLY "
        sql = f"SELECT {columns} FROM {only}{match.target.table} AS t WHERE {where} FOR UPDATE"
        return Statement(Kind.UPDATE, str(match.source), name, sql, parameters.picks)
