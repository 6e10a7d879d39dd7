"""Statements: the SQL that applies one kind of change to one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import cache, partial

import attrs

from pgreplkit._text import quote_identifier
from pgreplkit.apply.shape import Match, Written, is_comparable
from pgreplkit.catalog.logical.keytypes import whole_type
from pgreplkit.protocol.pgoutput.tuples import Octets

TIMESTAMPTZ = 1184
FAILS_WITHOUT_ROW = "SELECT nullif(1 / count(*), 1)::text FROM done"
"""Returns NULL if the statement ``done`` of a WITH list has changed a row, and fails otherwise."""


class Kind(Enum):
    """The kind of a statement."""

    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    UPSERT = "upsert"
    TRUNCATE = "truncate"


@attrs.frozen(eq=False)
class Statement:
    """A statement to prepare, and the values that it takes."""

    kind: Kind
    table: str
    """The publisher's table, as SQL."""
    name: bytes
    sql: str
    picks: tuple[int, ...] | None
    """The positions of the parameters among all values; None means all values in their order."""
    needs_row: bool = False
    """Whether no changed row is a conflict: the row is missing."""
    key: tuple[tuple[str, int, str], ...] = ()
    """The columns that identify the row: their names, parameters and types as SQL."""
    is_stamped: bool = False
    """Whether the statement compares versions, and returns the outcome."""
    several: Callable[[int], Statement] | None = None
    """Returns the statement for a number of rows at once, if there is one."""
    follows: Callable[[int], Statement] | None = None
    """Returns the statement that follows ``several``, and takes the keys of the rows."""
    is_timed: bool = False
    """Whether the last parameter is the commit time, which all rows of a transaction share."""
    types: tuple[int, ...] = ()
    """The types of the parameters; the server infers them where none are given.

    A binary value must not be read as another type, if its column was altered.
    """

    def bound(
        self, values: list[Octets], formats: list[int]
    ) -> tuple[Statement, Sequence[Octets], Sequence[int]]:
        """Return the statement with its parameters and their formats."""
        picks = self.picks
        if picks is None:
            return self, values, formats
        # Mostly the key of a deleted row, whose other values were not sent.
        if len(picks) == 1:
            [at] = picks
            return self, (values[at],), (formats[at],)
        return self, [values[at] for at in picks], [formats[at] for at in picks]


class Parameters:
    """The numbers of parameters, for the positions of the values that a statement uses."""

    def __init__(self, used: set[int], width: int) -> None:
        self._order = sorted(used)
        self._numbers = {position: at for at, position in enumerate(self._order, 1)}
        # None where nothing is left out, the usual case: then no list is copied for a row.
        self.picks: tuple[int, ...] | None = None if len(used) == width else tuple(self._order)

    def __getitem__(self, position: int) -> str:
        return f"${self._numbers[position]}"

    @property
    def width(self) -> int:
        """The number of parameters."""
        return len(self._order)

    def place(self, position: int) -> int:
        """Return the place of a position's value among the parameters, counted from 0."""
        return self._numbers[position] - 1

    def of_row(self, position: int, row: int) -> str:
        """Return the parameter of a value in one of the rows, whose values follow each other."""
        return f"${self._numbers[position] + row * len(self._order)}"

    def column(self, position: int) -> str:
        """Return the name that VALUES (…) AS v (c1, c2, …) has for a value."""
        return f"c{self._numbers[position]}"

    @property
    def columns(self) -> str:
        """The names of all columns of VALUES."""
        return ", ".join(map(self.column, self._order))

    def rows(self, number: int) -> str:
        """Return the rows of VALUES, each with its parameters."""
        lists = (
            ", ".join(self.of_row(position, row) for position in self._order)
            for row in range(number)
        )
        return f"({'), ('.join(lists)})"

    def types(self, types: Mapping[int, int]) -> tuple[int, ...]:
        """Return the types of a row's parameters, from a mapping of all positions."""
        return tuple(types[position] for position in self._order)

    def of(self, where: Sequence[tuple[Written, int]]) -> tuple[tuple[str, int, str], ...]:
        """Return the names of columns, with the places and types of their parameters."""
        return tuple(
            (one.column.name, self._numbers[at] - 1, whole_type(one.column)) for one, at in where
        )


