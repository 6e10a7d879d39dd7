"""TableScan: the statements that read a table in ranges of its key, the same on two servers."""

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
"""Types whose texts have more digits before 12; arrays of them, too."""


@attrs.frozen(kw_only=True)
class TableScan:
    """How a table is read for a comparison: which columns, in ranges of which key.

    A range begins after one key, and ends with another; None is the first or the last of all.
    """

    table: TableName
    columns: tuple[ColumnShape, ...]
    key: tuple[ColumnShape, ...]
    where: str | None
    is_ordered_alike: bool
    """Whether both servers sort the key's texts in one order."""
    has_fast_hash: bool
    """Whether both have hashtextextended() (11 on)."""
    has_short_floats: bool
    """Whether both write floats with as few digits as tell them apart (12 on)."""

    def boundary(self, low: Key | None, high: Key | None, rows: int) -> Composed:
        """The last key of a part of a range with so many rows; no row when fewer are left."""
        return SQL("SELECT {} FROM {}{} ORDER BY {} OFFSET {} LIMIT 1").format(
            self._key_texts,
            parts.table(self.table),
            self._within(low, high),
            self._order,
            Literal(rows - 1),
        )

    def digest(self, low: Key | None, high: Key | None) -> Composed:
        """The number of rows of a range, and the sum of their hashes."""
        return SQL("SELECT count(*) AS rows, sum({}) AS hash FROM {}{}").format(
            self._hash, parts.table(self.table), self._within(low, high)
        )

    def hashes(self, low: Key | None, high: Key | None, keys: Sequence[Key] = ()) -> Composed:
        """The key and the hash of each row of a range, and which write made it.

        With ``keys`` only of those.
        """
        return SQL("SELECT {}, {} AS hash, xmin::text AS version FROM {}{}").format(
            self._key_texts, self._hash, parts.table(self.table), self._within(low, high, keys)
        )

    def rows(self, keys: Sequence[Key]) -> Composed:
        """The values of the rows with those keys, as texts."""
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
        """The row of one record of that statement, by the names of its columns."""
        texts = [record[f"value{place}"] for place in range(len(self.columns))]
        return {
            column.name: None if text is None else str(text)
            for column, text in zip(self.columns, texts, strict=True)
        }

    def named(self, key: Key) -> dict[str, str]:
        """A key with the names of its columns."""
        return {column.name: text for column, text in zip(self.key, key, strict=True)}

    def _among(self, keys: Sequence[Key]) -> Composed:
        # Equal is equal in any collation, so that an index serves.
        names = SQL(", ").join([Identifier(column.name) for column in self.key])
        return SQL("({}) IN ({})").format(names, SQL(", ").join(map(self._given, keys)))

    def _within(self, low: Key | None, high: Key | None, keys: Sequence[Key] = ()) -> Composed:
        conditions: list[Composable] = [self._among(keys)] if keys else []
        if low is not None:
            conditions.append(SQL("{} > {}").format(self._order_row, self._given(low)))
        if high is not None:
            conditions.append(SQL("{} <= {}").format(self._order_row, self._given(high)))
        if self.where is not None:
            # It came from the publication, or from the caller: an expression is no parameter.
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
    """The key of one record of a scan."""
    return tuple(str(record[f"key{place}"]) for place in range(len(scan.key)))


def columns_named(shapes: Sequence[ColumnShape], names: Sequence[str]) -> tuple[ColumnShape, ...]:
    """Those columns, in the order of their names given."""
    by_name = {shape.name: shape for shape in shapes}
    return tuple(by_name[name] for name in names)
