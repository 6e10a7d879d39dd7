"""ModelField: the base of value types that can be fields of pydantic models."""

from __future__ import annotations

# Not typing.TYPE_CHECKING: importing typing costs more than all of this module.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema


class ModelField:
    """Base of value types that pydantic validates and writes; it is loaded by pydantic only."""

    __slots__ = ()

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        from pgreplkit.values.modelschema import schema_of

        return schema_of(cls, handler)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        from pgreplkit.values.modelschema import json_schema_of

        return json_schema_of(cls, handler(schema))
