"""Delta statements: they add the differences of some columns, whatever was committed last.

The later commit still wins the other columns. A change that loses them writes the row, whose xmin
then has the time of the loser: the stamp of the winner is kept in pgreplkit.stamp, and is valid
as long as that row version exists.

Three statements apply a change, since each of them sees what was committed before it began: the
first waits for the row, the second compares versions, and the third writes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pgreplkit._text import quote_identifier
from pgreplkit.apply.shape import Match, Written
from pgreplkit.apply.stamped import StampedStatements, Stamps
from pgreplkit.apply.statements import Kind, Parameters, Statement, declared, insert_sql
from pgreplkit.errors import SchemaMismatch
from pgreplkit.plans.logical.deltacolumns import INTEGERS, delta_problems

_FOUND, _WINS = "current_setting('pgreplkit.found')", "current_setting('pgreplkit.wins')::boolean"
"""The xmin of the row to which the change was compared, empty if there was none; and whether it is
older than the change."""
NAN_FOUND = "NaN has no difference"
"""The text of the subscriber's error for such a value."""
_XID = "(txid_current() % 4294967296)::text::xid"


def insist_on_differences(match: Match, names: Sequence[str]) -> None:
    """Check that differences can be added to columns of the subscriber's table.

    Raises: SchemaMismatch.
    """
    problems = [*delta_problems(match.target, names)]
    if names and not match.is_full:
        problems.append("delta columns need the whole old row, of REPLICA IDENTITY FULL")
    sent = {one.column.name for one in match.written if one.position < match.width}
    problems += [f"the column {own!r} is not published" for own in names if own not in sent]
    if problems:
        raise SchemaMismatch(str(match.source), tuple(problems))


