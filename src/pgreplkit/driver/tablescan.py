"""TableScan: the statements that read a table in ranges of its key, the same on two servers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from pgreplkit.catalog.logical.compare import ColumnShape
from pgreplkit.catalog.logical.types import Types
from pgreplkit.driver import statements as parts
from pgreplkit.driver.exactvalue import base_type, exact_float, exact_value, has_floats
from pgreplkit.plans.logical.compare import Key, KeyRange
from pgreplkit.values.tablename import TableName

_PLAIN_FLOATS = {"real", "double precision"}


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
            and base_type(column.type_oid, self.types).name not in _PLAIN_FLOATS
        )

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
            SQL("{}::text AS {}").format(self._value(column), Identifier(f"value{place}"))
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
        texts = tuple(str(record[f"key{place}"]) for place in range(len(self.key)))
        if not self.types:
            return texts  # Both servers write floats alike; this runs for every row.
        return tuple(self._key_text(*pair) for pair in zip(self.key, texts, strict=True))

    def values_in(self, record: Mapping[str, object]) -> dict[str, str | None]:
        """Return the values of one record of ``rows``, by the names of the columns."""
        texts = [record[f"value{place}"] for place in range(len(self.columns))]
        return {
            column.name: None if text is None else str(text)
            for column, text in zip(self.columns, texts, strict=True)
        }

    def named(self, key: Key) -> dict[str, str]:
        """Return a key's values by the names of its columns."""
        return {column.name: text for column, text in zip(self.key, key, strict=True)}

    def _key_text(self, column: ColumnShape, text: str) -> str:
        if not has_floats(column.type_oid, self.types):
            return text
        return exact_float(text, base_type(column.type_oid, self.types).name)

    def _condition(self, within: KeyRange, keys: Sequence[Key] = ()) -> Composed:
        conditions: list[Composable] = [self._among(keys)] if keys else []
        if within.low is not None:
            conditions.append(SQL("{} > {}").format(self._order_row, self._literal(within.low)))
        if within.high is not None:
            conditions.append(SQL("{} <= {}").format(self._order_row, self._literal(within.high)))
        if self.where is not None:
            # An expression cannot be a parameter. It comes from the publication, or the caller.
            conditions.append(SQL("(") + SQL(self.where) + SQL(")"))
        if not conditions:
            return Composed([])
        return SQL(" WHERE ") + SQL(" AND ").join(conditions)

    def _among(self, keys: Sequence[Key]) -> Composed:
        # Equality does not depend on the collation, so that an index can be used.
        names = SQL(", ").join([Identifier(column.name) for column in self.key])
        return SQL("({}) IN ({})").format(names, SQL(", ").join(map(self._literal, keys)))

    @property
    def _key_texts(self) -> Composed:
        texts = [
            SQL("{}::text AS {}").format(Identifier(column.name), Identifier(f"key{place}"))
            for place, column in enumerate(self.key)
        ]
        return SQL(", ").join(texts)

    @property
    def _order(self) -> Composed:
        return SQL(", ").join([self._sorted(column) for column in self.key])

    @property
    def _order_row(self) -> Composed:
        return SQL("({})").format(self._order)

    def _sorted(self, column: ColumnShape) -> Composable:
        # Qualified: a bare name in ORDER BY could mean a column of the output, such as key0.
        name = Identifier(self.table.schema, self.table.name, column.name)
        if column.collation is None or self.is_ordered_alike:
            return name
        # Both servers sort by bytes then, whatever their locales.
        return SQL('{} COLLATE "C"').format(name)

    def _literal(self, key: Key) -> Composed:
        values = [
            SQL("{}::").format(Literal(text)) + SQL(column.type)
            for text, column in zip(key, self.key, strict=True)
        ]
        return SQL("({})").format(SQL(", ").join(values))

    @property
    def _hash(self) -> Composed:
        values = SQL(", ").join([self._value(column) for column in self.columns])
        row = SQL("ROW({})::text").format(values)
        if self.has_hash64:
            return SQL('hashtextextended({} COLLATE "C", 0)').format(row)
        # Before 11 the server has no hash function of 64 bits.
        return SQL("('x' || substr(md5({}), 1, 16))::bit(64)::bigint").format(row)

    def _value(self, column: ColumnShape) -> Composable:
        return exact_value(Identifier(column.name), column.type_oid, self.types)


def columns_named(shapes: Sequence[ColumnShape], names: Sequence[str]) -> tuple[ColumnShape, ...]:
    """Return the columns with some names, in the order of the names."""
    by_name = {shape.name: shape for shape in shapes}
    return tuple(by_name[name] for name in names)
