"""ReplicaIdentity: the columns that identify a table's old rows to subscribers."""

import attrs

from pgreplkit.catalog.features import has
from pgreplkit.catalog.logical.applytables import ASKED, PARTITIONS
from pgreplkit.catalog.view import ASKED_TABLES
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.record import Record
from pgreplkit.values.tablename import TableName


class IdentityKind(OpenEnum):
    """The REPLICA IDENTITY setting of a table (pg_class.relreplident)."""

    DEFAULT = "d"
    """The primary key, if the table has one."""
    INDEX = "i"
    """A unique index (REPLICA IDENTITY USING INDEX)."""
    FULL = "f"
    """All columns: the whole old row is written to the WAL."""
    NOTHING = "n"
    """No old values."""


@attrs.frozen(kw_only=True)
class ReplicaIdentity(Record):
    """The replica identity of a table: the old values that UPDATE and DELETE publish.

    Source: pg_class.relreplident, pg_index.
    """

    table: TableName
    kind: IdentityKind = attrs.field(converter=IdentityKind)
    index: str | None
    """The index whose columns are the identity; None with FULL, and without an identity."""
    columns: tuple[str, ...] = attrs.field(converter=tuple)
    """The identity's columns; empty with FULL."""
    remedy: str
    """The ALTER TABLE that sets an identity; empty if there is one."""

    @property
    def is_usable(self) -> bool:
        """Whether UPDATE and DELETE can be published; if not, they fail on the publisher."""
        return self.index is not None or self.kind is IdentityKind.FULL


def identities(major: int, source: str) -> str:
    """Return the statement for the tables whose OIDs ``source`` selects."""
    keys = "indnkeyatts" if has("index.include", major) else "indnatts"
    return f"""
    WITH usable AS (
        SELECT indrelid, indexrelid, indisprimary, indisreplident, relname,
            ARRAY(SELECT attname::text FROM pg_catalog.unnest(indkey::int2[]) WITH ORDINALITY k
                (number, place)
                JOIN pg_attribute ON attrelid = indrelid AND attnum = number
                WHERE place <= {keys} ORDER BY place) AS columns,
            NOT EXISTS (SELECT FROM pg_catalog.unnest(indkey::int2[]) WITH ORDINALITY k (number,
                place)
                JOIN pg_attribute ON attrelid = indrelid AND attnum = number
                WHERE place <= {keys} AND NOT attnotnull) AS fits
        FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
        WHERE indisunique AND indimmediate AND indisvalid AND indpred IS NULL AND indexprs IS NULL
    )
    SELECT nspname AS schema, c.relname AS name, relreplident AS kind, own.relname AS index,
        coalesce(own.columns, '{{}}') AS columns,
        CASE WHEN own.relname IS NOT NULL OR relreplident = 'f' THEN ''
        ELSE pg_catalog.concat('ALTER TABLE ', pg_catalog.quote_ident(nspname), '.',
            pg_catalog.quote_ident(c.relname),
            ' REPLICA IDENTITY ',
            coalesce((SELECT CASE WHEN indisprimary THEN 'DEFAULT'
                ELSE pg_catalog.concat('USING INDEX ', pg_catalog.quote_ident(relname)) END
                    FROM usable
                WHERE indrelid = c.oid AND fits ORDER BY indisprimary DESC, relname LIMIT 1),
                'FULL'))
        END AS remedy
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    LEFT JOIN usable own ON indrelid = c.oid
        AND CASE relreplident WHEN 'd' THEN indisprimary WHEN 'i' THEN indisreplident END
    WHERE c.oid IN ({source})
    ORDER BY 1, 2
    """


def identity_in(record: dict[str, object]) -> ReplicaIdentity:
    """Return the row of one record of ``identities``."""
    table = TableName(str(record.pop("schema")), str(record.pop("name")))
    return ReplicaIdentity(table=table, **record)  # type: ignore[arg-type]


NAMED_TABLES = f"SELECT pg_class.oid FROM {ASKED_TABLES} WHERE relkind IN ('r', 'p')"
ALL_TABLES = """
    SELECT pg_class.oid FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind = 'r' AND relpersistence = 'p' AND nspname <> 'information_schema'
        AND nspname::text !~ '^pg_'
"""


NOT_FULL = f"""
    ARRAY(SELECT quoted FROM (
        SELECT c.relreplident AS identity, pg_catalog.format('%%I.%%I', n.nspname, c.relname)
            AS quoted
        UNION ALL
        SELECT relreplident, quoted FROM ({PARTITIONS}) AS part WHERE relkind IN ('r', 'p')
    ) AS written WHERE identity <> 'f' ORDER BY quoted) AS not_full
"""
"""The table ``c`` and its partitions without FULL: each writes its own old rows to the WAL."""
PARTIAL_IDENTITIES = f"""
    SELECT n.nspname AS schema, c.relname AS name, {NOT_FULL} {ASKED}
"""

LEAVES = f"""
    SELECT n.nspname AS schema, c.relname AS name,
        part.nspname AS leaf_schema, part.relname AS leaf_name
    {ASKED} CROSS JOIN LATERAL ({PARTITIONS}) AS part WHERE part.relkind = 'r' ORDER BY part.quoted
"""
"""The partitions that have rows: each writes old rows by its own identity, not by the root's."""


def whole_identities(major: int) -> str:
    """Return the statement for all columns of those tables that have FULL.

    Before 18 generated columns are not part of it.
    """
    generated = ""
    if has("table.generated", major) and not has("publication.generated", major):
        generated = "AND attgenerated = ''"
    return f"""
        SELECT nspname AS schema, relname AS name,
            ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = pg_class.oid
                AND attnum > 0 AND NOT attisdropped {generated} ORDER BY attnum) AS columns
        FROM {ASKED_TABLES} WHERE relreplident = 'f'
    """


def written_tables(major: int) -> str:
    """Return the query for the OIDs of a publication's tables, with partitions for their root."""
    published = """
        SELECT pg_class.oid FROM pg_publication_tables JOIN pg_namespace ON nspname = schemaname
        JOIN pg_class ON relname = tablename AND relnamespace = pg_namespace.oid
        WHERE pubname = %s
    """
    if not has("publication.via_root", major):
        return published
    return f"""
        SELECT coalesce(relid, published.oid) FROM ({published}) AS published
        LEFT JOIN LATERAL (SELECT * FROM pg_catalog.pg_partition_tree(published.oid))
            AS part ON true
        WHERE coalesce(isleaf, true)
    """
