"""WriteFence: the triggers that refuse writes, and the writes that they cannot refuse."""

from datetime import datetime, timedelta

import attrs

from pgreplkit._text import quote_literal
from pgreplkit.catalog.features import has
from pgreplkit.catalog.view import ASKED_TABLES, description_of
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.record import Record
from pgreplkit.values.tablename import TableName

FUNCTION = "pgreplkit_refuse_writes"
"""The trigger function of a fence, in a schema of the fence's name: so a fence is found again."""
GATE = "pgreplkit_gate"
"""A table in that schema, which each writer locks until its transaction ends, while the fence is
put up. The fence locks it too, and waits for all of them: so it needs no two locks for which
writers cross each other. It is dropped when the fence stands."""
AT_ONCE = 1000
"""Tables locked in one transaction: each needs a few of the 6,400 locks that the defaults allow."""
PATIENCE = (*8 * [0.02], *4 * [0.04], *2 * [0.08], 0.16, 0.3)
"""Seconds for which attempts wait for all their locks, one after the other, and again from the
first on. New writers queue behind an attempt for that time. Most are short: transactions that write
usually are, too. The longest ones succeed between transactions that take as long, and are shorter
than deadlock_timeout, so that the applications do not become victims of a deadlock."""


@attrs.frozen(kw_only=True)
class FenceState(Record):
    """A write fence when it was last read.

    Source: pg_trigger, pg_proc.
    """

    name: str
    """Name of the triggers, and of the schema with their function."""
    tables: tuple[TableName, ...]
    """The tables that have the trigger, partitions and parents included."""
    disabled: tuple[TableName, ...] = ()
    """The tables whose trigger someone has altered, as by ALTER TABLE … DISABLE TRIGGER or
    ENABLE REPLICA TRIGGER: it does not fire for clients, or it fires for apply workers.
    ``fence_writes`` with the fence's name enables it again."""
    is_lifted: bool = False
    """Whether its function permits writes, because a lift was interrupted."""
    is_gated: bool = False
    """Whether it does not refuse writes yet, because the call that creates it was interrupted."""
    since: datetime | None = None
    """When it began to keep writers waiting, by the clock of the machine that created it; None if
    it never stood."""
    identity: str = ""
    """The identity of the run of an upgrade that created it; empty for any other fence."""

    @property
    def is_up(self) -> bool:
        """Whether writes to all of its tables are refused."""
        return not (self.is_lifted or self.is_gated or self.disabled)


@attrs.frozen
class FenceFunction:
    """The function of a fence when it was last read."""

    refuses: bool
    """Whether it exists and was not lifted; until the fence stands, it lets writers pass."""
    identity: str = ""
    """The identity of the run that has created it; empty if it was created by hand."""


class UnfencedKind(OpenEnum):
    """A kind of change that a write fence does not refuse."""

    SEQUENCES = "pg_catalog.nextval() and pg_catalog.setval() of sequences"
    LARGE_OBJECTS = "large objects"
    DDL = "DDL on the fenced tables"
    REPLICA_ROLE = "writes with session_replication_role = replica"


@attrs.frozen(kw_only=True)
class UnfencedSession(Record):
    """A session that could make a change that the fence does not refuse."""

    kind: UnfencedKind = attrs.field(converter=UnfencedKind)
    pid: int
    role: str | None
    application_name: str | None
    age: timedelta | None
    """The age of its transaction; None if it has none."""


@attrs.frozen(kw_only=True)
class FenceBlocker(Record):
    """A session, or a prepared transaction, with a lock for which a fence waits."""

    table: TableName
    pid: int | None
    """None for a prepared transaction."""
    backend_type: str
    application_name: str | None
    """The name of a prepared transaction; otherwise that of the client."""
    age: timedelta | None
    """The age of its transaction."""

    @property
    def is_autovacuum(self) -> bool:
        """Whether the process is an autovacuum, which yields to a lock after deadlock_timeout."""
        return self.backend_type == "autovacuum worker"

    def __str__(self) -> str:
        who = self.application_name or self.backend_type
        age = "" if self.age is None else f", {self.age.total_seconds():.1f} s old"
        what = "prepared transaction" if self.pid is None else f"process {self.pid}"
        return f"{what} ({who}{age}) on {self.table}"


