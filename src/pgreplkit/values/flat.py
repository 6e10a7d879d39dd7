"""Flat records of rows, samples and changes, for data frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import get_args, get_origin, get_type_hints
from uuid import UUID

from pgreplkit.values.lsn import LSN
from pgreplkit.values.record import Record, names_of
from pgreplkit.values.segment import SegmentSize
from pgreplkit.values.unchanged import UNCHANGED

Cell = Callable[[object], object]
_AS_THEY_ARE = (bool, int, float, Decimal, date, datetime, time, timedelta, UUID, bytes)


def to_records(rows: Iterable[object]) -> list[dict[str, object]]:
    """Return rows, samples or changes as flat records, for ``pandas.DataFrame(…)`` or polars.

    All records have the same keys, so that each becomes a typed column:

    - An LSN is an int: its distance in bytes from the start of the WAL. So a column sorts, and the
      difference of two columns is a number of bytes. ``column.map(pgreplkit.LSN)`` returns LSNs.
    - Times are aware ``datetime``, durations ``timedelta``, sizes ints of bytes.
    - States and names are text.
    - A row within a row becomes several columns: the ``lag`` of a walsender becomes
      ``lag_sent_bytes``, ``lag_write_bytes`` and so on; the ``new`` row of a change ``new_id``.
    - A tuple of rows becomes their number.
    - A value that the server did not send (``UNCHANGED``) is None.

    polars looks at the first 100 records only: pass ``infer_schema_length=None``.

    >>> to_records([SystemIdentity(7, 1, LSN("0/3000000"), None)])
    [{'system_id': 7, 'timeline': 1, 'position': 50331648, 'database': None}]

    Raises:
        TypeError: If an item is neither a row nor an object with a ``state``, such as a Slot; for
            one row or report instead of several.
    """
    method = getattr(rows, "to_records", None)
    if method is not None and not isinstance(rows, list):
        own: list[dict[str, object]] = method()
        return own
    if not isinstance(rows, Iterable):
        raise TypeError(_one_row(rows))
    return _table([*map(row_of, rows)], _cell)


def _one_row(row: object) -> str:
    """Return the error for one row, or a report that has rows of several kinds."""
    text = f"to_records() takes several rows, not one {type(row).__name__}: pass a list"
    fields = names_of(type(row)) if isinstance(row, Record) else ()
    parts = [name for name in fields if _has_rows(getattr(row, name))]
    return f"{text}, or its {' or '.join(parts)}" if parts else text


def _has_rows(value: object) -> bool:
    return isinstance(value, tuple) and any(isinstance(item, Record) for item in value)


def shown_records(rows: Iterable[object]) -> list[dict[str, object]]:
    """Return flat records for people: LSNs in their notation, the most important columns first."""
    found = [*map(row_of, rows)]
    records = _table(found, _shown_cell)
    first = dict.fromkeys(name for row in found for name in row._first)
    return [{n: r[n] for n in dict.fromkeys([*first, *r]) if n in r} for r in records]


def _table(rows: Iterable[Record], cell: Cell) -> list[dict[str, object]]:
    """Return flat records with equal keys."""
    split: set[str] = set()
    records = [dict(_columns(row, "", split, cell)) for row in rows]
    names = dict.fromkeys(name for record in records for name in record if name not in split)
    return [{name: record.get(name) for name in names} for record in records]


def row_of(row: object) -> Record:
    """Return a row itself, or the state of an object such as a Slot."""
    if isinstance(row, Record):
        return row
    state = getattr(row, "state", None)
    if isinstance(state, Record):
        return state
    raise TypeError(f"to_records() takes rows, samples or changes, not {type(row).__name__}")


def _columns(row: Record, prefix: str, split: set[str], cell: Cell) -> Iterator[tuple[str, object]]:
    if row._has_kind:
        yield f"{prefix}kind", type(row).__name__
    for name in names_of(type(row)):
        value = getattr(row, name)
        # An empty list of rows is the number 0, as in the other records of its column.
        if value == () and name in _lists_of_rows(type(row)):
            value = 0
        yield from _cells(f"{prefix}{name}", value, split, cell)


_LISTS: dict[type, frozenset[str]] = {}


def _lists_of_rows(kind: type[Record]) -> frozenset[str]:
    names = _LISTS.get(kind)
    if names is None:
        hints = get_type_hints(kind)
        for name in names_of(kind):
            if isinstance(computed := getattr(kind, name, None), property):
                hints[name] = get_type_hints(computed.fget)["return"]
        names = _LISTS[kind] = frozenset(name for name, hint in hints.items() if _is_rows(hint))
    return names


def _is_rows(hint: object) -> bool:
    item, *_ = get_args(hint) or [None]
    return get_origin(hint) is tuple and isinstance(item, type) and issubclass(item, Record)


def _cells(name: str, value: object, split: set[str], cell: Cell) -> Iterator[tuple[str, object]]:
    """Return the columns of a value; ``split`` collects the names of values with several."""
    as_dict = getattr(value, "as_dict", None)
    if as_dict is not None:
        value = as_dict()
    if isinstance(value, Mapping):
        split.add(name)
        for key, item in value.items():
            yield from _cells(f"{name}_{key}", item, split, cell)
    elif isinstance(value, Record) and not value._is_named:
        split.add(name)
        yield from _columns(value, f"{name}_", split, cell)
    elif value is not UNCHANGED:
        yield name, cell(value)


def _cell(value: object) -> object:
    if isinstance(value, LSN | SegmentSize):
        return int(value)
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, _AS_THEY_ARE):
        return value
    if isinstance(value, tuple | list | frozenset):
        if any(isinstance(item, Record) for item in value):
            return len(value)
        return [_cell(item) for item in value]
    return str(value)


def _shown_cell(value: object) -> object:
    return str(value) if isinstance(value, LSN | SegmentSize) else _cell(value)
