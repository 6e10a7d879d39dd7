"""TableName: a schema-qualified table name, parsed and quoted as in SQL."""

import re
from collections.abc import Sequence
from typing import TypeAlias

import attrs

from pgreplkit._text import LONGEST_NAME, quote_identifier
from pgreplkit.errors import InvalidTableName
from pgreplkit.values.modelfield import ModelField

_PART = r'(?:[^\W\d][\w$]*|"(?:[^"\0]|"")+")'
_WHOLE = re.compile(rf"(?:({_PART})\.)?({_PART})")
_BARE = re.compile(r"[a-z_][a-z0-9_$]*", re.ASCII)


@attrs.frozen(order=True, str=False)
class TableName(ModelField):
    """A schema-qualified table name.

    ``str()`` returns the name as SQL, quoted where necessary.

    >>> TableName.parse('sales."Big Orders"')
    TableName(schema='sales', name='Big Orders')
    >>> str(TableName.parse("Users"))
    'public.users'
    """

    schema: str = attrs.field()
    name: str = attrs.field()

    @schema.validator
    @name.validator
    def _check(self, attribute: "attrs.Attribute[str]", value: str) -> None:
        if not isinstance(value, str):
            raise TypeError(f"a table's {attribute.name} must be a str, not {type(value).__name__}")
        if not value or "\0" in value:
            raise InvalidTableName(value, f"its {attribute.name} is empty or contains NUL")
        if len(value.encode("utf-8", "surrogatepass")) > LONGEST_NAME:
            raise InvalidTableName(
                value, f"its {attribute.name} is longer than {LONGEST_NAME} bytes"
            )

    @classmethod
    def parse(cls, text: str) -> "TableName":
        """Parse a table name as SQL does: parts without quotes are folded to lower case.

        A name without a schema is in ``public``; search_path is not consulted.

        Raises:
            InvalidTableName: If the text is not ``name`` or ``schema.name``.
        """
        if not isinstance(text, str):
            raise TypeError(f"TableName.parse() takes a str, not {type(text).__name__}")
        whole = _WHOLE.fullmatch(text)
        if whole is None:
            raise InvalidTableName(text, "it is not of the form name or schema.name")
        return cls(_unquoted(whole[1] or "public"), _unquoted(whole[2]))

    def __str__(self) -> str:
        return f"{quoted(self.schema)}.{quoted(self.name)}"


AnyTable: TypeAlias = str | TableName
"""A table name, or text for ``TableName.parse``."""


def table_of(table: AnyTable) -> TableName:
    """Return the table name, parsing it if it is a str."""
    return table if isinstance(table, TableName) else TableName.parse(table)


def quoted(name: str) -> str:
    """Quote an identifier for SQL, if it needs quotes."""
    return name if _BARE.fullmatch(name) else quote_identifier(name)


def _unquoted(part: str) -> str:
    return part[1:-1].replace('""', '"') if part.startswith('"') else part.lower()


def schemas_and_names(tables: Sequence[TableName]) -> tuple[list[str], list[str]]:
    """Return the schemas and the names of tables, for a query with unnest().

    >>> schemas_and_names([TableName("public", "users"), TableName("sales", "orders")])
    (['public', 'sales'], ['users', 'orders'])
    """
    return [table.schema for table in tables], [table.name for table in tables]