# Statements; {} stand for identifiers and literals.
CREATE_SCHEMA = "CREATE SCHEMA {}"
REPLACE_FUNCTION = "CREATE OR REPLACE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql AS {}"
REPLACE_BY_GATE = f"{REPLACE_FUNCTION} SECURITY DEFINER"
"""Clients need not have privileges on the gate."""
CREATE_GATE = "CREATE UNLOGGED TABLE IF NOT EXISTS {} ()"
"""Unlogged tables are in no publication, also not in one of all tables."""
LOCK_GATE = "LOCK TABLE ONLY {} IN ACCESS EXCLUSIVE MODE"
DROP_GATE = "DROP TABLE IF EXISTS {}"
IDENTIFY = "COMMENT ON FUNCTION {}() IS {}"
"""Replacing the function keeps the comment."""
SINCE = "COMMENT ON SCHEMA {} IS {}"
_SINCE = "refuses writes since "
PERMIT = "BEGIN RETURN NULL; END"
"""The function's body that permits writes, at once: the triggers can only be dropped when all
transactions that use the tables have ended, readers included."""


def refusal(hint: str) -> str:
    """Return the function's body that refuses writes."""
    return f"BEGIN {_raise(hint)} END"


def gate(table: str, hint: str) -> str:
    """Return the function's body that lets writers pass the gate, and others wait for the fence.

    The server finds a dropped table at any isolation level.
    """
    return (
        f"BEGIN LOCK TABLE ONLY {table} IN ROW SHARE MODE; RETURN NULL;"
        f" EXCEPTION WHEN undefined_table THEN {_raise(hint)} END"
    )


def _raise(hint: str) -> str:
    return (
        "RAISE EXCEPTION 'writes to %.% are fenced', pg_catalog.quote_ident(TG_TABLE_SCHEMA),"
        " pg_catalog.quote_ident(TG_TABLE_NAME) USING ERRCODE = 'read_only_sql_transaction',"
        f" HINT = {quote_literal(hint)};"
    )


def since_comment(since: datetime) -> str:
    """Return the comment of a fence's schema, from which another process reads the time."""
    return _SINCE + since.isoformat()


def since_in(comment: str | None) -> datetime | None:
    """Return the time in the comment of a fence's schema; None if it has none."""
    if comment is None or not comment.startswith(_SINCE):
        return None
    try:
        since = datetime.fromisoformat(comment.removeprefix(_SINCE))
    except ValueError:
        return None
    return None if since.tzinfo is None else since


LOCK = "LOCK TABLE ONLY {} IN SHARE ROW EXCLUSIVE MODE"
"""Waits for all transactions that have written, also on tables that have the trigger already."""
ADD_TRIGGER = (
    "CREATE TRIGGER {} BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {}"
    " FOR EACH STATEMENT EXECUTE PROCEDURE {}()"
)
ENABLE_TRIGGER = "ALTER TABLE ONLY {} ENABLE TRIGGER {}"
DROP_TRIGGER = "DROP TRIGGER IF EXISTS {} ON {}"
DROP_FUNCTION = "DROP FUNCTION IF EXISTS {}()"
DROP_SCHEMA = "DROP SCHEMA IF EXISTS {}"
LOCK_TIMEOUT = "SELECT set_config('lock_timeout', {}, true)"
WITHIN = """
    DECLARE statement text;
    BEGIN
        FOREACH statement IN ARRAY {statements}::text[] LOOP
            PERFORM set_config('lock_timeout', greatest(
                1::float8, {limit}::float8 - 1000::float8 * extract(
                    epoch FROM clock_timestamp() - transaction_timestamp())::float8)::int::text,
                true);
            EXECUTE statement;
        END LOOP;
    END
"""
"""The body of DO for statements that wait for locks, ``limit`` milliseconds in all: lock_timeout
counts for each lock, and statement_timeout cannot be set within a statement."""
DO = "DO {}"
REFUSES = "prosrc ~ '^BEGIN RAISE EXCEPTION'"
"""Whether a row of pg_proc is the function of a fence that refuses writes."""
_GATED = "prosrc ~ '^BEGIN LOCK TABLE'"
FENCE_FUNCTION = f"""
    SELECT coalesce(bool_or({REFUSES} OR {_GATED}), false) AS refuses,
        coalesce(pg_catalog.max({description_of("pg_proc.oid", "pg_proc")}), '') AS identity
    FROM pg_proc WHERE oid = pg_catalog.to_regprocedure(%s::text)::oid
"""
EXISTS = "SELECT pg_catalog.to_regprocedure(%s::text) IS NOT NULL AS is_so"
CANCEL_VACUUMS = """
    SELECT pid, pg_cancel_backend(pid) AS is_cancelled FROM pg_stat_activity
    WHERE pid = ANY (%s::int[]) AND backend_type = 'autovacuum worker'
        AND query NOT LIKE '%%(to prevent wraparound)'
"""
"""The vacuums that prevent wraparound do not yield to locks, either."""
DEADLOCK_TIMEOUT = (
    "SELECT setting::int / 1000.0::float8 AS seconds FROM pg_settings"
    " WHERE name = 'deadlock_timeout'"
)

