"""TypeShape: the definition of a data type, as far as replicated values depend on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import attrs

from pgreplkit.catalog.features import has
from pgreplkit.catalog.view import ASKED_TABLES


@attrs.frozen(kw_only=True)
class TypeAttribute:
    """An attribute of a composite type."""

    name: str
    type: str
    type_oid: int


NOT_VALID = " NOT VALID"
"""The end of the definition of a constraint for which older values were not checked."""


@attrs.frozen(kw_only=True)
class DomainCheck:
    """A CHECK constraint of a domain."""

    name: str
    definition: str

    @property
    def rule(self) -> str:
        """The rule for new values, which is the same for a constraint that is NOT VALID."""
        return self.definition.removesuffix(NOT_VALID)


def _texts(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(texts)


def _attributes(records: list[list[str]]) -> tuple[TypeAttribute, ...]:
    return tuple(
        TypeAttribute(name=name, type=type, type_oid=int(oid)) for name, type, oid in records
    )


def _checks(records: list[list[str]]) -> tuple[DomainCheck, ...]:
    return tuple(DomainCheck(name=name, definition=text) for name, text in records)


@attrs.frozen(kw_only=True)
class TypeShape:
    """The definition of a data type.

    Source: pg_type, pg_enum, pg_constraint, pg_attribute, pg_range.
    """

    oid: int
    name: str
    kind: str
    """pg_type.typtype: b(ase), e(num), d(omain), c(omposite), r(ange) or m(ultirange); here also
    a for an array, and t for the row type of a table."""
    element: int | None = None
    """The OID of an array's element type, a domain's base type, a range's subtype or a
    multirange's range type."""
    definition: str = ""
    """A domain's base type or a range's subtype, with its length or precision."""
    not_null: bool = False
    labels: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    """The labels of an enum, in their order."""
    checks: tuple[DomainCheck, ...] = attrs.field(default=(), converter=_checks)
    attributes: tuple[TypeAttribute, ...] = attrs.field(default=(), converter=_attributes)


Types: TypeAlias = Mapping[int, TypeShape]
"""The types of one database, by OID."""


def types_of_tables(major: int) -> str:
    """Return the statement for all types that the columns of some tables are made of.

    It takes the schemas and the names of the tables.
    """
    multirange = is_multirange = ""
    if has("type.multirange", major):
        multirange = "UNION ALL SELECT rngtypid FROM pg_range WHERE rngmultitypid = own.oid"
        is_multirange = "WHEN typtype = 'm' THEN (SELECT rngtypid FROM pg_range"
        is_multirange += " WHERE rngmultitypid = pg_type.oid)"
    is_array = "typcategory = 'A' AND typelem <> 0::oid AND typlen = -1"
    return f"""
        WITH RECURSIVE used (oid) AS (
            SELECT atttypid
            FROM {ASKED_TABLES}
            JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
            UNION
            SELECT part.oid FROM used JOIN pg_type AS own ON own.oid = used.oid
            CROSS JOIN LATERAL (
                SELECT own.typelem WHERE {is_array}
                UNION ALL SELECT own.typbasetype WHERE own.typtype = 'd'
                UNION ALL SELECT rngsubtype FROM pg_range WHERE rngtypid = own.oid
                {multirange}
                UNION ALL SELECT atttypid FROM pg_attribute
                    WHERE attrelid = own.typrelid AND own.typtype = 'c' AND attnum > 0
                        AND NOT attisdropped
            ) AS part (oid)
        )
        SELECT pg_type.oid::bigint AS oid, pg_catalog.format_type(pg_type.oid, NULL) AS name,
            CASE WHEN {is_array} THEN 'a' WHEN relkind <> 'c' THEN 't'
                ELSE typtype::text END AS kind,
            (CASE WHEN {is_array} THEN typelem WHEN typtype = 'd' THEN typbasetype
                WHEN typtype = 'r' THEN (SELECT rngsubtype FROM pg_range
                    WHERE rngtypid = pg_type.oid)
                {is_multirange} END)::bigint AS element,
            CASE typtype WHEN 'd' THEN pg_catalog.format_type(typbasetype, typtypmod)
                WHEN 'r' THEN (SELECT pg_catalog.format_type(rngsubtype, NULL) FROM pg_range
                    WHERE rngtypid = pg_type.oid) ELSE '' END AS definition,
            typnotnull AS not_null,
            ARRAY(SELECT enumlabel::text FROM pg_enum WHERE enumtypid = pg_type.oid
                ORDER BY enumsortorder) AS labels,
            ARRAY(SELECT ARRAY[conname, pg_get_constraintdef(pg_constraint.oid)]::text[]
                FROM pg_constraint WHERE contypid = pg_type.oid AND contype = 'c'
                ORDER BY conname) AS checks,
            ARRAY(SELECT ARRAY[attname, pg_catalog.format_type(atttypid, atttypmod),
                atttypid::text]::text[]
                FROM pg_attribute WHERE attrelid = typrelid AND typtype = 'c' AND attnum > 0
                    AND NOT attisdropped
                ORDER BY attnum) AS attributes
        FROM pg_type LEFT JOIN pg_class ON pg_class.oid = typrelid
        -- As a join, it would seem so expensive that a server with JIT compiles it.
        WHERE pg_type.oid IN (SELECT oid FROM used)
    """
