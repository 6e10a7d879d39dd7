"""TableScan: statements that read a table in ranges of its key, comparable on two servers."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from pgreplkit.catalog.logical.compare import ColumnShape
from pgreplkit.driver import statements as parts
from pgreplkit.plans.logical.compare import Key
from pgreplkit.values.tablename import TableName

_FLOATS = {
    "real": "float4send",
    "double precision": "float8send",
    "polygon": "poly_send",
    **{name: f"{name}_send" for name in ("box", "circle", "line", "lseg", "path", "point")},
}
"""The send functions of types whose texts have fewer digits before 12 (and of their arrays)."""


@attrs.frozen(kw_only=True)
class TableScan:
    """The columns and the key by which a table is read for a comparison.

    A range starts after one key and ends with another; None stands for the table's start or end.
    """

    table: TableName
    columns: tuple[ColumnShape, ...]
    key: tuple[ColumnShape, ...]
    where: str | None
    is_ordered_alike: bool
    """Whether both servers sort the key's texts in the same order."""
    has_fast_hash: bool
    """Whether both servers have hashtextextended() (11 on)."""
    has_short_floats: bool
    """Whether both servers write floats in the shortest exact form (12 on)."""

    def boundary(self, low: Key | None, high: Key | None, rows: int) -> Composed:
        """Return the SELECT for the key of a range's ``rows``-th row; no row if it has fewer."""
        return SQL("SELECT {} FROM {}{} ORDER BY {} OFFSET {} LIMIT 1").format(
            self._key_texts,
            parts.table(self.table),
            self._within(low, high),
            self._order,
            Literal(rows - 1),
        )

    def digest(self, low: Key | None, high: Key | None) -> Composed:
        """Return the SELECT for the number of rows of a range, and the sum of their hashes."""
        return SQL("SELECT count(*) AS rows, sum({}) AS hash FROM {}{}").format(
            self._hash, parts.table(self.table), self._within(low, high)
        )

    def hashes(self, low: Key | None, high: Key | None, keys: Sequence[Key] = ()) -> Composed:
        """Return the SELECT for the key, the hash and the xmin of each row of a range.

        With ``keys``, only for the rows with those keys.
        """
        return SQL("SELECT {}, {} AS hash, xmin::text AS version FROM {}{}").format(
            self._key_texts, self._hash, parts.table(self.table), self._within(low, high, keys)
        )

    def rows(self, keys: Sequence[Key]) -> Composed:
        """Return the SELECT for the values of the rows with those keys, as texts."""
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

    def values(self, record: dict[str, object]) -> dict[str, str | None]:
        """Return the row of one record of ``rows``, by column name."""
        texts = [record[f"value{place}"] for place in range(len(self.columns))]
        return {
            column.name: None if text is None else str(text)
            for column, text in zip(self.columns, texts, strict=True)
        }

    def named(self, key: Key) -> dict[str, str]:
        """Return a key by column name."""
        return {column.name: text for column, text in zip(self.key, key, strict=True)}

    def _among(self, keys: Sequence[Key]) -> Composed:
        # Equality is the same in any (deterministic) collation, so an index can be used.
        names = SQL(", ").join([Identifier(column.name) for column in self.key])
        return SQL("({}) IN ({})").format(names, SQL(", ").join(map(self._given, keys)))

    def _within(self, low: Key | None, high: Key | None, keys: Sequence[Key] = ()) -> Composed:
        conditions: list[Composable] = [self._among(keys)] if keys else []
        if low is not None:
            conditions.append(SQL("{} > {}").format(self._order_row, self._given(low)))
        if high is not None:
            conditions.append(SQL("{} <= {}").format(self._order_row, self._given(high)))
        if self.where is not None:
            # The expression comes from the publication or the caller; it cannot be a parameter.
            conditions.append(SQL("(") + SQL(self.where) + SQL(")"))
        if not conditions:
            return Composed([])
        return SQL(" WHERE ") + SQL(" AND ").join(conditions)

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
        name = Identifier(column.name)
        if column.collation is None or self.is_ordered_alike:
            return name
        return SQL('{} COLLATE "C"').format(name)

    def _given(self, key: Key) -> Composed:
        values = [
            SQL("{}::").format(Literal(text)) + SQL(column.type)
            for text, column in zip(key, self.key, strict=True)
        ]
        return SQL("({})").format(SQL(", ").join(values))

    @property
    def _hash(self) -> Composed:
        values = SQL(", ").join([self._value(column) for column in self.columns])
        row = SQL("ROW({})::text").format(values)
        if self.has_fast_hash:
            return SQL('hashtextextended({} COLLATE "C", 0)').format(row)
        return SQL("('x' || substr(md5({}), 1, 16))::bit(64)::bigint").format(row)

    def _value(self, column: ColumnShape) -> Composable:
        name = Identifier(column.name)
        is_array = column.base_type.endswith("[]")
        send = _FLOATS.get(column.base_type.removesuffix("[]"))
        if send is None or self.has_short_floats:
            return name
        return SQL("encode({}({}), 'hex')").format(SQL("array_send" if is_array else send), name)


def key_in(record: dict[str, object], scan: TableScan) -> Key:
    """Return the key of one record of a scan."""
    return tuple(str(record[f"key{place}"]) for place in range(len(scan.key)))


def columns_named(shapes: Sequence[ColumnShape], names: Sequence[str]) -> tuple[ColumnShape, ...]:
    """Return the columns of those names, in that order."""
    by_name = {shape.name: shape for shape in shapes}
    return tuple(by_name[name] for name in names)
