"""Facts about a whole server that is copied for an upgrade."""

import attrs

from pgreplkit.catalog.view import names_in


@attrs.frozen(kw_only=True)
class ClusterFacts:
    """The properties of a server that its upgraded copy must have, too."""

    superuser: str
    """The role of initdb, whose name pg_upgrade keeps."""
    encoding: str
    collate: str
    ctype: str
    has_checksums: bool
    segment_megabytes: int
    other_databases: tuple[str, ...] = attrs.field(converter=names_in)
    """Databases of users, except the one that is connected."""
    tablespaces: tuple[str, ...] = attrs.field(converter=names_in)
    """Tablespaces in directories of their own."""
    libraries: tuple[str, ...] = attrs.field(converter=names_in)
    """The libraries of functions in C, such as $libdir/citext; those of initdb are left out."""
    hba: str | None
    """The content of pg_hba.conf; None if the role cannot read it."""
    ident: str | None
    """That of pg_ident.conf; None if there is none, or the role cannot read it."""


CLUSTER = """
    SELECT (SELECT rolname::text FROM pg_roles WHERE oid = 10) AS superuser,
        pg_encoding_to_char(encoding)::text AS encoding, datcollate::text AS collate,
        datctype::text AS ctype, current_setting('data_checksums') = 'on' AS has_checksums,
        pg_size_bytes(current_setting('wal_segment_size')) >> 20 AS segment_megabytes,
        ARRAY(SELECT datname::text FROM pg_database WHERE NOT datistemplate AND datallowconn
            AND datname NOT IN ('postgres', current_database()) ORDER BY 1) AS other_databases,
        ARRAY(SELECT spcname::text FROM pg_tablespace WHERE spcname::text !~ '^pg_' ORDER BY 1)
            AS tablespaces,
        -- Those that pg_upgrade looks for, in the database that is connected.
        ARRAY(SELECT DISTINCT probin::text FROM pg_proc JOIN pg_language l ON l.oid = prolang
            WHERE lanname = 'c' AND probin IS NOT NULL AND pg_proc.oid >= 16384::oid ORDER BY 1)
            AS libraries
    FROM pg_database WHERE datname = 'template0'
"""
HBA = """
    SELECT pg_read_file(current_setting('hba_file')) AS hba,
        -- The server starts without this one.
        pg_read_file(current_setting('ident_file'), 0, 1 << 28, true) AS ident
"""
"""Before 11, only a file in the data directory can be read."""
IDENT_MAPPINGS = """
    SELECT map_name, sys_name, pg_username FROM pg_ident_file_mappings WHERE error IS NULL
"""
"""The lines of pg_ident.conf and of the files that it includes, which it can from 16 on."""
WITHOUT_STATISTICS = """
    SELECT nspname AS schema, relname AS name
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'm') AND reltuples <> 0::float4
        AND nspname::text !~ '^pg_' AND nspname <> 'information_schema'
        AND c.oid IN (
            -- pg_upgrade leaves out those of CREATE STATISTICS.
            SELECT stxrelid FROM pg_statistic_ext
            -- Also the expressions of indexes have some.
            UNION ALL SELECT coalesce(indrelid, attrelid)
            FROM pg_attribute a JOIN pg_class r ON r.oid = attrelid
            JOIN pg_namespace rn ON rn.oid = r.relnamespace
            LEFT JOIN pg_index ON indexrelid = attrelid
            LEFT JOIN pg_stats s ON s.schemaname = rn.nspname AND s.tablename = r.relname
                AND s.attname = a.attname
            WHERE coalesce(indkey[attnum - 1], 0) = 0 AND attnum > 0 AND NOT attisdropped
                AND attgenerated <> 'v' AND attstattarget IS DISTINCT FROM 0
                AND s.attname IS NULL
        )
    ORDER BY 1, 2
"""
"""The tables of an upgraded server that lack statistics of a column or an expression."""
