"""Facts about a database that is upgraded: its tables, and what does not move by itself."""

from collections.abc import Iterable

import attrs

from pgreplkit.catalog.logical.fence import FUNCTION
from pgreplkit.catalog.view import table_in
from pgreplkit.values.tablename import TableName

_OURS = f"""
    n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND NOT EXISTS (SELECT FROM pg_proc WHERE pronamespace = n.oid AND proname = '{FUNCTION}')
"""
_OF_EXTENSION = """
    EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid
        AND deptype = 'e')
"""


@attrs.frozen(kw_only=True)
class UserTable:
    """A table of the database, and the tables that must replicate together with it."""

    table: TableName
    kind: str
    """pg_class.relkind: r, p, f or m."""
    persistence: str
    bytes: int
    of_extension: bool
    joined: tuple[TableName, ...]
    """Tables that it references or is a partition of."""
    unequal_columns: tuple[str, ...]
    """Columns of types without an equality operator, if its replica identity is FULL."""
    firing: tuple[str, ...]
    """Triggers that fire for replicated changes too."""

    @property
    def is_copied(self) -> bool:
        """Whether its rows are replicated: partitioned tables have none of their own."""
        return self.kind == "r" and self.persistence == "p" and not self.of_extension


TABLES = f"""
    SELECT n.nspname AS schema, c.relname AS name, c.relkind::text AS kind,
        c.relpersistence::text AS persistence, pg_table_size(c.oid) AS bytes,
        {_OF_EXTENSION} AS of_extension,
        ARRAY(SELECT ARRAY[rn.nspname, r.relname]::text[] FROM (
            SELECT confrelid AS other FROM pg_constraint WHERE conrelid = c.oid AND contype = 'f'
            UNION SELECT inhparent FROM pg_inherits WHERE inhrelid = c.oid) AS joins
            JOIN pg_class r ON r.oid = other JOIN pg_namespace rn ON rn.oid = r.relnamespace
            WHERE other <> c.oid) AS joined,
        ARRAY(SELECT attname::text FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid
            WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND c.relreplident = 'f'
            AND typname IN ('json', 'xml', 'point', 'polygon', 'box', 'line', 'lseg', 'path',
                'circle')
            ORDER BY attnum) AS unequal_columns,
        ARRAY(SELECT tgname::text FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal
            AND tgenabled IN ('A', 'R') ORDER BY 1) AS firing
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'f', 'm') AND c.relpersistence <> 't' AND {_OURS}
    ORDER BY 1, 2
"""


def user_table_in(record: dict[str, object]) -> UserTable:
    """Return the table of one record of ``TABLES``."""
    joined = tuple(TableName(*each) for each in record.pop("joined"))  # type: ignore[attr-defined]
    return UserTable(
        table=table_in(record),
        joined=joined,
        unequal_columns=tuple(record.pop("unequal_columns")),  # type: ignore[arg-type]
        firing=tuple(record.pop("firing")),  # type: ignore[arg-type]
        **record,  # type: ignore[arg-type]
    )


def _set(names: Iterable[str]) -> frozenset[str]:
    return frozenset(names)


def _names(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(names)


@attrs.frozen(kw_only=True)
class DatabaseFacts:
    """What a database and its server have that logical replication does not copy."""

    system_id: int
    database: str
    encoding: str
    collation: str
    large_objects: int
    roles: frozenset[str] = attrs.field(converter=_set)
    owners: frozenset[str] = attrs.field(converter=_set)
    """Owners of the database's tables."""
    extensions: dict[str, str]
    """The installed extensions with their versions."""
    available: frozenset[str] = attrs.field(converter=_set)
    """The extensions that could be installed; only of the new server."""
    database_settings: tuple[str, ...] = attrs.field(converter=_names)
    """ALTER DATABASE or ALTER ROLE … SET, as name=value."""
    event_triggers: tuple[str, ...] = attrs.field(converter=_names)
    publications: tuple[str, ...] = attrs.field(converter=_names)
    prepared: tuple[str, ...] = attrs.field(converter=_names)
    """Prepared transactions, for which the creation of a slot waits."""
    old_transactions: tuple[str, ...] = attrs.field(converter=_names)
    """Transactions that have been open for a minute or more."""
    unsafe_functions: tuple[str, ...] = attrs.field(converter=_names)
    """Functions in expression indexes that rely on the search_path."""


FACTS = """
    SELECT (SELECT system_identifier FROM pg_control_system()) AS system_id,
        current_database()::text AS database,
        pg_encoding_to_char(encoding)::text AS encoding, datcollate::text AS collation,
        (SELECT count(*) FROM pg_largeobject_metadata) AS large_objects,
        ARRAY(SELECT rolname::text FROM pg_roles WHERE rolname !~ '^pg_') AS roles,
        ARRAY(SELECT DISTINCT pg_get_userbyid(relowner)::text FROM pg_class
            JOIN pg_namespace ON pg_namespace.oid = relnamespace
            WHERE nspname !~ '^pg_' AND nspname <> 'information_schema') AS owners,
        ARRAY(SELECT ARRAY[extname, extversion]::text[] FROM pg_extension) AS extensions,
        ARRAY(SELECT unnest(setconfig) FROM pg_db_role_setting
            WHERE setdatabase = pg_database.oid OR setdatabase = 0 AND setrole <> 0 ORDER BY 1)
            AS database_settings,
        ARRAY(SELECT evtname::text FROM pg_event_trigger) AS event_triggers,
        ARRAY(SELECT pubname::text FROM pg_publication) AS publications,
        ARRAY(SELECT gid FROM pg_prepared_xacts WHERE database = datname) AS prepared,
        ARRAY(SELECT pid || ' (' || application_name || '), '
                || date_trunc('second', clock_timestamp() - xact_start)
            FROM pg_stat_activity
            WHERE xact_start < clock_timestamp() - interval '1 minute'
                AND backend_type = 'client backend') AS old_transactions,
        ARRAY(SELECT DISTINCT pg_proc.oid::regprocedure::text FROM pg_index
            JOIN pg_depend ON pg_depend.classid = 'pg_class'::regclass AND objid = indexrelid
                AND refclassid = 'pg_proc'::regclass
            JOIN pg_proc ON pg_proc.oid = refobjid JOIN pg_language ON pg_language.oid = prolang
            WHERE lanname IN ('sql', 'plpgsql') AND NOT coalesce(array_to_string(proconfig, ',')
                ~ '(^|,)search_path=', false)
                AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_proc'::regclass
                    AND e.objid = pg_proc.oid AND e.deptype = 'e')
            ORDER BY 1) AS unsafe_functions
    FROM pg_database WHERE datname = current_database()
"""
AVAILABLE = "SELECT ARRAY(SELECT name::text FROM pg_available_extensions) AS available"
