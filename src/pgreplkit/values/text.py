"""Text forms of rows and reports: lines of at most 100 columns, for terminals and logs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeGuard

from pgreplkit.values.record import Record, names_of

WIDTH = 100
_MOST_ITEMS = 20
"""Items of a list within a report; the rest is counted."""
_LONGEST_CELL = 50
_GAP = "  "


def text_of(record: Record) -> str:
    """Return the text of a record: one line if it fits, otherwise one line for each value."""
    title = type(record).__name__
    shown = _shown(record)
    if not any(_is_list(value) for _, value in shown):
        line = f"{title}: {_joined(shown) or 'nothing is known'}"
        if len(line) <= WIDTH:
            return line
    indent = max((len(name) for name, value in shown if not _is_list(value)), default=0)
    lines = [title]
    for name, value in shown:
        if _is_list(value):
            lines += wrapped(f"{name} ({len(value)}):", first=_GAP)
            lines += items_text(value, indent=4)
        else:
            first = f"{_GAP}{name:<{indent}}{_GAP}"
            lines += wrapped(value_text(value, name), first=first)
    return "\n".join(lines)


def line_of(record: Record) -> str:
    """Return the text of a record as one line, without limit."""
    if type(record).__str__ is not Record.__str__:
        return clean(str(record))
    return _joined(_shown(record))


def items_text(items: Sequence[object], *, indent: int) -> list[str]:
    """Return a line for each item, and the number of those beyond the first 20."""
    lines = [
        line
        for item in items[:_MOST_ITEMS]
        for line in wrapped(
            line_of(item) if isinstance(item, Record) else value_text(item), first=" " * indent
        )
    ]
    more = len(items) - _MOST_ITEMS
    return [*lines, f"{' ' * indent}… and {more} more"] if more > 0 else lines


def _shown(record: Record) -> list[tuple[str, object]]:
    values = ((name, getattr(record, name)) for name in names_of(type(record)))
    return [(name, value) for name, value in values if value is not None]


def _joined(shown: Iterable[tuple[str, object]]) -> str:
    return ", ".join(f"{name} {value_text(value, name)}" for name, value in shown)


def _is_list(value: object) -> TypeGuard[tuple[object, ...]]:
    return isinstance(value, tuple) and any(isinstance(item, Record) for item in value)


def value_text(value: object, name: str = "") -> str:
    """Return a value as people read it; ``name`` is that of its field."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, timedelta):
        return duration_text(value)
    if isinstance(value, int) and type(value) is int:
        is_large = abs(value) >= 1024 and is_size(name)
        return f"{value} ({size_text(value)})" if is_large else str(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Record):
        return line_of(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{clean(str(k))}={value_text(v)}" for k, v in value.items()) or "none"
    if isinstance(value, tuple | list) and not hasattr(value, "as_dict"):
        return ", ".join(map(value_text, value)) or "none"
    return clean(str(value))


def is_size(name: str) -> bool:
    """Return whether a field of that name is a number of bytes."""
    return not {"bytes", "size"}.isdisjoint(name.split("_"))


def size_text(count: float) -> str:
    """Return a number of bytes with a binary unit.

    >>> size_text(512), size_text(16 * 1024**2), size_text(1.5 * 1024**3)
    ('512 B', '16.0 MiB', '1.5 GiB')
    """
    units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while abs(count) >= 1024 and len(units) > 1:
        count, units = count / 1024, units[1:]
    return f"{count:.0f} B" if units[0] == "B" else f"{count:.1f} {units[0]}"


def duration_text(time: timedelta) -> str:
    """Return a duration with its two largest units.

    >>> duration_text(timedelta(seconds=0.25)), duration_text(timedelta(seconds=7384))
    ('0.25 s', '2 h 3 min')
    """
    sign, seconds = ("-", -time) if time < timedelta(0) else ("", time)
    total = seconds.total_seconds()
    if total < 60:
        return f"{sign}{total:.3g} s"
    minutes, rest = divmod(round(total), 60)
    if minutes < 60:
        return f"{sign}{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{sign}{hours} h {minutes} min"
    return f"{sign}{hours // 24} days {hours % 24} h"


def clean(text: str) -> str:
    """Return text as one printable line: names and errors can contain anything."""
    line = " ".join(text.split())
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def wrapped(text: str, *, first: str = "", then: str | None = None) -> list[str]:
    """Return text as printable lines of at most 100 columns, the later ones below the first."""
    text = clean(text)
    if len(first) + len(text) <= WIDTH:
        return [(first + text).rstrip()]
    import textwrap

    following = " " * len(first) if then is None else then
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=following,
        break_on_hyphens=False,
    ) or [first.rstrip()]


def table_text(rows: Sequence[Mapping[str, object]]) -> list[str]:
    """Return rows as aligned columns; columns beyond 100 characters are only named.

    Columns that are None in all rows are left out.
    """
    names = [n for n in (rows[0] if rows else ()) if any(row.get(n) is not None for row in rows)]
    if not names:
        return []
    cells = {name: [_cut(value_text(row.get(name))) for row in rows] for name in names}
    # Columns of tables can have any name.
    heads = {name: clean(name) for name in names}
    kept, left_out, used = [], [], 0
    for name in names:
        width = max(len(heads[name]), *map(len, cells[name]), 0)
        if used + width <= WIDTH:
            kept.append((name, width))
            used += width + len(_GAP)
        else:
            left_out.append(name)
    lines = [_GAP.join(f"{heads[name]:<{width}}" for name, width in kept)]
    for number in range(len(rows)):
        lines.append(_GAP.join(f"{cells[name][number]:<{width}}" for name, width in kept))
    lines = [line.rstrip() for line in lines]
    if left_out:
        lines += wrapped(f"(more columns: {', '.join(left_out)})")
    return lines


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_CELL else f"{text[: _LONGEST_CELL - 1]}…"