class Statements:
    """Composes the statements for one table.

    Values come in one list: the old row where there is one, the new row, the constants.
    """

    def __init__(self, match: Match, name: Callable[[], bytes], *, sets: bool = False) -> None:
        self._match, self._name = match, name
        # Without a unique key, the rows of a set cannot be distinguished.
        self._sets = sets and bool(match.key) and match.is_unique
        self._table = f"{match.target.table}"
        # Tables that inherit from it are published by themselves, and are not meant. A partitioned
        # table has no rows of its own.
        only = "" if match.target.is_partitioned else "ONLY "
        self._only = f"{only}{self._table}"

    def insert(self) -> Statement:
        """Return the INSERT of a row; values: the new row, the constants."""
        sql, parameters = self._insert()
        key = parameters.of(self._where(0))
        made = self._statement(Kind.INSERT, sql, parameters, key=key)
        # Cached, so that each number of rows is one statement with one name.
        return attrs.evolve(made, several=cache(partial(self._several, made)))

    def _several(self, one: Statement, rows: int) -> Statement:
        sql, _ = self._insert(rows)
        name, types = b"%b_%d" % (one.name, rows), one.types * rows
        return attrs.evolve(one, name=name, sql=sql, several=None, types=types)

    def upsert(self) -> Statement | None:
        """Return the INSERT of a row that may exist; None without a unique key of the subscriber.

        Values: the new row, the constants.
        """
        names = {one.column.name for one in self._match.key}
        key = next((key for key in self._match.target.keys if {*key} <= names), None)
        if key is None:
            return None
        sql, parameters = self._insert()
        columns = [
            quote_identifier(one.column.name)
            for one in self._match.written
            if one.column.name not in key and one.column.identity != "a"
        ]
        sets = ", ".join(f"{column} = EXCLUDED.{column}" for column in columns)
        action = f"UPDATE SET {sets}" if sets else "NOTHING"
        target = ", ".join(map(quote_identifier, key))
        return self._statement(Kind.UPSERT, f"{sql} ON CONFLICT ({target}) DO {action}", parameters)

    def _insert(self, rows: int = 1) -> tuple[str, Parameters]:
        match = self._match
        used = {one.position for one in match.written}
        parameters = Parameters(used, match.width + len(match.constants))
        values = [
            [parameters.of_row(one.position, row) for one in match.written] for row in range(rows)
        ]
        return insert_sql(match, values), parameters

    def update(
        self,
        unsent: frozenset[int] = frozenset(),
        *,
        has_old: bool,
        needs_row: bool = True,
        same: Callable[[Parameters], str] | None = None,
    ) -> Statement:
        """Return the UPDATE of a row, without the new values at the positions ``unsent``.

        Values: the old row if ``has_old``, the new row, the constants. ``same`` returns one more
        condition, which uses all values of the old row.
        """
        match = self._match
        shift = match.width if has_old else 0
        keys = {one.column.name for one in match.key}
        changed = [
            one
            for one in match.written
            if one.position not in unsent
            and one.column.identity != "a"
            # Without the old row the key is the same as before.
            and (has_old or one.column.name not in keys)
        ]
        where = self._where(shift)
        used = {one.position + shift for one in changed} | {at for _, at in where}
        if same is not None:
            used |= {one.position for one in match.written if one.position < match.width}
        parameters = Parameters(used, match.width + shift + len(match.constants))
        sets = [
            f"{quote_identifier(one.column.name)} = {parameters[one.position + shift]}"
            for one in changed
        ]
        if not sets:
            # Triggers fire, and the row's version is new, as after any UPDATE.
            sets = [self._unchanged()]
        condition = self._condition(where, parameters)
        if same is not None:
            condition += f" AND {same(parameters)}"
        sql = f"UPDATE {self._only} AS t SET {', '.join(sets)} WHERE {condition}"
        key = parameters.of(where)
        made = self._statement(
            Kind.UPDATE, sql, parameters, needs_row=needs_row, key=key, shift=shift
        )
        # One that changes keys is sent alone: a row may get the key that the next one had.
        if not self._sets or has_old or not changed:
            return made
        several = partial(self._several_updates, made, changed, where, parameters)
        return attrs.evolve(made, several=cache(several))

    def _several_updates(
        self,
        one: Statement,
        changed: Sequence[Written],
        where: Sequence[tuple[Written, int]],
        parameters: Parameters,
        rows: int,
    ) -> Statement:
        sets = ", ".join(
            f"{quote_identifier(each.column.name)} = v.{parameters.column(each.position)}"
            for each in changed
        )
        sql = f"UPDATE {self._only} AS t SET {sets} FROM"
        return self._set(one, sql, where, parameters, rows)

    def _set(
        self,
        one: Statement,
        sql: str,
        where: Sequence[tuple[Written, int]],
        parameters: Parameters,
        rows: int,
    ) -> Statement:
        """Return the statement for several rows, which fails unless it changes all of them."""
        condition = " AND ".join(equals(each, f"v.{parameters.column(at)}") for each, at in where)
        types = {each.position: each.column.type_oid for each in self._match.written}
        sql = (
            f"WITH changed AS ({sql} (VALUES {parameters.rows(rows)}) AS v"
            f" ({parameters.columns}) WHERE {condition} RETURNING 1)"
            f" SELECT 1 / (count(*) = {rows})::int FROM changed"
        )
        return attrs.evolve(
            one,
            name=b"%b_%d" % (one.name, rows),
            sql=sql,
            several=None,
            needs_row=False,
            types=parameters.types(types) * rows,
        )

    def move(
        self,
        unsent: frozenset[int] = frozenset(),
        *,
        same: Callable[[Parameters], str] | None = None,
    ) -> Statement:
        """Return the statement that deletes a row, and inserts it with its new values.

        It does what an UPDATE would do if it could set a column GENERATED ALWAYS AS IDENTITY: other
        columns, as those at the positions ``unsent``, keep their values.

        Values: the old row, the new row, the constants. With ``same``, as in ``update``, the
        statement fails if no row is found.
        """
        match = self._match
        shift = match.width
        sent = {
            one.column.name: one.position + shift
            for one in match.written
            if one.position not in unsent
        }
        where = self._where(shift)
        used = {*sent.values()} | {at for _, at in where}
        if same is not None:
            used |= {one.position for one in match.written if one.position < match.width}
        parameters = Parameters(used, match.width + shift + len(match.constants))
        condition = self._condition(where, parameters)
        if same is not None:
            condition += f" AND {same(parameters)}"
        names = [column.name for column in match.target.columns if not column.is_generated]
        quoted = {name: quote_identifier(name) for name in names}
        values = ", ".join(
            parameters[sent[name]] if name in sent else f"gone.{quoted[name]}" for name in names
        )
        gone = f"gone AS (DELETE FROM {self._only} AS t WHERE {condition} RETURNING t.*)"
        insert = (
            f"INSERT INTO {self._table} ({', '.join(quoted.values())}) OVERRIDING SYSTEM VALUE"
            f" SELECT {values} FROM gone"
        )
        sql = f"WITH {gone} {insert}"
        if same is not None:
            sql = f"WITH {gone}, done AS ({insert} RETURNING 1) {FAILS_WITHOUT_ROW}"
        key = parameters.of(where)
        return self._statement(
            Kind.UPDATE, sql, parameters, needs_row=same is None, key=key, shift=shift
        )

    def delete(self, *, needs_row: bool = True) -> Statement:
        """Return the DELETE of a row; values: the old row, the constants."""
        match = self._match
        where = self._where(0)
        parameters = Parameters({at for _, at in where}, match.width + len(match.constants))
        sql = f"DELETE FROM {self._only} AS t WHERE {self._condition(where, parameters)}"
        key = parameters.of(where)
        made = self._statement(Kind.DELETE, sql, parameters, needs_row=needs_row, key=key)
        if not self._sets or not needs_row:
            return made
        sql = f"DELETE FROM {self._only} AS t USING"
        return attrs.evolve(made, several=cache(partial(self._set, made, sql, where, parameters)))

    def delete_source(self) -> Statement:
        """Return the DELETE of all rows with the constants; values: the constants."""
        match = self._match
        fixed = [one for one in match.written if one.position >= match.width]
        parameters = Parameters({one.position - match.width for one in fixed}, len(match.constants))
        condition = " AND ".join(
            is_same(one, parameters[one.position - match.width]) for one in fixed
        )
        sql = f"DELETE FROM {self._only} AS t WHERE {condition}"
        return Statement(Kind.TRUNCATE, str(match.source), self._name(), sql, parameters.picks)

    def _unchanged(self) -> str:
        """Return the assignment of an UPDATE after which all values are as before."""
        names = [one.column.name for one in self._match.written if one.column.identity != "a"]
        if names:
            return f"{quote_identifier(names[0])} = t.{quote_identifier(names[0])}"
        first = self._match.target.columns[0]
        column = quote_identifier(first.name)
        # A generated column has no other value.
        return f"{column} = {'DEFAULT' if first.is_generated else f't.{column}'}"

    def _where(self, shift: int) -> list[tuple[Written, int]]:
        """Return the columns that identify a row, with the positions of their values."""
        match = self._match
        # Without a key, all columns together identify a row.
        key = match.key or match.written
        width = match.width
        return [(one, one.position + (shift if one.position >= width else 0)) for one in key]

    def _condition(self, where: Sequence[tuple[Written, int]], parameters: Parameters) -> str:
        match = self._match
        if match.key and match.is_unique:
            return " AND ".join(equals(one, parameters[at]) for one, at in where)
        # Of several rows that are alike, one is meant.
        same = " AND ".join(is_same(one, parameters[at]) for one, at in where) or "true"
        place = "(tableoid, ctid)" if match.target.is_partitioned else "ctid"
        own = "(t.tableoid, t.ctid)" if match.target.is_partitioned else "t.ctid"
        columns = place.strip("()")
        return f"{own} = (SELECT {columns} FROM {self._only} AS t WHERE {same} LIMIT 1)"

    def _statement(
        self,
        kind: Kind,
        sql: str,
        parameters: Parameters,
        *,
        needs_row: bool = False,
        key: tuple[tuple[str, int, str], ...] = (),
        shift: int = 0,
    ) -> Statement:
        table, types = str(self._match.source), declared(self._match, parameters, shift)
        return Statement(
            kind, table, self._name(), sql, parameters.picks, needs_row, key, types=types
        )


