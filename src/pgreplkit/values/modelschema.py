"""Schemas of pydantic for the value types; only pydantic loads this module."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from typing import cast

import attrs
from pydantic import (
    BeforeValidator,
    GetCoreSchemaHandler,
    PlainSerializer,
    PydanticSchemaGenerationError,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema as cs

from pgreplkit.values.plain import plain
from pgreplkit.values.record import Record, names_of
from pgreplkit.values.rows import Rows
from pgreplkit.values.segment import SegmentSize
from pgreplkit.values.textforms import text_forms

_TEXTS = text_forms()


def _from_hex(value: object) -> object:
    if isinstance(value, str) and value.startswith("\\x"):
        return bytes.fromhex(value[2:])
    return value


# pydantic itself writes bytes as UTF-8, and fails for others.
_HEX = typing.Annotated[
    bytes, BeforeValidator(_from_hex), PlainSerializer(plain, return_type=str, when_used="json")
]


def schema_of(kind: type, handler: GetCoreSchemaHandler) -> CoreSchema:
    """Return the schema of a value type: text for positions and names, otherwise an object.

    A value of the type is accepted too, and stays a value if a model is dumped to Python.
    """
    if kind in _TEXTS:
        return _schema(kind, _TEXTS[kind].parse, cs.str_schema(), str)
    if kind is SegmentSize:
        return _schema(kind, SegmentSize, cs.int_schema(strict=True), int)
    given = _fields(kind, handler)
    # Fields that the repr hides may hold a password: they are read, but never written.
    hidden = {f.name for f in attrs.fields(cast("type[attrs.AttrsInstance]", kind)) if not f.repr}
    written = {name: field for name, field in given.items() if name not in hidden}
    written |= _computed(kind, handler)
    # An item of a stream names its class, as in to_dict(); fields alone do not tell them apart.
    named = {"kind": kind.__name__} if issubclass(kind, Record) and kind._has_kind else {}
    names = {name: cs.typed_dict_field(cs.literal_schema([kind.__name__])) for name in named}
    return _schema(
        kind,
        lambda values: kind(**values),
        cs.typed_dict_schema(given),
        lambda value: named | {name: getattr(value, name) for name in written},
        cs.typed_dict_schema(names | written),
        # JSON schemas refer to it by the name of the class instead of repeating it.
        ref=f"{kind.__module__}.{kind.__qualname__}:{id(kind)}",
    )


def _schema(
    kind: type,
    read: Callable[..., object],
    form: CoreSchema,
    write: Callable[..., object],
    written: CoreSchema | None = None,
    ref: str | None = None,
) -> CoreSchema:
    """Return the schema of a type whose values are read from ``form``.

    They are written in the same form, or in that of ``written``.
    """

    def validate(given: object, inner: cs.ValidatorFunctionWrapHandler) -> object:
        # JSON has the number of bytes, as to_dict() does; people write "64MB".
        if kind is SegmentSize and isinstance(given, str):
            return SegmentSize.parse(given)
        return given if isinstance(given, kind) else inner(given)

    # The inner serialization is used when a model is dumped to Python, and keeps the value.
    kept = cs.plain_serializer_function_ser_schema(lambda value: value)
    writing = cs.plain_serializer_function_ser_schema(
        write, return_schema=written or form, when_used="json"
    )
    return cs.no_info_wrap_validator_function(
        validate,
        cs.no_info_after_validator_function(read, form, serialization=kept),
        serialization=writing,
        ref=ref,
    )


def _fields(kind: type, handler: GetCoreSchemaHandler) -> dict[str, cs.TypedDictField]:
    hints = typing.get_type_hints(kind)
    return {
        field.name: cs.typed_dict_field(
            _schema_of_hint(hints[field.name], handler),
            required=field.default is attrs.NOTHING,
        )
        for field in attrs.fields(cast("type[attrs.AttrsInstance]", kind))
    }


def _computed(kind: type, handler: GetCoreSchemaHandler) -> dict[str, cs.TypedDictField]:
    """Return the fields for the computed properties of rows and reports."""
    names = names_of(kind) if issubclass(kind, Record) else ()
    found = {name: getattr(kind, name, None) for name in names}
    return {
        name: cs.typed_dict_field(
            _schema_of_hint(typing.get_type_hints(computed.fget)["return"], handler)
        )
        for name, computed in found.items()
        if isinstance(computed, property)
    }


def _schema_of_hint(hint: object, handler: GetCoreSchemaHandler) -> CoreSchema:
    as_in_to_dict = cs.plain_serializer_function_ser_schema(plain, when_used="json")
    if any(isinstance(part, typing.TypeVar) for part in (hint, *typing.get_args(hint))):
        # A row of a stream, of the type that the caller's row factory makes.
        return cs.any_schema(serialization=as_in_to_dict)
    try:
        return handler.generate_schema(_in_hex(hint))
    except PydanticSchemaGenerationError:
        # An error: it can be written as in to_dict(), but not read again.
        return cs.no_info_after_validator_function(
            _insist_on_object, cs.any_schema(), serialization=as_in_to_dict
        )


def _in_hex(hint: object) -> object:
    """Return the hint with the bytes in it written as in ``to_dict()``."""
    if isinstance(hint, types.UnionType):
        return typing.Union[tuple(map(_in_hex, typing.get_args(hint)))]  # noqa: UP007
    return _HEX if hint is bytes else hint


def _insist_on_object(value: object) -> object:
    if isinstance(value, str | int | float | list | dict):
        raise ValueError("this field can be written as JSON, but not read")
    return value


def rows_schema_of(source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
    """Return the schema of Rows of a type: that of a list, which is read into Rows."""
    [item] = typing.get_args(source) or [typing.Any]
    return cs.no_info_after_validator_function(Rows, handler.generate_schema(list[item]))  # type: ignore[valid-type]


def json_schema_of(kind: type, schema: JsonSchemaValue) -> JsonSchemaValue:
    """Return the JSON schema of a value type, with its name and an example."""
    examples = {"examples": [_TEXTS[kind].example]} if kind in _TEXTS else {}
    return {**schema, "title": kind.__name__, **examples}
