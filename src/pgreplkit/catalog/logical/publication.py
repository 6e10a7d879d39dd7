"""PublicationState and PublishedTable: the publications of a database."""

from collections.abc import Iterable

import attrs

from pgreplkit.catalog.features import has
from pgreplkit.catalog.view import View, column
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.record import Record
from pgreplkit.values.several import several
from pgreplkit.values.tablename import AnyTable, TableName, table_of


class Operation(OpenEnum):
    """A kind of change that a publication publishes."""

    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    TRUNCATE = "truncate"
    """From 11 on."""


class GeneratedColumns(OpenEnum):
    """Which generated columns are published (18 on)."""

    NONE = "n"
    STORED = "s"


def _columns(columns: Iterable[str] | None) -> tuple[str, ...] | None:
    return None if columns is None else several(columns, "columns")


def _table_names(tables: Iterable[TableName | tuple[str, str]]) -> tuple[TableName, ...]:
    # The server sends pairs; a copy of a state has names.
    return tuple(one if isinstance(one, TableName) else TableName(*one) for one in tables)


@attrs.frozen
class PublishedTable(Record):
    """A table of a publication, with its columns and row filter.

    >>> PublishedTable("users", columns=["id", "name"], where="id > 0")
    PublishedTable(table=TableName(schema='public', name='users'), columns=('id', 'name'), \
where='id > 0')
    """

    table: TableName = attrs.field(converter=table_of)
    columns: tuple[str, ...] | None = attrs.field(default=None, converter=_columns)
    """The published columns; None for all of them, and when read from a server before 15."""
    where: str | None = None
    """An SQL expression that published rows satisfy. It is sent to the server unchanged."""


AnyPublished = AnyTable | PublishedTable


def published(table: AnyPublished) -> PublishedTable:
    """Return a PublishedTable; a name stands for the whole table."""
    return table if isinstance(table, PublishedTable) else PublishedTable(table)


@attrs.frozen(kw_only=True)
class PublicationState(Record):
    """A publication when it was last read; a column that the server's version lacks is None.

    Source: pg_publication.
    """

    pubname: str
    pubowner: str = attrs.field(metadata=column(sql="pg_get_userbyid(pubowner)"))
    """The owner's name."""
    puballtables: bool
    """Whether every table of the database is published except ``except_tables``, also new ones."""
    pubinsert: bool
    pubupdate: bool
    pubdelete: bool
    pubtruncate: bool | None = attrs.field(default=None, metadata=column(since=11))
    pubviaroot: bool | None = attrs.field(default=None, metadata=column(since=13))
    """Whether changes of partitions are published as those of the partitioned table."""
    pubgencols: GeneratedColumns | None = attrs.field(
        default=None,
        converter=attrs.converters.optional(GeneratedColumns),
        metadata=column(since=18),
    )
    schemas: tuple[str, ...] | None = attrs.field(
        default=None,
        converter=attrs.converters.optional(tuple),
        metadata=column(
            since=15,
            sql="""ARRAY(SELECT nspname::text FROM pg_publication_namespace
                JOIN pg_namespace ON pg_namespace.oid = pnnspid
                WHERE pnpubid = pg_publication.oid ORDER BY 1)""",
        ),
    )
    """The schemas of which it includes every table."""
    puballsequences: bool | None = attrs.field(default=None, metadata=column(since=19))
    """Whether subscribers can synchronize every sequence of the database."""
    except_tables: tuple[TableName, ...] | None = attrs.field(
        default=None,
        converter=attrs.converters.optional(_table_names),
        metadata=column(
            since=19,
            sql="""ARRAY(SELECT ARRAY[nspname, relname]::text[] FROM pg_publication_rel
                JOIN pg_class ON pg_class.oid = prrelid
                JOIN pg_namespace ON pg_namespace.oid = relnamespace
                WHERE prpubid = pg_publication.oid AND prexcept ORDER BY 1)""",
        ),
    )
    """The tables that are excluded from all tables."""

    @property
    def publish(self) -> tuple[Operation, ...]:
        """The kinds of changes that it publishes."""
        chosen = {
            Operation.INSERT: self.pubinsert,
            Operation.UPDATE: self.pubupdate,
            Operation.DELETE: self.pubdelete,
            Operation.TRUNCATE: self.pubtruncate,
        }
        return tuple(operation for operation, is_on in chosen.items() if is_on)