class DeltaStatements(StampedStatements):
    """Composes the statements for one table with delta columns."""

    def __init__(
        self, match: Match, stamps: Stamps, names: Sequence[str], name: Callable[[], bytes]
    ) -> None:
        insist_on_differences(match, names)
        super().__init__(match, stamps, name)
        # Only one statement compares times.
        self._stamp_used = set()
        self._names = {*names}
        self.deltas: list[int] = [
            one.position for one in match.written if one.column.name in self._names
        ]
        """The positions of the columns to which differences are added."""
        keys = self._fixed
        self._others = [
            one
            for one in match.written
            if one.column.name not in self._names | keys and one.column.identity != "a"
        ]

    def hold(self) -> Statement:
        """Return the query that locks a row; values: the row, …"""
        parameters = self._parameters({one.position for one in self.key})
        sql = f"SELECT NULL::text FROM {self._only} AS t WHERE {self._where(parameters)} FOR UPDATE"
        return self._silent(sql, parameters)

    def judge(self) -> Statement:
        """Return the statement that compares versions, and keeps the local stamp if it is newer.

        Values: the row, …
        """
        compared = [] if self._has_ranks else self._others
        used = {one.position for one in (*self.key, *compared)}
        parameters = self._parameters(used | {self._stamp})
        stamp, texts = parameters[self._stamp], "NULL::text"
        tie = f"rank <= {self._rank}"
        if not self._has_ranks:
            texts = f"ROW({', '.join(self._column('t', one) for one in self._others)})::text"
            new = ", ".join(
                f"{parameters[one.position]}::{one.column.type}" for one in self._others
            )
            tie = f'texts COLLATE "C" <= ROW({new})::text'
        key = self._key("t")
        sql = (
            "WITH found AS (SELECT t.xmin AS version,"
            " coalesce(s.at, pg_xact_commit_timestamp(t.xmin)) AS at,"
            f" coalesce(s.rank, pgreplkit.rank_of(t.xmin)) AS rank, {key} AS key, {texts} AS texts"
            f" FROM {self._only} AS t LEFT JOIN pgreplkit.stamp AS s"
            f" ON s.relation = {self._oid} AND s.key = {key} AND s.xid = t.xmin"
            f" WHERE {self._where(parameters)}), judged AS (SELECT *,"
            f" coalesce(at < {stamp}, true) OR at = {stamp} AND {tie} AS wins FROM found),"
            " kept AS (INSERT INTO pgreplkit.stamp (relation, key, xid, at, rank)"
            f" SELECT {self._oid}, key, {_XID}, at, rank FROM judged WHERE NOT wins"
            " ON CONFLICT (relation, key) DO UPDATE"
            " SET xid = EXCLUDED.xid, at = EXCLUDED.at, rank = EXCLUDED.rank)"
            " SELECT NULL::text, set_config('pgreplkit.found',"
            " coalesce((SELECT version::text FROM judged), ''), false),"
            " set_config('pgreplkit.wins',"
            " coalesce((SELECT wins FROM judged), true)::text, false)"
        )
        return self._silent(sql, parameters)

    def upsert(self, *, is_new: bool) -> Statement:
        """Return the statement that adds differences to a row, or inserts it.

        Values: the old row unless ``is_new``, the new row, …
        """
        match = self._match
        shift = 0 if is_new else match.width
        used = {one.position + shift for one in match.written}
        if not is_new:
            used |= {one.position for one in match.written if one.column.name in self._names}
        parameters = Parameters(used, self._stamp + shift + 1)

        def new(one: Written) -> str:
            return f"{parameters[one.position + shift]}::{one.column.type}"

        def amount(one: Written) -> str:
            # Wider than the column: the difference of two values may not fit its type.
            added = f"{new(one)}::numeric"
            old = "" if is_new else f" - {parameters[one.position]}::{one.column.type}::numeric"
            return _without_nan(added + old) if one.column.type not in INTEGERS else added + old

        def inserted(one: Written) -> str:
            if one.column.name not in self._names:
                # Without a cast, which would cut off a text that is too long for the column.
                return parameters[one.position + shift]
            if is_new:
                return f"({amount(one)})::{one.column.type}"
            # Only of a row that is missing: the value of one that exists is not used, and need not
            # fit. The length is 0 then; before 12 a constant would be converted in any case, when
            # the plan is made.
            alone = f"({amount(one)} + length({_FOUND}))::{one.column.type}"
            return f"CASE WHEN {_FOUND} = '' THEN {alone} ELSE {new(one)} END"

        sets = [
            f"{column} = (t.{column} + {amount(one)})::{one.column.type}"
            for one in match.written
            if one.column.name in self._names
            for column in [quote_identifier(one.column.name)]
        ]
        sets += [
            f"{column} = CASE WHEN {_WINS} THEN EXCLUDED.{column} ELSE t.{column} END"
            for column in (quote_identifier(one.column.name) for one in self._others)
        ]
        target = ", ".join(quote_identifier(one.column.name) for one in self.key)
        # A row that was not compared has just been inserted: the transaction begins again.
        sql = (
            f"{insert_sql(match, [[inserted(one) for one in match.written]], alias='t')}"
            f" ON CONFLICT ({target}) DO UPDATE SET {', '.join(sets)}"
            f" WHERE CASE WHEN t.xmin::text = {_FOUND} THEN true ELSE pgreplkit.again() END"
            f" RETURNING {self._returned('', is_new=is_new)}"
        )
        return self._made(Kind.INSERT if is_new else Kind.UPDATE, sql, parameters, shift)

    @property
    def _has_ranks(self) -> bool:
        return self._stamps.rank is not None

    def _parameters(self, used: set[int]) -> Parameters:
        return Parameters(used, self._stamp + 1)

    def _silent(self, sql: str, parameters: Parameters) -> Statement:
        """Return a statement whose outcome is not a conflict."""
        table = str(self._match.source)
        types = declared(self._match, parameters)
        return Statement(Kind.UPDATE, table, self._name(), sql, parameters.picks, types=types)

    @staticmethod
    def _column(row: str, one: Written) -> str:
        return f"{row}.{quote_identifier(one.column.name)}"

    def _sets(self) -> None:
        """Return None: each change is compared by itself."""

    # A deletion wins over every change.

    def _is_older(self, row: str, parameters: Parameters, tie: str) -> str:
        return "true"

    def _is_dead(self) -> str:
        return "true"

    def _outlives(self, stamp: str) -> str:
        return super()._outlives("NULL::timestamptz")


def _without_nan(amount: str) -> str:
    """Return an amount that fails if it is NaN, after which no sum could be equal on all nodes."""
    # The text depends on the amount: a constant one would be converted when the plan is made.
    found = f"('{NAN_FOUND}' || left(({amount})::text, 0))::numeric"
    return f"CASE WHEN {amount} = 'NaN' THEN {found} ELSE {amount} END"
