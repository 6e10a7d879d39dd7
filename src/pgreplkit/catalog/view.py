"""View: a row class and the SELECT that fills it, for each major version."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Generic, SupportsInt, TypeVar, cast

import attrs

from pgreplkit.values.segment import SegmentSize
from pgreplkit.values.tablename import TableName

Row = TypeVar("Row", bound=attrs.AttrsInstance)

_FIRST, _LAST = 10, 1 << 16


def column(
    *, since: int = _FIRST, until: int = _LAST, sql: str = "", before: int = 0, older_sql: str = ""
) -> dict[str, object]:
    """Return the metadata of a field: the major versions that have the column, and its SQL.

    ``sql`` is the column's expression if that is not the field's name; on major versions below
    ``before`` it is ``older_sql``.
    """
    return {"since": since, "until": until, "sql": sql, "before": before, "older_sql": older_sql}


def sized(size: SupportsInt) -> SegmentSize:
    """Convert a segment size in bytes, as the server returns it."""
    return SegmentSize(int(size))


# attrs copies it into __init__ of rows, in whose modules the name of the type is not imported.
sized.__annotations__["size"] = SupportsInt


ASKED_TABLES = """
    pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    JOIN unnest(%s::text[], %s::text[]) AS asked (schema, name)
        ON nspname = asked.schema AND relname = asked.name AND relkind IN ('r', 'p')
"""
"""The part of FROM for the tables whose schemas and names are the statement's two parameters; a
view or a sequence of such a name is not a table."""


def description_of(oid: str, catalog: str) -> str:
    """Return the expression for the comment of an object, whose oid is an expression.

    Before 14, obj_description() itself calls operators that the search_path may replace.
    """
    return f"""(SELECT description FROM pg_description WHERE objoid = {oid}
        AND classoid = '{catalog}'::regclass::oid AND objsubid = 0)"""


def table_in(record: dict[str, object], *, schema: str = "schema", name: str = "name") -> TableName:
    """Take a table's name out of a record; ``schema`` and ``name`` are its two columns."""
    return TableName(str(record.pop(schema)), str(record.pop(name)))


def names_in(array: Iterable[str]) -> tuple[str, ...]:
    """Return an array of names, as the converter of a field."""
    return tuple(array)


@attrs.frozen
class View(Generic[Row]):
    """A row class and the FROM clause that fills it, with one column for each field."""

    row: type[Row]
    source: str

    def sql(self, major: int) -> str:
        """Return the SELECT for a major version, without the columns that it lacks."""
        return f"SELECT {', '.join(self._columns(major))} FROM {self.source}"

    def _columns(self, major: int) -> list[str]:
        columns = []
        for field in attrs.fields(self.row):
            how = {**column(), **field.metadata}
            if how["since"] <= major <= how["until"]:
                expression = how["older_sql"] if major < how["before"] else how["sql"]
                columns.append(f"{expression} AS {field.name}" if expression else field.name)
        return columns

    def read(self, record: Mapping[str, object]) -> Row:
        """Return the row for one record of that SELECT."""
        return cast(Callable[..., Row], self.row)(**record)
