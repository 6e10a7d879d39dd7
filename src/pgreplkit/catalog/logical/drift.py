"""TableShape: the definition of a table, with its columns, indexes, constraints and triggers."""

from __future__ import annotations

import attrs

from pgreplkit.catalog.features import has
from pgreplkit.catalog.logical.types import NOT_VALID, Types
from pgreplkit.catalog.view import ASKED_TABLES
from pgreplkit.values.tablename import TableName


@attrs.frozen(kw_only=True)
class TableColumn:
    """A column of a table."""

    name: str
    type: str
    type_oid: int
    not_null: bool
    default: str | None
    generated: str
    """"s" for a stored generated column, "v" for a virtual one; empty for an ordinary column."""
    identity: str
    collation: str | None
    is_key: bool = False
    """Whether it is part of the primary key or the replica identity, and so has to be NOT NULL."""
    inherits_not_null: bool = False
    """Whether only the parent of a partition or child can drop its NOT NULL."""

    @property
    def needs_value(self) -> bool:
        """Whether an INSERT without a value for this column fails."""
        return self.not_null and self.default is None and not (self.identity or self.generated)


@attrs.frozen(kw_only=True)
class TableIndex:
    """An index that does not belong to a constraint."""

    name: str
    definition: str
    is_valid: bool

    @property
    def is_unique(self) -> bool:
        """Whether it refuses rows, as a unique constraint does."""
        return self.definition.startswith("CREATE UNIQUE ")


@attrs.frozen(kw_only=True)
class TableConstraint:
    """A constraint; ``type`` is p, u, f, c or x."""

    name: str
    type: str
    definition: str

    @property
    def rule(self) -> tuple[str, str]:
        """The rule for new rows, which is the same for a constraint that is NOT VALID."""
        return self.type, self.definition.removesuffix(NOT_VALID)

    @property
    def is_valid(self) -> bool:
        """Whether older rows were checked too."""
        return not self.definition.endswith(NOT_VALID)

    @property
    def is_enforced(self) -> bool:
        """Whether the server checks rows at all."""
        return not self.definition.endswith(" NOT ENFORCED")


@attrs.frozen(kw_only=True)
class TableTrigger:
    """A trigger that a user created; ``enabled`` is O, D, R or A."""

    name: str
    enabled: str
    definition: str


@attrs.frozen(kw_only=True)
class TablePartition:
    """A partition of a table, with its bounds."""

    name: str
    bound: str


@attrs.define(kw_only=True)
class TableShape:
    """The definition of a table.

    Source: pg_class, pg_attribute, pg_index, pg_constraint, pg_trigger, pg_inherits.
    """

    table: TableName
    is_partitioned: bool
    is_unlogged: bool = False
    bound: str | None = None
    """The condition on the rows of a partition; None for another table."""
    columns: dict[str, TableColumn] = attrs.field(factory=dict)
    indexes: dict[str, TableIndex] = attrs.field(factory=dict)
    constraints: dict[str, TableConstraint] = attrs.field(factory=dict)
    triggers: dict[str, TableTrigger] = attrs.field(factory=dict)
    partitions: dict[str, TablePartition] = attrs.field(factory=dict)
    types: Types = attrs.field(factory=dict)
    """The types that columns are made of; those of the whole database in one mapping."""


# The condition of a hash partition contains the OID of its parent.
TABLES = f"""
    SELECT nspname, relname, relkind = 'p' AS is_partitioned, relpersistence = 'u' AS is_unlogged,
        pg_catalog.regexp_replace(pg_get_partition_constraintdef(pg_class.oid), '''\\d+''::oid, ',
            '', 'g')
            AS bound
    FROM {ASKED_TABLES}
"""
OTHER_RELATIONS = """
    SELECT nspname, relname, CASE relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
        WHEN 'f' THEN 'foreign table' WHEN 'S' THEN 'sequence' ELSE 'relation' END AS kind
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    JOIN unnest(%s::text[], %s::text[]) AS asked (schema, name)
        ON nspname = asked.schema AND relname = asked.name AND relkind NOT IN ('r', 'p')
"""
"""Relations that are no tables."""