def declared(match: Match, parameters: Parameters, shift: int = 0) -> tuple[int, ...]:
    """Return the types of the parameters to declare; ``shift`` is the width of an old row."""
    if not match.is_binary:
        return ()
    stamp = match.width + len(match.constants) + shift
    return parameters.types({**match.types(shift), stamp: TIMESTAMPTZ})


def insert_sql(match: Match, rows: Sequence[Sequence[str]], *, alias: str = "") -> str:
    """Return the INSERT of rows, each a list of the values of the written columns."""
    into = f"{match.target.table}{f' AS {alias}' if alias else ''}"
    columns = ", ".join(quote_identifier(one.column.name) for one in match.written)
    values = "), (".join(map(", ".join, rows))
    # A replicated value replaces the one that the identity column would get.
    overriding = "OVERRIDING SYSTEM VALUE " if match.identity_always else ""
    # SQL has no INSERT with an empty list of columns.
    if not columns:
        return f"INSERT INTO {into} DEFAULT VALUES"
    return f"INSERT INTO {into} ({columns}) {overriding}VALUES ({values})"


def equals(one: Written, value: str) -> str:
    """Return the condition that a column of a key has a value, which its index supports."""
    return one.column.is_equal(f"t.{quote_identifier(one.column.name)}", value)


def is_same(one: Written, parameter: str) -> str:
    """Return the condition that a column has a value, or that both are NULL."""
    column = f"t.{quote_identifier(one.column.name)}"
    # The comparison of a type is what an index supports; a text is for types that lack one.
    if is_comparable(one.column):
        return f"{column} IS NOT DISTINCT FROM {parameter}"
    return f"{column}::text IS NOT DISTINCT FROM ({parameter}::{one.column.type})::text"


def truncation(matches: Sequence[Match], name: bytes, *, restarts: bool) -> Statement:
    """Return the TRUNCATE of tables.

    Like the one of a subscription, it leaves out other tables that refer to them.
    """
    tables = ", ".join(
        f"{'' if match.target.is_partitioned else 'ONLY '}{match.target.table}" for match in matches
    )
    sql = f"TRUNCATE {tables}{' RESTART IDENTITY' if restarts else ''}"
    table = ", ".join(str(match.source) for match in matches)
    return Statement(Kind.TRUNCATE, table, name, sql, None)
