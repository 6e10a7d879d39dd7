"""Stamped statements: they write a row only if it is newer than the subscriber's.

The stamp of a row is the commit time, and the rank of the origin, of the transaction that wrote it:
its xmin. A row that was never written by a known commit has no stamp, and any change replaces it;
so does a change of the same transaction, whose commit time is not known yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial

import attrs

from pgreplkit._text import quote_identifier
from pgreplkit.apply.shape import Match, Written
from pgreplkit.apply.stampedsets import StampedSets, fixed_names
from pgreplkit.apply.statements import Kind, Parameters, Statement, declared, equals, insert_sql
from pgreplkit.catalog.logical.keytypes import as_stored, whole_type
from pgreplkit.catalog.logical.tombstones import key_json
from pgreplkit.errors import SchemaMismatch
from pgreplkit.plans.logical.applying import ConflictKind
from pgreplkit.values.tablename import TableName

_DELETED, _MISSING, _OTHER = b"d", b"m", b"o"
"""The columns that a statement returns: if its row was deleted later; if there was none; if an
inserted row existed, or an updated one did not. NULL if all was as expected, and no row if the
change is stale."""


@attrs.frozen
class Stamps:
    """The rank of the changes of one publisher; None if rows decide between equal times."""

    rank: int | None
    by_time: bool = True
    """Whether commit times decide, and deletions are remembered; otherwise the ranks alone do."""
    deltas: Mapping[TableName, tuple[str, ...]] = {}
    """Columns of the subscriber's tables to which differences are added."""


def stamped_key(match: Match) -> tuple[Written, ...]:
    """Return the columns of the key by which the subscriber's deletions are remembered.

    Raises: SchemaMismatch if the publisher's replica identity is another one.
    """
    by_name = {one.column.name: one for one in match.key}
    key = match.target.primary_key
    # A tombstone is found by the primary key; with another key, one row would have two names.
    if not key or {*key} != {*by_name}:
        found = f"the subscriber's key is ({', '.join(key)})" if key else "the subscriber has none"
        given = ", ".join(by_name) or "all columns"
        raise SchemaMismatch(
            str(match.source),
            (f"rows are identified by ({given}), but {found}: deletions need one key",),
        )
    return tuple(by_name[name] for name in key)


