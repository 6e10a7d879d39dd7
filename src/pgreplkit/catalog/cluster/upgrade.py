"""Facts about a database that is upgraded: its tables, and the objects that are not replicated."""

from collections.abc import Iterable
from datetime import datetime

import attrs

from pgreplkit.catalog.logical.fence import FUNCTION, REFUSES
from pgreplkit.catalog.view import names_in, table_in
from pgreplkit.values.tablename import TableName

OURS = f"""
    (n.nspname::text !~ '^pg_' AND n.nspname <> 'information_schema'
    AND NOT EXISTS (SELECT FROM pg_proc WHERE pronamespace = n.oid AND proname = '{FUNCTION}'))
"""
"""The condition for a schema ``n`` of the users: not of the server, nor of a fence."""
_OF_EXTENSION = """
    EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass::oid AND objid = c.oid
        AND deptype = 'e')
"""
MANY_ROWS = 10_000
"""Rows of a table for which a search without an index is slow."""


@attrs.frozen(kw_only=True)
class UserTable:
    """A table of the database, and the tables that must replicate together with it."""

    table: TableName
    kind: str
    """pg_class.relkind: r, p, f or m."""
    persistence: str
    is_populated: bool
    """False for a materialized view without data; others have them."""
    bytes: int
    of_extension: bool
    joined: tuple[TableName, ...]
    """Tables that it references or is a partition of."""
    unequal_columns: tuple[str, ...]
    """Columns of types without an equality operator, if its replica identity is FULL."""
    xml_columns: tuple[str, ...]
    """Columns of XML, whose values only a server with libxml can read."""
    firing: tuple[str, ...]
    """Triggers that fire for replicated changes too."""
    generated: tuple[str, ...]
    """Generated columns, which the new server computes."""
    late_constraints: tuple[str, ...]
    """Exclusion constraints, and deferrable unique constraints."""
    slow_changes: int
    """Updates and deletes that search many rows, because the replica identity is FULL."""
    hides_rows: bool
    """Whether row level security applies to its owner, too."""
    index_methods: tuple[str, ...]
    """Access methods of its indexes that begin with a column, and have all rows."""
    value_bytes: int
    """Average size of the values of a row that are stored outside of the table."""

    @property
    def is_copied(self) -> bool:
        """Whether the rows are replicated: a partitioned table has none of its own."""
        return self.kind == "r" and self.persistence == "p" and not self.of_extension