PUBLICATIONS = View(PublicationState, "pg_publication ORDER BY pubname")
ONE_PUBLICATION = View(PublicationState, "pg_publication WHERE pubname = %s::name")


def published_tables(major: int) -> str:
    """Return the statement for the tables of publications as the server expands them, by name.

    A table of several publications has the rows that any of them publishes.
    """
    if not has("publication.columns", major):
        return """
            SELECT DISTINCT schemaname AS schema, tablename AS name, NULL::text[] AS columns,
                NULL AS where
            FROM pg_publication_tables WHERE pubname = ANY (%s::text[]) ORDER BY 1, 2
        """
    # Servers of 15 to 17 list generated columns among those of a table, but never send them.
    is_sent = "true" if has("publication.generated", major) else "attgenerated = ''"
    return f"""
        SELECT schemaname AS schema, tablename AS name,
            ARRAY(SELECT sent FROM pg_catalog.unnest(pg_catalog.min(attnames::text[])) WITH
                ORDINALITY AS _ (sent, place)
                JOIN pg_attribute ON attname = sent AND attrelid = (SELECT pg_class.oid
                    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
                    WHERE nspname = schemaname AND relname = tablename)
                WHERE {is_sent} ORDER BY place) AS columns,
            CASE WHEN bool_and(rowfilter IS NOT NULL)
                THEN pg_catalog.string_agg(DISTINCT rowfilter, ' OR ') END AS where
        FROM pg_publication_tables WHERE pubname = ANY (%s::text[])
        GROUP BY 1, 2 ORDER BY 1, 2
    """


PUBLISHED_NAMES = """
    SELECT DISTINCT schemaname AS nspname, tablename AS relname FROM pg_publication_tables
    ORDER BY 1, 2
"""
"""The tables that any publication of the database publishes."""
PUBLISHED_SEQUENCES = """
    SELECT schemaname AS schema, sequencename AS name FROM pg_publication_sequences
    WHERE pubname = %s ORDER BY 1, 2
"""
"""From 19 on."""
LIMITED_TABLES = """
    SELECT nspname AS schema, relname AS name, attname AS column
    FROM ({}) AS written (oid)
    JOIN pg_class ON pg_class.oid = written.oid
    JOIN pg_namespace ON pg_namespace.oid = relnamespace
    JOIN LATERAL (SELECT attname FROM pg_attribute WHERE attrelid = written.oid AND attnum > 0
        AND NOT attisdropped AND attgenerated = '' AND attidentity <> 'a'
        ORDER BY attnum LIMIT 1) AS settable ON true
    WHERE EXISTS (SELECT FROM pg_publication_rel WHERE (prqual IS NOT NULL OR prattrs IS NOT NULL)
        AND prrelid IN (
            SELECT written.oid UNION ALL SELECT pg_catalog.pg_partition_ancestors(written.oid)))
    ORDER BY 1, 2
"""
"""Tables with a row filter or a column list (15 on), each with a column that can be set."""

# Statements about publications; {} stand for identifiers and checked values.
SET_OPTIONS = "({})"
DROP_PUBLICATION = "DROP PUBLICATION {}"
ALTER_PUBLICATION = "ALTER PUBLICATION {} {} {}"
SCOPE_TABLES = "TABLE {}"
SCOPE_SCHEMAS = "TABLES IN SCHEMA {}"
CREATE_PUBLICATION = "CREATE PUBLICATION {}"
FOR_SCOPE = " FOR {}"
WITH_OPTIONS = " WITH ({})"
TRY_DELETE = "EXPLAIN DELETE FROM ONLY {} WHERE false"
TRY_UPDATE = "EXPLAIN UPDATE ONLY {} SET {} = {} WHERE false"