class StampedStatements:
    """Composes the statements for one table; values: the row, the constants, the commit time."""

    def __init__(self, match: Match, stamps: Stamps, name: Callable[[], bytes]) -> None:
        self._match, self._stamps, self._name = match, stamps, name
        self.key: tuple[Written, ...] = stamped_key(match)
        self._fixed: set[str] = fixed_names(self.key)
        self._table = f"{match.target.table}"
        only = "" if match.target.is_partitioned else "ONLY "
        self._only = f"{only}{self._table}"
        self._oid = "'" + self._table.replace("'", "''") + "'::regclass::oid"
        self._stamp = match.width + len(match.constants)
        self._stamp_used = {self._stamp} if stamps.by_time else set[int]()
        self._rank = "NULL::int" if stamps.rank is None else f"{stamps.rank}"

    def upsert(self, *, is_new: bool) -> Statement:
        """Return the INSERT, or the UPDATE, of a whole row."""
        match, names = self._match, self._fixed
        used = {one.position for one in match.written} | self._stamp_used
        parameters = Parameters(used, self._stamp + 1)
        changed = [
            quote_identifier(one.column.name)
            for one in match.written
            if one.column.name not in names and one.column.identity != "a"
            # A row of key columns only gets a new version too, which has the commit's time.
        ] or [quote_identifier(self.key[0].column.name)]
        sets = ", ".join(f"{column} = EXCLUDED.{column}" for column in changed)
        target = ", ".join(quote_identifier(one.column.name) for one in self.key)
        tie = self._tie("t", f"ROW({', '.join(f'EXCLUDED.{c}' for c in changed)})", changed)
        values = [parameters[one.position] for one in match.written]
        stamp = parameters[self._stamp] if self._stamps.by_time else ""
        sql = (
            f"{insert_sql(match, [values], alias='t')} ON CONFLICT ({target}) DO UPDATE SET {sets}"
            f" WHERE {self._is_older('t', parameters, tie)}"
            f" RETURNING {self._returned(stamp, is_new=is_new)}"
        )
        made = self._made(Kind.INSERT if is_new else Kind.UPDATE, sql, parameters)
        several = self._sets()
        if several is None:
            return made
        if is_new:
            return attrs.evolve(
                made,
                is_timed=True,
                several=cache(partial(several.insert, made, parameters)),
                follows=cache(partial(several.check, made)),
            )
        update = partial(several.update, made, parameters)
        return attrs.evolve(made, is_timed=True, several=cache(update))

    def _sets(self) -> StampedSets | None:
        """Return the statements for several rows, if there are any."""
        # The rows of a partitioned table have no xmin where they are written.
        if not self._stamps.by_time or self._match.target.is_partitioned:
            return None
        return StampedSets(self._match, self.key, self._oid)

    def _returned(self, stamp: str, *, is_new: bool) -> str:
        """Return the expression for the answer of an upsert."""
        answers = []
        existed = not self._match.target.is_partitioned
        if existed:
            # A row version that replaces another one has the lock of its own transaction. That one
            # was newer than the last deletion of its key, which therefore needs no look.
            answers.append("WHEN t.xmax <> 0 THEN " + ("'o'" if is_new else "NULL"))
        if self._stamps.by_time:
            answers.append(f"WHEN NOT {self._outlives(stamp)} THEN 'd'")
        if existed and not is_new:
            answers.append("ELSE 'o'")
        return f"CASE {' '.join(answers)} END" if answers else "NULL::text"

    def update(self, unsent: frozenset[int]) -> Statement:
        """Return the UPDATE of a row some of whose values were not sent."""
        match, names = self._match, self._fixed
        changed = [
            one
            for one in match.written
            if one.position not in unsent
            and one.column.identity != "a"
            and one.column.name not in names
        ]
        used = {one.position for one in (*changed, *self.key)} | self._stamp_used
        parameters = Parameters(used, self._stamp + 1)
        column = quote_identifier(self.key[0].column.name)
        sets = [
            f"{quote_identifier(one.column.name)} = {parameters[one.position]}" for one in changed
        ] or [f"{column} = t.{column}"]
        sql = (
            f"WITH gone AS (UPDATE {self._only} AS t SET {', '.join(sets)}"
            f" WHERE {self._where(parameters)}"
            f" AND {self._is_older('t', parameters, self._tie('t', None, []))}"
            f" RETURNING 1){self._answer(parameters)}"
        )
        return self._made(Kind.UPDATE, sql, parameters)

    def delete(self) -> Statement:
        """Return the DELETE of a row, which leaves a tombstone; values: the old row, …"""
        used = {one.position for one in self.key} | self._stamp_used
        parameters = Parameters(used, self._stamp + 1)
        values = ", ".join(as_stored(one.column, parameters[one.position]) for one in self.key)
        # The row is locked before the tombstone, as by a trigger.
        sql = (
            f"WITH gone AS (DELETE FROM {self._only} AS t WHERE {self._where(parameters)}"
            f" AND {self._is_older('t', parameters, self._tie('t', None, []))} RETURNING 1)"
        )
        if self._stamps.by_time:
            sql += (
                ", buried AS (INSERT INTO pgreplkit.tombstone AS d (relation, key, is_late)"
                f" SELECT {self._oid}, jsonb_build_array({values}), NOT EXISTS (SELECT FROM gone)"
                " ON CONFLICT (relation, key) DO UPDATE SET xid = EXCLUDED.xid,"
                " is_late = EXCLUDED.is_late"
                f" WHERE {self._is_older('d', parameters, self._tie('d', None, []))})"
            )
        made = self._made(Kind.DELETE, sql + self._answer(parameters), parameters)
        several = self._sets()
        if several is None:
            return made
        delete = partial(several.delete, made, parameters)
        return attrs.evolve(made, is_timed=True, several=cache(delete))

    def sweep(self) -> Statement | None:
        """Return the deletion of rows that were inserted while an older deletion found none.

        It is repeated until every transaction that ran during the deletion has ended: it returns
        no row then. None if deletions are not remembered.
        """
        if not self._stamps.by_time:
            return None
        place = " AND ".join(
            equals(one, f"(d.key->>{at})::{whole_type(one.column)}")
            for at, one in enumerate(self.key)
        )
        setting = f"'pgreplkit.swept_' || {self._oid}"
        horizon = "txid_snapshot_xmin(txid_current_snapshot())"
        sql = (
            f"WITH swept AS (DELETE FROM {self._only} AS t USING pgreplkit.tombstone AS d"
            f" WHERE d.relation = {self._oid} AND d.is_late AND d.xid < {horizon}"
            f" AND d.xid >= coalesce(current_setting({setting}, true), '0')::bigint"
            f" AND {place} AND t.xmin <> d.xmin AND {self._is_dead()} RETURNING 1)"
            f" SELECT NULL::text, set_config({setting}, {horizon}::text, false)"
            f" WHERE EXISTS (SELECT FROM pgreplkit.tombstone AS d WHERE d.relation = {self._oid}"
            f" AND d.is_late AND d.xid >= {horizon})"
        )
        return Statement(Kind.DELETE, str(self._match.source), self._name(), sql, ())

    def _is_dead(self) -> str:
        """Return the condition that a row ``t`` is older than a deletion ``d``."""
        rank = "pgreplkit.rank_of(t.xmin) < pgreplkit.rank_of(d.xmin)"
        # Without ranks a deletion wins against a row of the same time.
        tie = "true" if self._stamps.rank is None else rank
        return (
            "(pg_xact_commit_timestamp(t.xmin) < pg_xact_commit_timestamp(d.xmin)"
            f" OR pg_xact_commit_timestamp(t.xmin) = pg_xact_commit_timestamp(d.xmin) AND {tie})"
        )

    def _outlives(self, stamp: str) -> str:
        """Return the condition that a row that was just written is newer than its deletion."""
        place = " AND ".join(
            equals(one, f"($1->>{at})::{whole_type(one.column)}") for at, one in enumerate(self.key)
        )
        # A row that is inserted under a newer tombstone is removed in the same statement: in
        # between, no other session can see it.
        undo = f"DELETE FROM {self._only} AS t WHERE {place}".replace("'", "''")
        return f"pgreplkit.outlives({self._oid}, {self._key('t')}, {stamp}, {self._rank}, '{undo}')"

    def _answer(self, parameters: Parameters) -> str:
        return (
            " SELECT NULL::text FROM gone UNION ALL SELECT 'm' WHERE NOT EXISTS (SELECT FROM gone)"
            f" AND NOT EXISTS (SELECT FROM {self._only} AS t WHERE {self._where(parameters)})"
        )

    def _key(self, row: str) -> str:
        return key_json([one.column.name for one in self.key], row)

    def _where(self, parameters: Parameters) -> str:
        return " AND ".join(equals(one, parameters[one.position]) for one in self.key)

    def _is_older(self, row: str, parameters: Parameters, tie: str) -> str:
        time = f"pg_xact_commit_timestamp({row}.xmin)"
        if not self._stamps.by_time:
            return f"({time} IS NULL OR {tie})"
        stamp = parameters[self._stamp]
        return f"(coalesce({time} < {stamp}, true) OR {time} = {stamp} AND {tie})"

    def _tie(self, row: str, new: str | None, columns: list[str]) -> str:
        """Return the condition for the case that both commits have the same time."""
        if self._stamps.rank is not None:
            return f"pgreplkit.rank_of({row}.xmin) <= {self._stamps.rank}"
        if new is None:
            # A deletion wins.
            return "true"
        old = f"ROW({', '.join(f'{row}.{column}' for column in columns)})"
        return f'{old}::text COLLATE "C" <= {new}::text'

    def _made(self, kind: Kind, sql: str, parameters: Parameters, shift: int = 0) -> Statement:
        return Statement(
            kind,
            str(self._match.source),
            self._name(),
            sql,
            parameters.picks,
            needs_row=True,
            key=parameters.of([(one, one.position + shift) for one in self.key]),
            is_stamped=True,
            types=declared(self._match, parameters, shift),
        )


_STALE = {
    Kind.INSERT: ConflictKind.INSERT_EXISTS,
    Kind.UPDATE: ConflictKind.UPDATE_ORIGIN_DIFFERS,
    Kind.DELETE: ConflictKind.DELETE_ORIGIN_DIFFERS,
}
_DELETED_LATER = {
    Kind.INSERT: ConflictKind.INSERT_DELETED,
    Kind.UPDATE: ConflictKind.UPDATE_DELETED,
}
_ABSENT = {Kind.UPDATE: ConflictKind.UPDATE_MISSING, Kind.DELETE: ConflictKind.DELETE_MISSING}
_UNEXPECTED = {Kind.INSERT: ConflictKind.INSERT_EXISTS, Kind.UPDATE: ConflictKind.UPDATE_MISSING}


def conflict_of(kind: Kind, answer: bytes | None) -> tuple[ConflictKind, bool]:
    """Return the conflict that a statement met, and whether its change was applied."""
    if answer == _OTHER:
        return _UNEXPECTED[kind], True
    kinds = {_DELETED: _DELETED_LATER, _MISSING: _ABSENT}.get(answer or b"", _STALE)
    return kinds[kind], False
