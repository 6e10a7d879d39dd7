"""Types of the fields of attrs classes that were built from JSON."""

from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import attrs


def has_types(record: attrs.AttrsInstance) -> bool:
    """Return whether all fields have the types of their annotations, also those of inner records.

    Annotations are classes, tuples and unions of these.
    """
    hints = get_type_hints(type(record))
    return all(
        _is_of(getattr(record, field.name), hints[field.name])
        for field in attrs.fields(type(record))
    )


def _is_of(value: object, hint: Any) -> bool:
    if get_origin(hint) is UnionType:
        return any(_is_of(value, one) for one in get_args(hint))
    if get_origin(hint) is tuple:
        return isinstance(value, tuple) and _are_of(value, get_args(hint))
    # bool is a subclass of int.
    if hint in (NoneType, bool, int, str):
        return type(value) is hint
    return isinstance(value, hint) and (not attrs.has(type(value)) or has_types(value))


def _are_of(values: tuple[object, ...], hints: tuple[Any, ...]) -> bool:
    if hints[-1] is ...:
        hints = hints[:1] * len(values)
    return len(values) == len(hints) and all(map(_is_of, values, hints))