_UNEQUAL = """
    WITH RECURSIVE compared AS (
        SELECT attrelid, attnum, attname, atttypid
        FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
        WHERE relreplident = 'f' AND attnum > 0 AND NOT attisdropped
    ), inside AS (
        SELECT oid AS type, typbasetype AS part FROM pg_type WHERE typtype = 'd'
        -- Types of fixed length, such as point, have elements without being arrays.
        UNION ALL SELECT oid, typelem FROM pg_type WHERE typelem <> 0::oid AND typlen = -1
        UNION ALL SELECT reltype, atttypid
        FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
        WHERE reltype <> 0 AND attnum > 0 AND NOT attisdropped
    ), parts AS (
        SELECT DISTINCT atttypid AS whole, atttypid AS part FROM compared
        UNION SELECT whole, inside.part FROM parts JOIN inside ON inside.type = parts.part
    ), comparable AS (
        SELECT opcintype AS type FROM pg_opclass JOIN pg_am ON pg_am.oid = opcmethod
        WHERE amname IN ('btree', 'hash') AND opcdefault
    )
    SELECT attrelid, pg_catalog.array_agg(attname::text ORDER BY attnum) AS names FROM compared
    WHERE atttypid IN (SELECT whole FROM parts JOIN pg_type ON pg_type.oid = part
        -- Enums, ranges and multiranges have one.
        WHERE typtype = 'b' AND NOT (typelem <> 0::oid AND typlen = -1)
            AND part NOT IN (SELECT type FROM comparable
                -- varchar has that of text.
                UNION ALL SELECT castsource FROM pg_cast JOIN comparable ON casttarget = type
                WHERE castmethod = 'b' AND castcontext = 'i'))
    GROUP BY attrelid
"""
"""The columns of tables with REPLICA IDENTITY FULL that the apply worker cannot compare: of a type
without an equality operator, or with such a part. All tables at once: as a subquery of each, it
would seem so expensive to the planner that a server with JIT compiles the query for seconds."""
TABLES = f"""
    SELECT n.nspname AS schema, c.relname AS name, c.relkind::text AS kind,
        c.relpersistence::text AS persistence, c.relispopulated AS is_populated,
        pg_catalog.pg_table_size(c.oid) AS bytes,
        {_OF_EXTENSION} AS of_extension,
        ARRAY(SELECT ARRAY[rn.nspname, r.relname]::text[] FROM (
            SELECT confrelid AS other FROM pg_constraint WHERE conrelid = c.oid AND contype = 'f'
            UNION SELECT inhparent FROM pg_inherits WHERE inhrelid = c.oid) AS joins
            JOIN pg_class r ON r.oid = other JOIN pg_namespace rn ON rn.oid = r.relnamespace
            WHERE other <> c.oid) AS joined,
        coalesce(unequal.names, '{{}}') AS unequal_columns,
        ARRAY(SELECT attname::text FROM pg_attribute JOIN pg_type t ON t.oid = atttypid
            WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
            -- Arrays and domains, too.
            AND 'xml'::regtype IN (t.oid, t.typelem, t.typbasetype) ORDER BY attnum)
            AS xml_columns,
        ARRAY(SELECT tgname::text FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal
            AND tgenabled IN ('A', 'R') ORDER BY 1) AS firing,
        -- pg_attribute.attgenerated exists from version 12 on.
        ARRAY(SELECT attname::text FROM pg_attribute a WHERE attrelid = c.oid AND attnum > 0
            AND NOT attisdropped AND pg_catalog.to_jsonb(a) ->> 'attgenerated'::text <> '')
                AS generated,
        ARRAY(SELECT conname::text FROM pg_constraint WHERE conrelid = c.oid
            AND (contype = 'x' OR contype = 'u' AND condeferrable) ORDER BY 1) AS late_constraints,
        CASE WHEN c.relreplident = 'f' AND c.reltuples > {MANY_ROWS}::float4
            THEN n_tup_upd + n_tup_del ELSE 0 END AS slow_changes,
        relrowsecurity AND relforcerowsecurity AND NOT EXISTS (SELECT FROM pg_roles
            WHERE pg_roles.oid = relowner AND (rolsuper OR rolbypassrls)) AS hides_rows,
        ARRAY(SELECT DISTINCT amname::text FROM pg_index JOIN pg_class i ON i.oid = indexrelid
            JOIN pg_am ON pg_am.oid = i.relam WHERE indrelid = c.oid
            AND indpred IS NULL AND indkey[0] <> 0) AS index_methods,
        coalesce(pg_catalog.pg_relation_size(nullif(c.reltoastrelid, 0::oid))::float8
            / greatest(c.reltuples, 1)::float8, 0)::bigint AS value_bytes
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_stat_user_tables ON relid = c.oid
    LEFT JOIN ({_UNEQUAL}) AS unequal ON unequal.attrelid = c.oid
    WHERE c.relkind IN ('r', 'p', 'f', 'm') AND c.relpersistence <> 't' AND {OURS}
    ORDER BY 1, 2
"""


UNPUBLISHED = f"""
    SELECT n.nspname AS schema, c.relname AS name
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND {OURS} AND NOT {_OF_EXTENSION}
        AND NOT EXISTS (SELECT FROM pg_publication_rel JOIN pg_publication p ON p.oid = prpubid
            WHERE prrelid = c.oid AND pubname = ANY (%s::text[]))
    ORDER BY 1, 2
"""
"""The tables that no publication of a list has, without those that are never copied. ``TABLES``
takes too long while no one can write."""


