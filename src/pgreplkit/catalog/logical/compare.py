"""ColumnShape: the properties of a column that a comparison of two tables needs."""

from __future__ import annotations

import attrs

from pgreplkit.catalog.features import has
from pgreplkit.catalog.view import ASKED_TABLES


@attrs.frozen(kw_only=True)
class ColumnShape:
    """A column of a table that is compared.

    Source: pg_attribute, pg_type, pg_collation.
    """

    name: str
    type: str
    type_oid: int
    collation: str | None
    """The order of its texts, as one string: the provider, locale, rules and version of its
    collation, and the encoding of the database; None for a type without collation."""
    sorts_parts: bool
    """Whether its order depends on collations of its parts: a composite type, or a range of texts,
    or an array of those."""
    is_generated: bool


def columns_of(major: int) -> str:
    """Return the SELECT that fills ColumnShape for one table."""
    generated = "attgenerated <> ''" if has("table.generated", major) else "false"
    # A name says nothing: CREATE COLLATION may give it any locale. Where a provider such as ICU
    # sorts, its locale decides the order, and not collcollate.
    locale, provider, rules = "{}collate", "'c'", "''"
    if has("database.locale", major):
        locale, provider = "coalesce({0}locale, {0}collate)", "datlocprovider"
    elif has("database.icu_locale", major):
        locale, provider = "coalesce({0}iculocale, {0}collate)", "datlocprovider"
    if has("collation.rules", major):
        rules = "{}icurules"
    deterministic = "collisdeterministic" if has("collation.deterministic", major) else "true"
    database = f"{provider}, ' ', {locale.format('dat')}, ' ', {rules.format('dat')}, ' ', true"
    own = f"collprovider, ' ', {locale.format('coll')}, ' ', {rules.format('coll')}, ' '"
    return f"""
        SELECT attname AS name, pg_catalog.format_type(atttypid, atttypmod) AS type,
            atttypid::bigint AS type_oid,
            CASE WHEN attcollation = 0::oid THEN NULL
                ELSE pg_catalog.concat(CASE collprovider WHEN 'd' THEN pg_catalog.concat({database})
                    ELSE pg_catalog.concat({own}, {deterministic}) END,
                    ' ', pg_collation_actual_version(attcollation), ' ', getdatabaseencoding())
                END AS collation,
            coalesce(element.typcategory, pg_type.typcategory) = 'C' OR EXISTS (
                SELECT FROM pg_range WHERE rngcollation <> 0::oid
                    AND rngtypid IN (pg_type.oid, pg_type.typbasetype, element.oid)
            ) AS sorts_parts,
            {generated} AS is_generated
        FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
        JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
        JOIN pg_type ON pg_type.oid = atttypid
        LEFT JOIN pg_type AS element ON element.oid = pg_type.typelem
            AND pg_type.typcategory = 'A'
        JOIN pg_database ON datname = current_database()
        LEFT JOIN pg_collation ON pg_collation.oid = attcollation
        WHERE nspname = %s AND relname = %s AND relkind IN ('r', 'p')
        ORDER BY attnum
    """


def key_of(major: int) -> str:
    """Return the statement for a key of one table: columns that are NOT NULL and unique.

    The primary key is preferred, then the replica identity.
    """
    keys = "indnkeyatts" if has("index.include", major) else "indnatts"
    return f"""
        SELECT ARRAY(
            SELECT attname::text FROM pg_catalog.unnest(indkey::int2[]) WITH ORDINALITY k (number,
                place)
            JOIN pg_attribute ON attrelid = indrelid AND attnum = number
            WHERE place <= {keys} ORDER BY place) AS columns
        FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname = %s AND relname = %s
            AND indisunique AND indimmediate AND indisvalid AND indpred IS NULL AND indexprs IS NULL
            AND NOT EXISTS (SELECT FROM pg_catalog.unnest(indkey::int2[]) WITH ORDINALITY k
                (number, place)
                JOIN pg_attribute ON attrelid = indrelid AND attnum = number
                WHERE place <= {keys} AND NOT attnotnull)
        ORDER BY indisprimary DESC, indisreplident DESC, indexrelid LIMIT 1
    """


ESTIMATE = f"SELECT greatest(0, sum(reltuples))::bigint AS rows FROM {ASKED_TABLES}"
UNIFORM_OUTPUT = """
    SELECT set_config('extra_float_digits', '3', true), set_config('DateStyle', 'ISO, YMD', true),
        set_config('IntervalStyle', 'postgres', true), set_config('TimeZone', 'UTC', true),
        set_config('bytea_output', 'hex', true), set_config('xmloption', 'content', true),
        set_config('lc_monetary', 'C', true), set_config('quote_all_identifiers', 'off', true),
        set_config('array_nulls', 'on', true), set_config('row_security', 'off', true)
"""
"""Settings until the transaction ends: a value has one text, whatever the session's settings, and
the server refuses a statement whose rows a policy would hide."""
QUALIFIED_OUTPUT = f"{UNIFORM_OUTPUT}, set_config('search_path', '', true)"
"""The same for tables with names of objects: the server writes them with their schemas."""
