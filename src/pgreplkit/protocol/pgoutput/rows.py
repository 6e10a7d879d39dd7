"""Row: the values of a row by name and by position; and the other row factories."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, SupportsIndex, TypeAlias, TypeVar, overload

from pgreplkit.errors import ColumnNotFound
from pgreplkit.values.plain import JSONValue, plain_dict
from pgreplkit.values.unchanged import UNCHANGED as UNCHANGED, Unchanged as Unchanged

R = TypeVar("R")
Default = TypeVar("Default")


class Row(tuple[object, ...]):
    """The values of a row: a tuple in the order of the columns, with access by name.

    >>> row = named_rows(("id", "name"))((1, "Ada"))
    >>> row["name"], row[0], dict(row)
    ('Ada', 1, {'id': 1, 'name': 'Ada'})
    >>> row
    Row(id=1, name='Ada')
    """

    __slots__ = ()
    _positions: ClassVar[Mapping[str, int]] = {}

    def keys(self) -> tuple[str, ...]:
        """Return the names of the columns."""
        return tuple(self._positions)

    def get(self, name: str, default: Default | None = None) -> object | Default | None:
        """Return the value of a column, or ``default`` if there is no such column."""
        position = self._positions.get(name)
        return default if position is None else tuple.__getitem__(self, position)

    def as_dict(self) -> dict[str, object]:
        """Return the values by column name."""
        return dict(zip(self._positions, self, strict=True))

    def to_dict(self) -> dict[str, JSONValue]:
        """Return the values by column name as JSON types; UNCHANGED values are left out."""
        return plain_dict(self.as_dict())

    @overload
    def __getitem__(self, key: str | SupportsIndex, /) -> object: ...
    @overload
    def __getitem__(self, key: slice, /) -> tuple[object, ...]: ...
    def __getitem__(self, key: str | SupportsIndex | slice, /) -> object:
        if isinstance(key, str):
            try:
                return tuple.__getitem__(self, self._positions[key])
            except KeyError:
                raise ColumnNotFound(key, self.keys()) from None
        return tuple.__getitem__(self, key)

    def __repr__(self) -> str:
        return f"Row({', '.join(f'{name}={value!r}' for name, value in self.as_dict().items())})"

    def __reduce__(self) -> tuple[Callable[..., Row], tuple[tuple[str, ...], tuple[object, ...]]]:
        return _restored, (self.keys(), tuple(self))


RowMaker: TypeAlias = Callable[[tuple[object, ...]], R]
"""Returns a row for a tuple of values."""
RowFactory: TypeAlias = Callable[[tuple[str, ...]], RowMaker[R]]
"""Returns a row maker for columns of those names."""


_OF_PSYCOPG = {
    "dict_row": "dict_rows",
    "tuple_row": "tuple_rows",
    "namedtuple_row": "named_rows",
    "class_row_": "class_rows(cls)",
}
_TYPES: dict[object, str] = {dict: "dict_rows", tuple: "tuple_rows"}


def checked_row_factory(factory: RowFactory[R]) -> RowFactory[R]:
    """Return ``factory`` if it can be a row factory of a stream.

    Raises:
        TypeError: If it is not callable, or belongs to psycopg, whose row factories take a cursor.
    """
    if not callable(factory):
        raise TypeError(f"row_factory must be callable, not {type(factory).__name__}")
    own = next((own for kind, own in _TYPES.items() if factory is kind), None)
    name = getattr(factory, "__name__", "")
    if getattr(factory, "__module__", "") == "psycopg.rows":
        own = _OF_PSYCOPG.get(name, "named_rows")
        name = f"psycopg's {name.removesuffix('_')}"
    if own:
        raise TypeError(f"row_factory takes the names of columns; pass {own} instead of {name}")
    return factory


def named_rows(names: tuple[str, ...]) -> type[Row]:
    """Return a row maker for Row objects; the default row factory."""
    positions = {name: position for position, name in enumerate(names)}
    # A class for each table: names and positions are stored once, and not in each row.
    return type(
        "Row", (Row,), {"__slots__": (), "_positions": positions, "__module__": "pgreplkit"}
    )


def _restored(names: tuple[str, ...], values: tuple[object, ...]) -> Row:
    return named_rows(names)(values)


def tuple_rows(names: tuple[str, ...]) -> RowMaker[tuple[object, ...]]:
    """Return a row maker for plain tuples in the order of the columns."""
    return tuple


def dict_rows(names: tuple[str, ...]) -> RowMaker[dict[str, object]]:
    """Return a row maker for dicts by column name."""
    return lambda values: dict(zip(names, values, strict=True))


def class_rows(cls: Callable[..., R]) -> RowFactory[R]:
    """Return a row factory for a class that takes the columns as keywords, such as a dataclass."""

    def factory(names: tuple[str, ...]) -> RowMaker[R]:
        return lambda values: cls(**dict(zip(names, values, strict=True)))

    return factory