# Columns that an index only includes may be NULL; before 11 it includes none.
_IS_KEY = """EXISTS (
    SELECT FROM pg_index AS i WHERE indrelid = pg_class.oid AND (indisprimary OR indisreplident)
        AND attnum = ANY (
            (indkey::int2[])[0:coalesce((pg_catalog.to_jsonb(i)->>'indnkeyatts'::text)::int,
                indnatts) - 1]
        )
)"""
# From 18 on, NOT NULL is a constraint, which each child inherits.
_INHERITS_NOT_NULL = """(
    relispartition AND EXISTS (
        SELECT FROM pg_inherits JOIN pg_attribute AS above ON above.attrelid = inhparent
        WHERE inhrelid = pg_class.oid AND above.attname = pg_attribute.attname AND above.attnotnull
    )
    OR EXISTS (
        SELECT FROM pg_constraint WHERE conrelid = pg_class.oid AND contype = 'n'
            AND attnum = ANY (conkey) AND coninhcount > 0
    )
)"""


def table_columns(major: int) -> str:
    """Return the statement for the columns of tables, in their order."""
    generated = "attgenerated" if has("table.generated", major) else "''"
    return f"""
        SELECT nspname, relname, attname AS name, pg_catalog.format_type(atttypid, atttypmod)
            AS type,
            atttypid::bigint AS type_oid, attnotnull AS not_null,
            -- Defaults name no columns. Before 18, with the table each call takes milliseconds
            -- if it has a thousand columns.
            pg_catalog.pg_get_expr(adbin, CASE WHEN {generated} = '' THEN 0 ELSE adrelid END)
                AS default,
            {generated}::text AS generated, attidentity::text AS identity,
            CASE WHEN attcollation NOT IN (0, typcollation) THEN collname END AS collation,
            {_IS_KEY} AS is_key, {_INHERITS_NOT_NULL} AS inherits_not_null
        FROM {ASKED_TABLES}
        JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
        JOIN pg_type ON pg_type.oid = atttypid
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        LEFT JOIN pg_collation ON pg_collation.oid = attcollation
        ORDER BY attnum
    """


INDEXES = f"""
    SELECT own.nspname, own.relname, index.relname AS name,
        pg_get_indexdef(indexrelid) AS definition, indisvalid AS is_valid
    FROM (SELECT pg_class.oid, nspname, relname FROM {ASKED_TABLES}) AS own
    JOIN pg_index ON indrelid = own.oid
    JOIN pg_class index ON index.oid = indexrelid
    WHERE NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype <> 'f')
"""
CONSTRAINTS = f"""
    SELECT nspname, relname, conname AS name, contype::text AS type,
        pg_get_constraintdef(pg_constraint.oid) AS definition
    FROM {ASKED_TABLES} JOIN pg_constraint ON conrelid = pg_class.oid
    WHERE contype IN ('p', 'u', 'f', 'c', 'x')
"""
TRIGGERS = f"""
    SELECT nspname, relname, tgname AS name, tgenabled::text AS enabled,
        pg_get_triggerdef(pg_trigger.oid) AS definition
    FROM {ASKED_TABLES} JOIN pg_trigger ON tgrelid = pg_class.oid AND NOT tgisinternal
"""
PARTITIONS = f"""
    SELECT own.nspname, own.relname, inhrelid::regclass::text AS name,
        pg_catalog.pg_get_expr(part.relpartbound, part.oid) AS bound
    FROM (SELECT pg_class.oid, nspname, relname FROM {ASKED_TABLES}) AS own
    JOIN pg_inherits ON inhparent = own.oid
    JOIN pg_class part ON part.oid = inhrelid AND part.relispartition
"""
IDENTITY_INDEXES = "SELECT indexrelid::bigint AS oid FROM pg_index WHERE indisreplident"