FILLED_VIEWS = f"""
    SELECT n.nspname AS schema, relname AS name
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relkind = 'm' AND relispopulated AND {OURS} ORDER BY c.oid
"""
"""The materialized views that have rows, each after those that it reads."""
UNFENCED = f"""
    WITH RECURSIVE names AS (SELECT pg_catalog.unnest(%s::text[]) AS name), given AS (
        -- Each subscription has the name of the other server's publication.
        (SELECT prrelid AS relid FROM pg_publication_rel JOIN pg_publication p ON p.oid = prpubid
        JOIN names ON name = pubname
        UNION SELECT srrelid FROM pg_subscription_rel JOIN pg_subscription s ON s.oid = srsubid
        JOIN names ON name = subname)
        -- A statement on a parent does not fire the triggers of its partitions.
        UNION SELECT inhparent FROM given JOIN pg_inherits ON inhrelid = given.relid
    ), fenced AS (
        SELECT tgrelid, tgenabled = 'O' AND {REFUSES} AS refuses, pronamespace
        FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid WHERE proname = '{FUNCTION}'
    )
    SELECT n.nspname AS schema, c.relname AS name
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    -- NOT EXISTS would compare each table with each trigger.
    WHERE c.oid IN ((SELECT relid FROM given
            UNION SELECT tgrelid FROM fenced WHERE pronamespace = to_regnamespace(%s::text)::oid)
        EXCEPT SELECT tgrelid FROM fenced WHERE refuses)
    ORDER BY 1, 2
"""
"""The tables of publications and subscriptions that accept writes, and those with a trigger of a
schema's fence."""
MISSED = f"""
    SELECT false AS is_unfenced, unpublished.* FROM ({UNPUBLISHED}) AS unpublished
    UNION ALL SELECT true, unfenced.* FROM ({UNFENCED}) AS unfenced
"""
"""Both in one round trip, because no one can write at this time."""


def user_table_in(record: dict[str, object]) -> UserTable:
    """Return the table of one record of ``TABLES``."""
    joined = tuple(TableName(*each) for each in record.pop("joined"))  # type: ignore[attr-defined]
    lists: dict[str, tuple[str, ...]] = {
        name: tuple(record.pop(name))  # type: ignore[arg-type]
        for name in (
            *("unequal_columns", "xml_columns", "firing", "generated", "late_constraints"),
            "index_methods",
        )
    }
    return UserTable(table=table_in(record), joined=joined, **lists, **record)  # type: ignore[arg-type]


def _set(names: Iterable[str]) -> frozenset[str]:
    return frozenset(names)


@attrs.frozen(kw_only=True)
class DatabaseFacts:
    """Objects and settings of a database that logical replication does not copy."""

    system_id: int
    started_at: datetime
    """Start of the server, which differs from that of its clones."""
    database: str
    encoding: str
    collation: str
    """LC_COLLATE, with LC_CTYPE, provider and locale where they differ from it."""
    collation_version: str | None
    """None before 15, or if the provider has none."""
    large_objects: int
    roles: frozenset[str] = attrs.field(converter=_set)
    owners: frozenset[str] = attrs.field(converter=_set)
    """Owners of the database's objects, and the roles of their privileges and policies."""
    memberships: tuple[str, ...] = attrs.field(converter=names_in)
    """The memberships of roles, as GRANT statements."""
    md5_roles: tuple[str, ...] = attrs.field(converter=names_in)
    """Roles with md5 passwords; empty if the role may not read them."""
    extensions: dict[str, str]
    """The installed extensions with their versions."""
    filled_extensions: tuple[str, ...] = attrs.field(converter=names_in)
    """Tables of extensions that are meant for rows of the user, and have rows."""
    available: dict[str, str]
    """The extensions that could be installed, with their versions; only of the new server."""
    extensions_error: str = ""
    """The error with which the server lists them: one control file that it cannot read."""
    tablespaces: frozenset[str] = attrs.field(converter=_set)
    """All tablespaces of the server."""
    used_tablespaces: frozenset[str] = attrs.field(converter=_set)
    """Those of the database's tables and indexes, without the default one."""
    database_settings: tuple[str, ...] = attrs.field(converter=names_in)
    """ALTER DATABASE and ALTER ROLE … SET statements, with {} for the database."""
    event_triggers: tuple[str, ...] = attrs.field(converter=names_in)
    publications: tuple[str, ...] = attrs.field(converter=names_in)
    subscriptions: tuple[str, ...] = attrs.field(converter=names_in)
    """The subscriptions of the server."""
    prepared: tuple[str, ...] = attrs.field(converter=names_in)
    """Prepared transactions of all databases, for which the creation of a slot waits."""
    old_transactions: tuple[str, ...] = attrs.field(converter=names_in)
    """Transactions that have been open for a minute or more."""
    unsafe_functions: tuple[str, ...] = attrs.field(converter=names_in)
    """Functions without a search_path of their own in indexes, statistics, partition keys,
    materialized views, generated columns and CHECK constraints, also by an operator: these are
    evaluated with an empty search_path."""

    @property
    def place(self) -> tuple[int, datetime, str]:
        """The server and the name of the database, which no other database has."""
        return self.system_id, self.started_at, self.database


