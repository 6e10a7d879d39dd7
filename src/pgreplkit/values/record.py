"""Record: the base of rows and reports, with their JSON, text and HTML forms."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, cast

import attrs

from pgreplkit._hooks import html_of
from pgreplkit.values.modelfield import ModelField

if TYPE_CHECKING:
    from pgreplkit.values.plain import JSONValue


class Record(ModelField):
    """Base of rows and reports: attrs classes with computed properties.

    All forms of a record come from its fields and its public properties. So a new field, or a new
    property, is in all of them. Fields that the repr hides are in none.
    """

    __slots__ = ()

    _left_out: ClassVar[tuple[str, ...]] = ()
    """Properties that repeat other fields, or can raise an error: not in ``to_dict()``."""
    _first: ClassVar[tuple[str, ...]] = ()
    """Columns that tables show first: those that people look for."""
    _has_kind: ClassVar[bool] = False
    """True if ``to_dict()`` names the class as "kind", for items of a mixed list."""
    _is_named: ClassVar[bool] = False
    """True if ``str()`` of the record stands for it inside another record."""

    def to_dict(self) -> "dict[str, JSONValue]":
        """Return the fields and the computed properties as JSON types.

        LSNs, names and versions become text, sizes bytes, times ISO 8601, durations seconds, and
        binary data hex digits as in PostgreSQL (``\\\\x00ff``).
        """
        from pgreplkit.values.plain import plain_row

        return plain_row(cast(attrs.AttrsInstance, self))

    def __str__(self) -> str:
        from pgreplkit.values.text import text_of

        return text_of(self)

    def _repr_html_(self) -> str:
        return html_of(self)


class Stateful:
    """Base of server objects whose ``state`` is a row: they have its JSON and HTML forms."""

    state: Record

    def to_dict(self) -> "dict[str, JSONValue]":
        """Return the state, as it was last read, as JSON types."""
        return self.state.to_dict()

    def _repr_html_(self) -> str:
        return html_of(self.state)


_NAMES: dict[type, tuple[str, ...]] = {}


def names_of(kind: type) -> tuple[str, ...]:
    """Return the names of a class's public fields and computed properties, fields first."""
    names = _NAMES.get(kind)
    if names is None:
        names = _NAMES[kind] = tuple(dict.fromkeys(_names(kind)))
    return names


def _names(kind: type) -> Iterator[str]:
    # Fields that the repr hides may contain a password.
    fields = [f.name for f in attrs.fields(cast(type[attrs.AttrsInstance], kind)) if f.repr]
    computed = [
        name
        for base in reversed(kind.__mro__)
        for name, member in vars(base).items()
        if isinstance(member, property)
    ]
    left_out = getattr(kind, "_left_out", ())
    yield from (n for n in (*fields, *computed) if not n.startswith("_") and n not in left_out)


def asdict(record: Record) -> dict[str, object]:
    """Return the fields and the computed properties of a row or report, as Python values.

    Rows within it become dicts too. ``to_dict()`` returns the same as JSON types;
    ``attrs.asdict`` has no computed properties.
    """
    return {name: _inner(getattr(record, name)) for name in names_of(type(record))}


def _inner(value: object) -> object:
    if isinstance(value, Record):
        return asdict(value)
    if type(value) is tuple:
        return tuple(map(_inner, value))
    if isinstance(value, Mapping):
        return {key: _inner(item) for key, item in value.items()}
    return value
