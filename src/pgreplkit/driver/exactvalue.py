"""exact_value: an SQL expression whose text is the same before and after 12, also for floats.

Servers from 12 on write a float with the fewest digits that are exact, servers before with 17.
Where one side is older, the comparison therefore reads the bits of floats, wherever they are:
in arrays, ranges, composite types and domains over them.
"""

from __future__ import annotations

from struct import pack, unpack

from psycopg.sql import SQL, Composable, Identifier

from pgreplkit.catalog.logical.types import Types, TypeShape

_SEND = {
    "real": "float4send",
    "double precision": "float8send",
    "polygon": "poly_send",
    **{name: f"{name}_send" for name in ("box", "circle", "line", "lseg", "path", "point")},
}
"""The types whose values hold floats, with the functions that return their bits."""
PLAIN_FLOATS = {"real", "double precision"}


def has_floats(oid: int, types: Types) -> bool:
    """Return whether values of a type hold floats, at any depth."""
    # A composite type may contain an array of itself.
    waiting, seen = [oid], {oid}
    while waiting:
        shape = types.get(waiting.pop())
        if shape is None:
            continue
        if _is_float(shape):
            return True
        parts = {attribute.type_oid for attribute in shape.attributes}
        parts |= set() if shape.element is None else {shape.element}
        waiting += parts - seen
        seen |= parts
    return False


def base_type(oid: int, types: Types) -> TypeShape:
    """Return a type, or the one under a domain, however many domains are between."""
    shape = types[oid]
    while shape.kind == "d" and shape.element is not None:
        shape = types[shape.element]
    return shape


def exact_value(value: Composable, oid: int, types: Types, *, depth: int = 0) -> Composable:
    """Return an expression for a value whose text does not depend on how floats are written.

    A value without floats stays as it is.
    """
    if not has_floats(oid, types):
        return value
    shape = base_type(oid, types)
    if _is_float(shape):
        bits = SQL("encode({}({}), 'hex')").format(SQL(_SEND[shape.name]), value)
        if shape.name not in PLAIN_FLOATS:
            return bits
        # A NaN that was computed has another sign bit than one that was parsed.
        return SQL("CASE WHEN {} = 'NaN' THEN 'NaN' ELSE {} END").format(value, bits)
    match shape.kind:
        case "a":
            return _array(value, shape, types, depth)
        case "c" | "t":
            return _composite(value, shape, types, depth)
        case "r":
            return _range(value, shape, types, depth)
    return value


def _is_float(shape: TypeShape) -> bool:
    return shape.kind == "b" and shape.name in _SEND


def _array(value: Composable, shape: TypeShape, types: Types, depth: int) -> Composable:
    element = shape.element or 0
    # array_send() would write the OID of the element type, which differs from database to
    # database where the type is not a built-in one.
    item = Identifier(f"item{depth}")
    return SQL(
        "CASE WHEN {0} IS NOT NULL THEN pg_catalog.concat(pg_catalog.array_dims({0}),"
        " ARRAY(SELECT {1} FROM (SELECT pg_catalog.unnest({0}) AS {2}) AS {3})::text) END"
    ).format(
        value,
        exact_value(item, element, types, depth=depth + 1),
        item,
        Identifier(f"items{depth}"),
    )


def _composite(value: Composable, shape: TypeShape, types: Types, depth: int) -> Composable:
    fields = [
        exact_value(
            SQL("({}).{}").format(value, Identifier(attribute.name)),
            attribute.type_oid,
            types,
            depth=depth + 1,
        )
        for attribute in shape.attributes
    ]
    # IS NOT NULL would be false for a row with a NULL in it.
    return SQL("CASE WHEN {} IS DISTINCT FROM NULL THEN ROW({})::text END").format(
        value, SQL(", ").join(fields)
    )


def _range(value: Composable, shape: TypeShape, types: Types, depth: int) -> Composable:
    subtype = shape.element or 0
    bounds = [
        exact_value(SQL("{}({})").format(SQL(end), value), subtype, types, depth=depth + 1)
        for end in ("lower", "upper")
    ]
    return SQL(
        "CASE WHEN {0} IS NOT NULL THEN ROW(isempty({0}), lower_inc({0}), upper_inc({0}),"
        " lower_inf({0}), upper_inf({0}), {1}, {2})::text END"
    ).format(value, *bounds)


def exact_float(text: str, type_name: str) -> str:
    """Return one exact text of a float, whichever server wrote it.

    >>> exact_float("0.10000000000000001", "double precision"), exact_float("0.1", "real")
    ('0.1', '0.100000001')
    """
    number = float(text)
    if type_name == "real":
        # Two texts of one real may be different numbers with 64 bits.
        [number] = unpack("f", pack("f", number))
        return f"{number:.9g}"
    return f"{number!r}".removesuffix(".0")