FACTS = """
    SELECT (SELECT system_identifier FROM pg_control_system()) AS system_id,
        pg_postmaster_start_time() AS started_at, current_database()::text AS database,
        pg_encoding_to_char(encoding)::text AS encoding,
        -- These columns got their names in 15 and 17.
        pg_catalog.concat_ws(' ', datcollate, nullif(datctype, datcollate),
            nullif(pg_catalog.to_jsonb(pg_database) ->> 'datlocprovider'::text, 'c'),
            coalesce(pg_catalog.to_jsonb(pg_database) ->> 'datlocale'::text,
                pg_catalog.to_jsonb(pg_database) ->> 'daticulocale'::text)) AS collation,
        pg_catalog.to_jsonb(pg_database) ->> 'datcollversion'::text AS collation_version,
        (SELECT count(*) FROM pg_largeobject_metadata) AS large_objects,
        ARRAY(SELECT rolname::text FROM pg_roles WHERE rolname::text !~ '^pg_') AS roles,
        ARRAY(SELECT pg_get_userbyid(relowner)::text FROM pg_class
            JOIN pg_namespace ON pg_namespace.oid = relnamespace
            WHERE nspname::text !~ '^pg_' AND nspname <> 'information_schema'
            -- The superuser of initdb is in none of these rows.
            UNION SELECT rolname::text FROM pg_shdepend s JOIN pg_roles r ON r.oid = refobjid
            WHERE dbid = pg_database.oid AND refclassid = 'pg_authid'::regclass::oid
                AND s.deptype IN ('o', 'a', 'r') AND rolname::text !~ '^pg_'
                -- CREATE EXTENSION makes the role that restores the owner of these.
                AND s.classid <> 'pg_extension'::regclass::oid
                AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = s.classid
                    AND e.objid = s.objid AND e.deptype = 'e')) AS owners,
        ARRAY(SELECT ARRAY[extname, extversion]::text[] FROM pg_extension) AS extensions,
        ARRAY(SELECT DISTINCT pg_catalog.format('GRANT %I TO %I', g.rolname, m.rolname)
            FROM pg_auth_members JOIN pg_roles g ON g.oid = roleid
            JOIN pg_roles m ON m.oid = member WHERE m.rolname::text !~ '^pg_' ORDER BY 1)
                AS memberships,
        ARRAY(SELECT filled::regclass::text FROM pg_extension,
            pg_catalog.unnest(extconfig) AS filled
            WHERE pg_catalog.pg_relation_size(filled) > 0 ORDER BY 1) AS filled_extensions,
        ARRAY(SELECT spcname::text FROM pg_tablespace) AS tablespaces,
        ARRAY(SELECT DISTINCT spcname::text FROM pg_class
            JOIN pg_tablespace ON pg_tablespace.oid = reltablespace
            WHERE spcname::text !~ '^pg_') AS used_tablespaces,
        ARRAY(SELECT pg_catalog.concat('ALTER ',
                CASE WHEN setrole = 0::oid THEN 'DATABASE {}'
                    ELSE pg_catalog.format('ROLE %I', rolname) END,
                CASE WHEN setrole <> 0::oid AND setdatabase <> 0::oid THEN ' IN DATABASE {}' END,
                ' SET ', pg_catalog.split_part(entry, '=', 1), ' TO ',
                CASE WHEN pg_catalog.split_part(entry, '=', 1) IN (
                    'search_path', 'temp_tablespaces',
                        'local_preload_libraries', 'session_preload_libraries')
                    -- Lists of names, which are quoted already; no identifier is empty.
                    THEN pg_catalog.regexp_replace(
                        pg_catalog.substr(entry, pg_catalog.strpos(entry, '=') + 1),
                        '(^|, )""(?=,|$)', '\\1''''', 'g')
                    ELSE pg_catalog.quote_literal(
                        pg_catalog.substr(entry, pg_catalog.strpos(entry, '=') + 1)) END)
            FROM pg_db_role_setting CROSS JOIN pg_catalog.unnest(setconfig) AS entry
            LEFT JOIN pg_roles ON pg_roles.oid = setrole
            WHERE setdatabase = pg_database.oid OR setdatabase = 0::oid
                AND setrole <> 0::oid ORDER BY 1)
            AS database_settings,
        ARRAY(SELECT evtname::text FROM pg_event_trigger) AS event_triggers,
        ARRAY(SELECT pubname::text FROM pg_publication ORDER BY 1) AS publications,
        ARRAY(SELECT subname::text FROM pg_subscription WHERE subdbid = pg_database.oid ORDER BY 1)
            AS subscriptions,
        ARRAY(SELECT subname::text FROM pg_subscription ORDER BY 1) AS all_subscriptions,
        ARRAY(SELECT pg_catalog.quote_literal(gid) || ' in ' || pg_catalog.quote_ident(database)
            FROM pg_prepared_xacts ORDER BY 1) AS prepared,
        ARRAY(SELECT pid::text || ' (' || application_name || '), '
                || date_trunc('second', clock_timestamp() - xact_start)::text
            FROM pg_stat_activity
            WHERE xact_start < clock_timestamp() - interval '1 minute'
                AND backend_type = 'client backend') AS old_transactions,
        ARRAY(SELECT DISTINCT pg_proc.oid::regprocedure::text FROM pg_depend
            LEFT JOIN pg_operator ON refclassid = 'pg_operator'::regclass::oid
                AND pg_operator.oid = refobjid
            JOIN pg_proc ON pg_proc.oid = CASE WHEN refclassid = 'pg_proc'::regclass::oid
                THEN refobjid ELSE oprcode::oid END
            JOIN pg_language ON pg_language.oid = prolang
            -- IN is hashed on every version; a server with JIT would compile as many EXISTS.
            WHERE (
                    classid = 'pg_class'::regclass::oid AND objid IN (
                        SELECT indexrelid FROM pg_index
                        UNION ALL SELECT partrelid FROM pg_partitioned_table)
                    OR classid = 'pg_statistic_ext'::regclass::oid
                    OR classid = 'pg_constraint'::regclass::oid AND objid IN (
                        SELECT oid FROM pg_constraint WHERE contype = 'c')
                    OR classid = 'pg_attrdef'::regclass::oid AND objid IN (
                        SELECT pg_attrdef.oid FROM pg_attrdef JOIN pg_attribute a
                            ON attrelid = adrelid AND attnum = adnum
                        WHERE pg_catalog.to_jsonb(a) ->> 'attgenerated'::text <> '')
                    OR classid = 'pg_rewrite'::regclass::oid AND objid IN (
                        SELECT pg_rewrite.oid FROM pg_rewrite JOIN pg_class
                            ON pg_class.oid = ev_class WHERE relkind = 'm'))
                AND lanname IN ('sql', 'plpgsql')
                    AND NOT coalesce(pg_catalog.array_to_string(proconfig, ',')
                ~ '(^|,)search_path=', false)
                AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_proc'::regclass::oid
                    AND e.objid = pg_proc.oid AND e.deptype = 'e')
            ORDER BY 1) AS unsafe_functions
    FROM pg_database WHERE datname = current_database()
"""


