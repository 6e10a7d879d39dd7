"""Schemas of pydantic for the value types; only pydantic loads this module."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import cast

import attrs
from pydantic import GetCoreSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema as cs

from pgreplkit.values.segment import SegmentSize
from pgreplkit.values.textforms import text_forms

_TEXTS = text_forms()


def schema_of(kind: type, handler: GetCoreSchemaHandler) -> CoreSchema:
    """Return the schema of a value type: text for positions and names, otherwise an object.

    A value of the type is accepted too, and stays a value if a model is dumped to Python.
    """
    if kind in _TEXTS:
        return _schema(kind, _TEXTS[kind].parse, cs.str_schema(), str)
    if kind is SegmentSize:
        return _schema(kind, SegmentSize, cs.int_schema(strict=True), int)
    fields = _fields(kind, handler)
    return _schema(
        kind,
        lambda given: kind(**given),
        cs.typed_dict_schema(fields),
        lambda value: {name: getattr(value, name) for name in fields},
    )


def _schema(
    kind: type, read: Callable[..., object], form: CoreSchema, write: Callable[..., object]
) -> CoreSchema:
    """Return the schema of a type whose values are read from and written to ``form``."""

    def validate(given: object, inner: cs.ValidatorFunctionWrapHandler) -> object:
        # JSON has the number of bytes, as to_dict() does; people write "64MB".
        if kind is SegmentSize and isinstance(given, str):
            return SegmentSize.parse(given)
        return given if isinstance(given, kind) else inner(given)

    # The inner serialization is used when a model is dumped to Python, and keeps the value.
    kept = cs.plain_serializer_function_ser_schema(lambda value: value)
    written = cs.plain_serializer_function_ser_schema(write, return_schema=form, when_used="json")
    return cs.no_info_wrap_validator_function(
        validate,
        cs.no_info_after_validator_function(read, form, serialization=kept),
        serialization=written,
    )


def _fields(kind: type, handler: GetCoreSchemaHandler) -> dict[str, cs.TypedDictField]:
    hints = typing.get_type_hints(kind)
    return {
        field.name: cs.typed_dict_field(
            handler.generate_schema(hints[field.name]),
            required=field.default is attrs.NOTHING,
        )
        for field in attrs.fields(cast("type[attrs.AttrsInstance]", kind))
    }


def json_schema_of(kind: type, schema: JsonSchemaValue) -> JsonSchemaValue:
    """Return the JSON schema of a value type, with its name and an example."""
    examples = {"examples": [_TEXTS[kind].example]} if kind in _TEXTS else {}
    return {**schema, "title": kind.__name__, **examples}
