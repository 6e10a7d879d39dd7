"""Rows: a list of rows that is readable in a terminal and in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, SupportsIndex, TypeVar, overload

from pgreplkit._hooks import html_of
from pgreplkit.values.flat import row_of, shown_records, to_records
from pgreplkit.values.plain import JSONValue

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

T = TypeVar("T")


class Rows(list[T]):
    """A list of rows, with ``to_records()`` for data frames and a table in notebooks.

    ``str()`` returns the table as text. Slices are Rows too.
    """

    __slots__ = ()

    def to_records(self) -> list[dict[str, object]]:
        """Return flat records, as in ``pandas.DataFrame(rows.to_records())``.

        See ``pgreplkit.to_records`` for the types of the columns.
        """
        return to_records(iter(self))

    def to_dicts(self) -> list[dict[str, JSONValue]]:
        """Return the rows as JSON types, each as ``to_dict()`` of the row."""
        return [row_of(row).to_dict() for row in self]

    @overload
    def __getitem__(self, index: SupportsIndex, /) -> T: ...
    @overload
    def __getitem__(self, index: slice, /) -> Rows[T]: ...
    def __getitem__(self, index: SupportsIndex | slice, /) -> T | Rows[T]:
        if isinstance(index, slice):
            return Rows(list.__getitem__(self, index))
        return list.__getitem__(self, index)

    def __str__(self) -> str:
        from pgreplkit.values.text import table_text

        return "\n".join(table_text(shown_records(self))) if self else "no rows"

    def _repr_html_(self) -> str:
        return html_of(self)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        from pgreplkit.values.modelschema import rows_schema_of

        return rows_schema_of(source, handler)
