"""TableScan: the statements that read a table in ranges of its key, the same on two servers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from pgreplkit.catalog.logical.compare import QUALIFIED_OUTPUT, UNIFORM_OUTPUT, ColumnShape
from pgreplkit.catalog.logical.types import Types
from pgreplkit.driver import statements as parts
from pgreplkit.driver.exactvalue import (
    PLAIN_FLOATS,
    base_type,
    exact_float,
    exact_value,
    has_floats,
)
from pgreplkit.plans.logical.compare import Key, KeyRange
from pgreplkit.values.tablename import TableName

_BYTES = ("utf-8", "surrogateescape")
"""How bytes of any encoding become a text, and the same bytes again."""


@attrs.frozen(kw_only=True)
class TableScan:
    """A table as a comparison reads it: its columns, in ranges of its key."""

    table: TableName
    columns: tuple[ColumnShape, ...]
    key: tuple[ColumnShape, ...]
    where: str | None
    is_ordered_alike: bool
    """Whether both servers sort the key's texts in one order."""
    has_hash64: bool
    """Whether both servers have hashtextextended() (11 on)."""
    encoding: str | None
    """The encoding in which texts are compared; None where all servers store them alike."""
    types: Types
    """The publisher's types where one server writes floats with more digits (before 12); else
    empty."""

    @property
    def unreadable_key(self) -> tuple[str, ...]:
        """Columns of the key whose text differs on the two servers: floats within other types."""
        return tuple(
            column.name
            for column in self.key
            if has_floats(column.type_oid, self.types)
            and base_type(column.type_oid, self.types).name not in PLAIN_FLOATS
        )

    @property
    def settings(self) -> str:
        """The query that sets up the transaction, before any of the others."""
        # Only there: an empty search_path would hide what a row filter of the caller's names.
        has_names = any(column.type.startswith("reg") for column in self.columns)
        return QUALIFIED_OUTPUT if has_names else UNIFORM_OUTPUT

    def last_key(self, within: KeyRange, rows: int) -> Composed:
        """Return the query for the last key of the first ``rows`` rows of a range.

        It yields no row if the range has fewer.
        """
        return SQL("SELECT {} FROM {}{} ORDER BY {} OFFSET {} LIMIT 1").format(
            self._key_texts,
            parts.table(self.table),
            self._condition(within),
            self._order,
            Literal(rows - 1),
        )

    def digest(self, within: KeyRange) -> Composed:
        """Return the query for the number of rows of a range, and the sum of their hashes."""
        return SQL("SELECT count(*) AS rows, sum({}) AS hash FROM {}{}").format(
            self._hash, parts.table(self.table), self._condition(within)
        )

    def hashes(self, within: KeyRange, keys: Sequence[Key] = ()) -> Composed:
        """Return the query for the key, the hash and the version of each row of a range.

        With ``keys``, only of the rows with those keys. The version is another one after each
        write.
        """
        return SQL("SELECT {}, {} AS hash, xmin::text AS version FROM {}{}").format(
            self._key_texts, self._hash, parts.table(self.table), self._condition(within, keys)
        )

    def rows(self, keys: Sequence[Key]) -> Composed:
        """Return the query for the values of the rows with some keys, as texts."""
        values = [
            SQL("{} AS {}").format(self._text(self._value(column)), Identifier(f"value{place}"))
            for place, column in enumerate(self.columns)
        ]
        return SQL("SELECT {}, {} FROM {} WHERE {}").format(
            self._key_texts,
            SQL(", ").join(values),
            parts.table(self.table),
            self._among(keys),
        )

    def key_in(self, record: Mapping[str, object]) -> Key:
        """Return the key of one record of any of these queries."""
        texts = tuple(_loaded(record[f"key{place}"]) for place in range(len(self.key)))
        if not self.types:
            return texts  # Both servers write floats alike; this runs for every row.
        return tuple(self._key_text(*pair) for pair in zip(self.key, texts, strict=True))

    def values_in(self, record: Mapping[str, object]) -> dict[str, str | None]:
        """Return the values of one record of ``rows``, by the names of the columns."""
        texts = [record[f"value{place}"] for place in range(len(self.columns))]
        return {
            column.name: None if text is None else _readable(_loaded(text))
            for column, text in zip(self.columns, texts, strict=True)
        }

    def named(self, key: Key) -> dict[str, str]:
        """Return a key's values by the names of its columns."""
        return {column.name: _readable(text) for column, text in zip(self.key, key, strict=True)}

    def _key_text(self, column: ColumnShape, text: str) -> str:
        if not has_floats(column.type_oid, self.types):
            return text
        return exact_float(text, base_type(column.type_oid, self.types).name)

    def _condition(self, within: KeyRange, keys: Sequence[Key] = ()) -> Composed:
        conditions: list[Composable] = [self._among(keys)] if keys else []
        if within.low is not None:
            conditions.append(SQL("{} > {}").format(self._order_row, self._bound(within.low)))
        if within.high is not None:
            conditions.append(SQL("{} <= {}").format(self._order_row, self._bound(within.high)))
        if self.where is not None:
            # An expression cannot be a parameter. It comes from the publication, or the caller.
            conditions.append(SQL("(") + SQL(self.where) + SQL(")"))
        if not conditions:
            return Composed([])
        return SQL(" WHERE ") + SQL(" AND ").join(conditions)

    def _among(self, keys: Sequence[Key]) -> Composed:
        # Equality does not depend on the collation, so that an index can be used.
        names = [
            self._text(name) if self._is_in_bytes(column) else name
            for column, name in self._key_names
        ]
        rows = [self._row(self._literals(key)) for key in keys]
        return SQL("{} IN ({})").format(self._row(names), SQL(", ").join(rows))

    @property
    def _key_texts(self) -> Composed:
        texts = [
            SQL("{} AS {}").format(self._text(Identifier(column.name)), Identifier(f"key{place}"))
            for place, column in enumerate(self.key)
        ]
        return SQL(", ").join(texts)

    @property
    def _key_names(self) -> list[tuple[ColumnShape, Identifier]]:
        # Qualified: a bare name in ORDER BY could mean a column of the output, such as key0.
        path = (self.table.schema, self.table.name)
        return [(column, Identifier(*path, column.name)) for column in self.key]

    @property
    def _order(self) -> Composed:
        return SQL(", ").join([self._sorted(*pair) for pair in self._key_names])

    @property
    def _order_row(self) -> Composed:
        return SQL("({})").format(self._order)

    def _bound(self, key: Key) -> Composed:
        """Return a key as a row that can be compared with the order."""
        pairs = zip(self.key, self._literals(key), strict=True)
        return self._row(
            [
                literal if self._is_in_bytes(column) else self._sorted(column, literal)
                for column, literal in pairs
            ]
        )

    def _row(self, values: Sequence[Composable]) -> Composed:
        return SQL("({})").format(SQL(", ").join(values))

    def _sorted(self, column: ColumnShape, value: Composable) -> Composable:
        """Return an expression that has one order on all servers, whatever their locales."""
        if self._is_in_bytes(column):
            return self._text(value)
        if column.sorts_parts:
            return SQL('{}::text COLLATE "C"').format(value)
        if column.collation is None or self.is_ordered_alike:
            return value
        return SQL('{} COLLATE "C"').format(value)

    def _is_in_bytes(self, column: ColumnShape) -> bool:
        """Return whether a key column is read by its bytes.

        One server may be unable to store a text of another one's in its encoding.
        """
        if self.encoding is None:
            return False
        return column.sorts_parts or (column.collation is not None and not self.is_ordered_alike)

    def _literals(self, key: Key) -> list[Composable]:
        return [self._literal(*pair) for pair in zip(self.key, key, strict=True)]

    def _literal(self, column: ColumnShape, text: str) -> Composable:
        if self.encoding is None:
            return SQL("{}::").format(Literal(text)) + SQL(column.type)
        raw = Literal(text.encode(*_BYTES))
        if self._is_in_bytes(column):
            return raw
        decoded = SQL("pg_catalog.convert_from({}, {})::").format(raw, Literal(self.encoding))
        return decoded + SQL(column.type)

    def _text(self, value: Composable) -> Composable:
        """Return an expression for a text, or for its bytes where the servers' texts differ."""
        text = SQL("{}::text").format(value)
        if self.encoding is None:
            return text
        return SQL("pg_catalog.convert_to({}, {})").format(text, Literal(self.encoding))

    @property
    def _hash(self) -> Composed:
        values = SQL(", ").join([self._value(column) for column in self.columns])
        row = self._text(SQL("ROW({})").format(values))
        if self.has_hash64 and self.encoding is None:
            return SQL('pg_catalog.hashtextextended({} COLLATE "C", 0)').format(row)
        # The server has no hash function of 64 bits for bytes, and before 11 none for texts.
        return SQL("('x' || substr(md5({}), 1, 16))::bit(64)::bigint").format(row)

    def _value(self, column: ColumnShape) -> Composable:
        return exact_value(Identifier(column.name), column.type_oid, self.types)


def columns_named(shapes: Sequence[ColumnShape], names: Sequence[str]) -> tuple[ColumnShape, ...]:
    """Return the columns with some names, in the order of the names."""
    by_name = {shape.name: shape for shape in shapes}
    return tuple(by_name[name] for name in names)


def _loaded(value: object) -> str:
    return value.decode(*_BYTES) if isinstance(value, bytes) else str(value)


def _readable(text: str) -> str:
    """Return a text with bytes of another encoding escaped."""
    return text.encode(*_BYTES).decode(_BYTES[0], "backslashreplace")
