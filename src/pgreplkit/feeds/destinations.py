"""Destinations: the names of subjects, topics and streams."""

from __future__ import annotations

import re
from collections.abc import Callable
from string import Formatter
from typing import TypeAlias

import attrs

from pgreplkit.errors import InvalidDestination
from pgreplkit.feeds.change import FeedChange, FeedOperation
from pgreplkit.protocol.pgoutput.tables import Table

Destination: TypeAlias = str | Callable[[FeedChange, Table | None], str]
"""A template, or a function of the change and its table, which is None for a logical message."""

_FORBIDDEN = re.compile(rb"[^A-Za-z0-9_]")
_ESCAPED = re.compile(rb"-([0-9A-F]{2})")
_LITERAL = re.compile(r"[A-Za-z0-9_.:/$-]*", re.ASCII)
_SEPARATOR = re.compile(r"[.:/$]")
_FIELDS = ("db", "schema", "table")


def escaped_name(name: str) -> str:
    """Return a name as a part of a subject, topic or stream of any engine.

    Letters of ASCII, digits and ``_`` stay. Each other byte of UTF-8 becomes ``-`` and two
    hexadecimal digits, and an empty name ``-``, so that two names never become one.
    """
    if not name:
        return "-"
    # The minus sign itself is escaped too, so that the escaped text is unambiguous.
    escaped = _FORBIDDEN.sub(lambda found: b"-%02X" % found[0][0], name.encode())
    return escaped.decode("ascii")


def unescaped_name(part: str) -> str:
    """Return the name that ``escaped_name`` has escaped.

    Raises: InvalidDestination for a text that it never returns.
    """
    name = _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), part.encode())
    try:
        text = "" if part == "-" else name.decode()
    except UnicodeDecodeError:
        text = ""
    # Escaping it again finds everything else: lower-case digits, characters that need no escape.
    if escaped_name(text) != part:
        raise InvalidDestination(part, "it is not an escaped name")
    return text


@attrs.frozen
class Template:
    """A template of destinations, with the fields ``{db}``, ``{schema}`` and ``{table}``.

    Raises: InvalidDestination.
    """

    text: str
    fields: tuple[str, ...] = attrs.field(default=_FIELDS, repr=False)

    def __attrs_post_init__(self) -> None:
        try:
            parts = [*Formatter().parse(self.text)]
        except ValueError as error:
            raise InvalidDestination(self.text, str(error)) from None
        for position, (literal, field, form, conversion) in enumerate(parts):
            if field is not None and (field not in self.fields or form or conversion):
                known = ", ".join(f"{{{name}}}" for name in self.fields)
                raise InvalidDestination(self.text, f"its fields are {known}, not {{{field}}}")
            if not _LITERAL.fullmatch(literal):
                raise InvalidDestination(self.text, f"engines refuse characters of {literal!r}")
            # Without a separator, a_b and c would become the same as a and b_c.
            if position and field is not None and not _SEPARATOR.search(literal):
                raise InvalidDestination(self.text, f"no separator before {{{field}}}")
        if not self.text or "" in self.text.split("."):
            raise InvalidDestination(self.text, "it has an empty part")

    def name(self, **names: str) -> str:
        """Return the destination for these names."""
        return self.text.format(**{field: escaped_name(name) for field, name in names.items()})


class Destinations:
    """The destinations of changes: a template each for rows and for logical messages.

    Raises: InvalidDestination; TypeError.
    """

    def __init__(self, rows: Destination, messages: str) -> None:
        self._of_messages = Template(messages, ("db", "prefix"))
        self._template: Template | None = None
        self._choose: Callable[[FeedChange, Table | None], str] | None = None
        if isinstance(rows, str):
            self._template = Template(rows)
        elif callable(rows):
            self._choose = rows
        else:
            raise TypeError(f"destination must be a str or a function, not {type(rows).__name__}")

    @property
    def is_constant(self) -> bool:
        """Whether all rows of a table have one destination."""
        return self._choose is None

    def of(self, change: FeedChange, table: Table | None) -> str:
        """Return the destination of a change of this table, or of a logical message.

        Raises: InvalidDestination; any error of the function.
        """
        database = change.source.database
        if self._choose is not None:
            chosen = self._choose(change, table)
            if not isinstance(chosen, str) or not chosen:
                raise InvalidDestination(chosen, "the function must return a name")
            return chosen
        if change.operation is FeedOperation.MESSAGE or table is None or self._template is None:
            return self._of_messages.name(db=database, prefix=change.prefix)
        return self._template.name(db=database, schema=table.schema, table=table.name)