FENCES = f"""
    SELECT p.nspname AS name, NOT ({REFUSES} OR {_GATED}) AS is_lifted, {_GATED} AS is_gated,
        coalesce(pg_catalog.array_agg(ARRAY[t.nspname, c.relname]::text[]
            ORDER BY t.nspname, c.relname)
            FILTER (WHERE c.oid IS NOT NULL), '{{}}') AS tables,
        coalesce(pg_catalog.array_agg(ARRAY[t.nspname, c.relname]::text[]
            ORDER BY t.nspname, c.relname)
            FILTER (WHERE tgenabled <> 'O'), '{{}}') AS disabled,
        {description_of("p.oid", "pg_namespace")} AS comment,
        coalesce({description_of("pg_proc.oid", "pg_proc")}, '') AS identity
    FROM pg_proc JOIN pg_namespace p ON p.oid = pronamespace
    LEFT JOIN pg_trigger ON tgfoid = pg_proc.oid
    LEFT JOIN pg_class c ON c.oid = tgrelid
    LEFT JOIN pg_namespace t ON t.oid = c.relnamespace
    WHERE proname = '{FUNCTION}' AND pronargs = 0
    GROUP BY 1, 2, 3, p.oid, pg_proc.oid ORDER BY 1
"""
LOCKED = f"""
    SELECT DISTINCT nspname, relname, pid,
        coalesce(backend_type, 'prepared transaction') AS backend_type,
        coalesce(gid, application_name) AS application_name,
        clock_timestamp() - coalesce(prepared, xact_start) AS age
    FROM {ASKED_TABLES} JOIN pg_locks ON relation = pg_class.oid AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND (%s::boolean OR mode NOT IN ('AccessShareLock', 'RowShareLock'))
    LEFT JOIN pg_stat_activity USING (pid)
    -- Its locks have no process; one of them is that of its transaction.
    LEFT JOIN pg_prepared_xacts ON pid IS NULL AND transaction = (
        SELECT own.transactionid FROM pg_locks own
        WHERE own.virtualtransaction = pg_locks.virtualtransaction AND own.pid IS NULL
            AND own.locktype = 'transactionid' LIMIT 1)
    WHERE pid IS DISTINCT FROM pg_backend_pid()
    ORDER BY 1, 2, 3
"""
"""The transactions whose locks conflict with the fence's; with the third parameter, readers too."""


def unfenced(major: int) -> str:
    """Return the statement for the sessions that could change what the fence does not cover."""
    may_replicate = "rolsuper"
    if has("settings.grantable", major):
        may_replicate += (
            " OR pg_catalog.has_parameter_privilege(role, 'session_replication_role', 'SET')"
        )
    return f"""
        WITH sessions AS (
            SELECT pid, usesysid AS role, rolname, rolsuper, application_name,
                clock_timestamp() - xact_start AS age
            FROM pg_stat_activity JOIN pg_roles ON pg_roles.oid = usesysid
            WHERE datname = current_database() AND backend_type = 'client backend'
                AND pid <> pg_backend_pid()
        ), possible AS (
            SELECT '{UnfencedKind.SEQUENCES}' AS kind, sessions.* FROM sessions
            WHERE EXISTS (SELECT FROM pg_class WHERE relkind = 'S' AND relpersistence = 'p'
                AND pg_catalog.has_sequence_privilege(role, oid, 'USAGE, UPDATE'))
            UNION ALL
            SELECT '{UnfencedKind.LARGE_OBJECTS}', sessions.* FROM sessions
            WHERE EXISTS (SELECT FROM pg_largeobject_metadata
                WHERE pg_catalog.pg_has_role(role, lomowner, 'MEMBER'))
            UNION ALL
            SELECT '{UnfencedKind.DDL}', sessions.* FROM sessions
            WHERE EXISTS (SELECT FROM {ASKED_TABLES}
                WHERE pg_catalog.pg_has_role(role, relowner, 'MEMBER'))
            UNION ALL
            SELECT '{UnfencedKind.REPLICA_ROLE}', sessions.* FROM sessions WHERE {may_replicate}
        )
        SELECT kind, pid, rolname AS role, application_name, age FROM possible ORDER BY kind, pid
    """