@attrs.frozen(kw_only=True)
class RoleRights:
    """The rights of the connecting role."""

    role: str
    is_superuser: bool
    """Whether the server lets the role pass every check of privileges."""
    missing: tuple[str, ...] = attrs.field(default=(), converter=names_in)
    """The statements that grant what the upgrade needs; empty for a superuser."""
    of_superusers: tuple[str, ...] = attrs.field(default=(), converter=names_in)
    """The tables and sequences of superusers, whose rights only a superuser has."""


RIGHTS = f"""
    SELECT me.rolname::text AS role, me.rolsuper AS is_superuser,
        CASE WHEN me.rolsuper THEN '{{}}' ELSE ARRAY(SELECT statement
            FROM (SELECT 1 AS place, pg_catalog.format('ALTER ROLE %I REPLICATION', me.rolname)
                AS statement
                WHERE NOT me.rolreplication
            UNION ALL SELECT 2,
                pg_catalog.format('GRANT CREATE ON DATABASE %I TO %I', current_database(),
                    me.rolname)
                WHERE NOT pg_catalog.has_database_privilege(current_database(), 'CREATE')
            -- The position of a subscription; by default only superusers read and set it.
            UNION ALL SELECT 3, pg_catalog.format(
                'GRANT EXECUTE ON FUNCTION %s TO %I', called, me.rolname)
                FROM pg_catalog.unnest(ARRAY['pg_replication_origin_progress(text, boolean)',
                    'pg_replication_origin_advance(text, pg_lsn)']) AS called
                WHERE NOT pg_catalog.has_function_privilege(called, 'EXECUTE')
            -- Without it, sessions and walsenders of other roles are hidden.
            UNION ALL SELECT 3, pg_catalog.format('GRANT pg_monitor TO %I', me.rolname)
                WHERE NOT pg_catalog.pg_has_role('pg_monitor', 'USAGE')
            -- Before 14, not all columns of a subscription without its password are readable.
            UNION ALL SELECT 3, pg_catalog.format(
                'GRANT SELECT ON pg_subscription TO %I', me.rolname)
                WHERE NOT pg_catalog.has_column_privilege(
                    'pg_subscription', 'subsynccommit', 'SELECT')
            -- Read for the fingerprint of the schema.
            UNION ALL SELECT 3, pg_catalog.format(
                'GRANT SELECT ON pg_user_mapping TO %I', me.rolname)
                WHERE NOT pg_catalog.has_table_privilege('pg_user_mapping', 'SELECT')
            -- Only its owner publishes and fences a table, and reads and sets every sequence.
            UNION ALL SELECT DISTINCT 4, CASE WHEN r.rolsuper
                    THEN pg_catalog.format('ALTER ROLE %I SUPERUSER', me.rolname)
                    ELSE pg_catalog.format('GRANT %I TO %I', r.rolname, me.rolname) END
                FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
                JOIN pg_roles r ON r.oid = relowner
                WHERE relkind IN ('r', 'p', 'S') AND relpersistence <> 't' AND {OURS}
                    AND NOT {_OF_EXTENSION} AND NOT pg_catalog.pg_has_role(relowner, 'USAGE'))
                        AS needed
            ORDER BY place, statement) END AS missing,
        ARRAY(SELECT pg_catalog.format('%I.%I', nspname, relname) FROM pg_class c
            JOIN pg_namespace n ON n.oid = relnamespace JOIN pg_roles r ON r.oid = relowner
            WHERE relkind IN ('r', 'p', 'S') AND relpersistence <> 't' AND {OURS}
                AND NOT {_OF_EXTENSION} AND r.rolsuper AND NOT me.rolsuper
                -- A sequence of a column gets the owner of its table; a partition does not.
                AND NOT (relkind = 'S' AND EXISTS (SELECT FROM pg_depend
                    WHERE classid = 'pg_class'::regclass::oid AND objid = c.oid
                        AND refclassid = classid AND deptype IN ('a', 'i')))
            ORDER BY 1) AS of_superusers
    FROM pg_roles me WHERE me.rolname = current_user
"""
NOT_OWNED = """
    SELECT kind, name, CASE WHEN rolsuper THEN
        pg_catalog.format('ALTER ROLE %I SUPERUSER', current_user)
        ELSE pg_catalog.format('GRANT %I TO %I', rolname, current_user) END AS statement
    FROM (SELECT 'publication' AS kind, pubname::text AS name, pubowner AS owner FROM pg_publication
        UNION ALL SELECT 'subscription', subname, subowner FROM pg_subscription
            WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
        UNION ALL SELECT 'schema', nspname, nspowner FROM pg_namespace) AS owned
    JOIN pg_roles ON pg_roles.oid = owner
    WHERE NOT pg_catalog.pg_has_role(owner, 'USAGE') ORDER BY 1, 2
"""
"""The objects that the connecting role may neither alter nor drop, of the kinds that an upgrade
creates, with the statements that permit it."""
OWNERS = f"""
    SELECT DISTINCT pg_get_userbyid(owner)::text AS name FROM (
        SELECT 'pg_class'::regclass::oid AS catalog, oid, relnamespace AS place, relowner AS owner
            FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND relpersistence <> 't'
        UNION ALL SELECT 'pg_proc'::regclass::oid, oid, pronamespace, proowner FROM pg_proc
        UNION ALL SELECT 'pg_type'::regclass::oid, oid, typnamespace, typowner FROM pg_type
            WHERE typrelid = 0::oid AND typtype <> 'b'
        UNION ALL SELECT 'pg_namespace'::regclass::oid, oid, oid, nspowner FROM pg_namespace
    ) AS c JOIN pg_namespace n ON n.oid = place
    WHERE {OURS} AND pg_get_userbyid(owner) <> 'pg_database_owner'
        AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = catalog AND e.objid = c.oid
            AND e.deptype = 'e')
"""
"""The owners of the objects that a copy of the schema creates, and of the schema public."""
FILLED_SCHEMAS = f"""
    SELECT nspname::text AS name FROM pg_namespace n WHERE {OURS} AND EXISTS (
        SELECT FROM pg_class c
            WHERE relnamespace = n.oid AND relpersistence <> 't' AND NOT {_OF_EXTENSION}
        UNION ALL SELECT FROM pg_proc
            WHERE pronamespace = n.oid AND NOT EXISTS (SELECT FROM pg_depend
                WHERE classid = 'pg_proc'::regclass::oid AND objid = pg_proc.oid AND deptype = 'e')
        -- Not the types of rows and arrays, which depend on tables and on other types.
        UNION ALL SELECT FROM pg_type
            WHERE typnamespace = n.oid AND NOT EXISTS (SELECT FROM pg_depend
                WHERE classid = 'pg_type'::regclass::oid AND objid = pg_type.oid
                    AND deptype IN ('e', 'i')))
"""
"""The schemas in which a copy of the schema creates objects."""
CLOSED_SCHEMAS = """
    SELECT nspname::text AS name FROM pg_namespace
    WHERE nspname = ANY (%s::text[]) AND NOT pg_catalog.has_schema_privilege(oid, 'CREATE')
        ORDER BY 1
"""
"""Those of them that exist, and in which the connecting role may not create any."""
CREATOR = """
    SELECT rolsuper OR pg_catalog.has_database_privilege(r.oid, current_database(), 'CREATE')
        AND EXISTS (SELECT FROM pg_roles AS g WHERE g.rolname = 'pg_create_subscription'
            AND pg_catalog.pg_has_role(r.oid, g.oid, 'USAGE')) AS may
    FROM pg_roles AS r WHERE rolname = %s
"""
"""Whether a role may create subscriptions on a copy of this server of a newer version."""
NOT_A_MEMBER = """
    SELECT CASE WHEN rolsuper THEN NULL ELSE
        pg_catalog.format('GRANT %%I TO %%I', rolname, current_user) END
        AS statement, rolname::text AS name
    FROM pg_roles WHERE rolname = ANY (%s::text[])
        AND NOT pg_catalog.pg_has_role(oid, 'MEMBER') ORDER BY 2
"""
"""The roles to which the connecting role cannot give objects; no statement for a superuser."""
FOR_SUPERUSERS = """
    SELECT name::text FROM pg_available_extensions JOIN pg_available_extension_versions v
        USING (name)
    WHERE version = default_version AND superuser AND installed_version IS NULL
        -- Before 13, each of them is for superusers.
        AND pg_catalog.to_jsonb(v) ->> 'trusted'::text IS DISTINCT FROM 'true'
            AND name = ANY (%s::text[])
        AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) ORDER BY 1
"""
"""The extensions that the connecting role cannot create."""
WRITING_EVENT_TRIGGERS = r"""
    SELECT evtname::text AS name FROM pg_event_trigger JOIN pg_proc ON pg_proc.oid = evtfoid
    WHERE evtenabled IN ('O', 'A')
        AND prosrc ~* '\m(insert|update|delete|merge|truncate|copy)\M' ORDER BY 1
"""
"""Event triggers that record DDL in tables: on a fenced server, they refuse all DDL."""
UNFENCED_ROLES = """
    SELECT pg_catalog.concat('ALTER ',
        CASE WHEN setrole <> 0::oid THEN pg_catalog.format('ROLE %I', rolname)
            WHEN setdatabase <> 0::oid THEN pg_catalog.format('DATABASE %I', datname)
                ELSE 'ROLE ALL' END,
        CASE WHEN setrole <> 0::oid AND setdatabase <> 0::oid
            THEN pg_catalog.format(' IN DATABASE %I', datname) END,
        ' RESET session_replication_role') AS statement
    FROM pg_db_role_setting CROSS JOIN pg_catalog.unnest(setconfig) AS entry
    LEFT JOIN pg_roles ON pg_roles.oid = setrole
    LEFT JOIN pg_database ON pg_database.oid = setdatabase
    WHERE pg_catalog.lower(entry) = 'session_replication_role=replica'
        AND (setdatabase = 0::oid OR datname = current_database())
    UNION ALL SELECT 'ALTER SYSTEM RESET session_replication_role'
    FROM pg_settings WHERE name = 'session_replication_role' AND setting = 'replica'
        AND source IN ('configuration file', 'command line')
    ORDER BY 1
"""
"""Settings of roles, the database and the server for sessions in which the trigger of a fence does
not fire."""
READ_XML = "SELECT xml '<a/>' IS NOT NULL AS is_so"
"""SQLSTATE 0A000 on a server that was built without libxml."""
HAS_SCHEMA = "SELECT to_regnamespace(pg_catalog.quote_ident(%s)) IS NOT NULL AS is_so"
OTHER_TRIGGERS = f"""
    SELECT pg_catalog.format('trigger %%I on %%s', tgname, tgrelid::regclass) AS name
    FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
    WHERE tgname = %s::text AND NOT tgisinternal AND proname <> '{FUNCTION}' ORDER BY 1
"""
"""Triggers with the name of a fence that are none of a fence."""
AVAILABLE = """
    SELECT ARRAY(SELECT ARRAY[name, default_version]::text[] FROM pg_available_extensions)
        AS available
"""
TRY_SUBSCRIPTION = (
    "CREATE SUBSCRIPTION pgreplkit_try {} PUBLICATION pgreplkit_try"
    " WITH (create_slot = false, enabled = false, slot_name = NONE)"
)
"""Connects to the publisher, and can run in a transaction because it creates no slot."""
COPIED_TABLES = """
    SELECT nspname AS schema, relname AS name FROM pg_subscription_rel
    JOIN pg_class c ON c.oid = srrelid JOIN pg_namespace n ON n.oid = relnamespace
    WHERE srsubstate <> 'r' OR srsublsn IS NOT NULL
"""
"""Tables whose rows a subscription copies; without a copy they are ready without a position."""
_PUBLISHED = """
    SELECT nspname AS schema, relname AS name, relfilenode::bigint AS file, c.oid::bigint AS first
    FROM pg_publication JOIN pg_publication_rel r ON prpubid = pg_publication.oid
    JOIN pg_class c ON c.oid = prrelid JOIN pg_namespace n ON n.oid = relnamespace
    WHERE pubname = ANY (%s::text[])
"""
FILES = f"{_PUBLISHED} ORDER BY 1, 2"
"""The tables of publications with their files: TRUNCATE gives a table another one, and some DDL
does. The first one has the number of the table."""
REWRITTEN = f"{_PUBLISHED} AND age(c.xmin) < age(r.xmin) ORDER BY 1, 2"
"""Tables whose row of pg_class is newer than their publication: after TRUNCATE, and some DDL."""
MAY_READ_PASSWORDS = "SELECT pg_catalog.has_table_privilege('pg_authid', 'SELECT') AS is_so"
MD5_ROLES = "SELECT rolname::text AS role FROM pg_authid WHERE rolpassword ~ '^md5' ORDER BY 1"
