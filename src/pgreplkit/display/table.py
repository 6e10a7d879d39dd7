"""Tables: lists of rows, and the values of one row."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta

from pgreplkit.display.markup import (
    AMBER,
    BLUE,
    GREEN,
    GREY,
    LINE,
    MUTED,
    RED,
    Markup,
    badge,
    block,
    join,
    muted,
    panel,
    tag,
    text,
)
from pgreplkit.values.finding import Severity
from pgreplkit.values.flat import shown_records
from pgreplkit.values.record import Record, names_of
from pgreplkit.values.rows import Rows
from pgreplkit.values.text import WIDTH, is_size, size_text, value_text

_COLOURS = {
    Severity.OK: GREEN,
    Severity.INFO: BLUE,
    Severity.WARNING: AMBER,
    Severity.CRITICAL: RED,
}
_SHORT = 34
"""Characters: a time with its zone, or a long name, is not broken."""
_TAG = re.compile("<[^>]*>")
_MOST_ROWS = 100
"""Rows of a table; the rest is counted, so that a notebook stays small."""
_CELL = f"padding:.15em .7em .15em 0;text-align:left;vertical-align:top;border-bottom:{LINE}"
_NUMBER = _CELL.replace("text-align:left", "text-align:right")
_TABLE = "border-collapse:collapse;border:none;margin:0;font-size:inherit"


def table(names: Sequence[str], rows: Sequence[Sequence[object]], *, total: int = 0) -> Markup:
    """Return a table; ``total`` is the number of rows if not all are in it."""
    head = tag("tr", *(tag("th", name, style=f"{_CELL};{MUTED}") for name in names))
    body = (tag("tr", *map(_cell, row)) for row in rows)
    drawn = tag("table", tag("thead", head), tag("tbody", *body), style=_TABLE)
    # A table that hides rows says so.
    more = total - len(rows)
    return join([drawn, block(muted(f"… and {more} more"))]) if more > 0 else drawn


def _cell(value: object) -> Markup:
    # Numbers are compared by their last digits; a bool is a word.
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    content = shown(value)
    style = _NUMBER if is_number else _CELL
    # Short values keep their line, so that wide tables scroll instead of breaking each value.
    if len(_TAG.sub("", content)) <= _SHORT:
        style += ";white-space:nowrap"
    return tag("td", content, style=style)


def severity_colour(severity: Severity) -> str:
    """Return the colour of a severity; grey for one that is unknown."""
    return _COLOURS.get(severity, GREY)


def severity_badge(severity: Severity) -> Markup:
    """Return a severity as a word in its colour."""
    return badge(severity.value, severity_colour(severity))


def shown(value: object, name: str = "") -> Markup:
    """Return a value as people read it; ``name`` is that of its field."""
    if isinstance(value, Markup):
        return value
    if value is None:
        return muted("–")
    if isinstance(value, Severity):
        return severity_badge(value)
    if isinstance(value, int) and is_size(name) and not isinstance(value, bool):
        return tag("span", size_text(value), title=str(value))
    if isinstance(value, timedelta):
        return tag("span", value_text(value), title=str(value))
    written = value_text(value, name)
    if len(written) > WIDTH and isinstance(value, Mapping):
        return grid_of(value)
    if len(written) > WIDTH and isinstance(value, tuple):
        # Statements and sentences, which contain commas themselves.
        return join(block(shown(item)) for item in value)
    return text(written)


def grid_of(value: Mapping[object, object]) -> Markup:
    """Return a mapping as a table of its items."""
    return _values([(str(key), shown(item)) for key, item in value.items()])


def rows_table(rows: Rows[object]) -> Markup:
    """Return the table of a list of rows, without columns that are empty in all of them."""
    return panel(_title(rows), grid(rows))


def _title(rows: Sequence[object]) -> str:
    kinds = {type(row).__name__.removeprefix("Async") for row in rows}
    return f"{len(rows)} × {', '.join(sorted(kinds))}" if rows else "no rows"


def grid(rows: Sequence[object]) -> Markup:
    """Return rows of any class as a table."""
    return records_table(shown_records(rows))


def records_table(records: Sequence[Mapping[str, object]]) -> Markup:
    """Return flat records as a table."""
    first = records[0] if records else {}
    names = [name for name in first if any(r[name] is not None for r in records)]
    cells = [[_of_record(name, record[name]) for name in names] for record in records[:_MOST_ROWS]]
    return table([name.replace("_", " ") for name in names], cells, total=len(records))


def _of_record(name: str, value: object) -> object:
    if is_size(name):
        return shown(value, name)
    # Records have plain texts, and nested ones the name of their field before it.
    if isinstance(value, str) and name.endswith("severity"):
        return severity_badge(Severity(value))
    return value


def record_panel(record: Record) -> Markup:
    """Return the values of one record, and tables of the rows within it."""
    return panel(type(record).__name__, *_parts(record))


def _parts(record: Record) -> list[Markup]:
    values: list[tuple[str, Markup]] = []
    parts: list[Markup] = []
    for name in names_of(type(record)):
        value = getattr(record, name)
        title = name.replace("_", " ")
        if isinstance(value, tuple) and any(isinstance(item, Record) for item in value):
            parts.append(_part(f"{title} ({len(value)})", grid(value)))
        elif isinstance(value, Record) and len(value_text(value)) > WIDTH:
            # Many values in one cell would be prose without verbs.
            parts.append(_part(title, *_parts(value)))
        elif value is not None:
            values.append((title, shown(value, name)))
    return [_values(values), *parts]


def _part(title: str, *content: Markup) -> Markup:
    return block(muted(title), *content, style="margin-top:.5em")


def _values(pairs: Sequence[tuple[str, Markup]]) -> Markup:
    name_style = f"{_CELL};white-space:nowrap;{MUTED}"
    body = (
        tag("tr", tag("td", name, style=name_style), tag("td", value, style=_CELL))
        for name, value in pairs
    )
    return tag("table", tag("tbody", *body), style=_TABLE)
