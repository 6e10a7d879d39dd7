"""The objects and statements by which an applier keeps its state on the subscriber."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from pgreplkit._text import quote_identifier
from pgreplkit.catalog.features import has
from pgreplkit.values.tablename import TableName

SCHEMA = "pgreplkit"
"""The schema of all objects that appliers create on a subscriber."""
PREFIX = "pgreplkit_"
"""The names of slots and origins begin with it."""

CREATE_SCHEMA = """
    DO $$ BEGIN
        IF to_regnamespace('pgreplkit') IS NULL THEN CREATE SCHEMA pgreplkit; END IF;
    END $$
"""
"""With IF NOT EXISTS, the server asks for the right to create a schema also if it exists."""
CREATE_TABLES = (
    """
    CREATE TABLE IF NOT EXISTS pgreplkit.applier (
        name text PRIMARY KEY,
        state text NOT NULL,
        system_id text NOT NULL,
        resume text NOT NULL,
        takes_all boolean NOT NULL DEFAULT false,
        flow jsonb NOT NULL DEFAULT '[]',
        slot_restart_lsn pg_lsn,
        slot_confirmed_lsn pg_lsn
    )
    """,
    # Without an index: each transaction makes another version of the row, and none of them can be
    # removed while someone has an older snapshot. An index would lead to all of them.
    """
    CREATE TABLE IF NOT EXISTS pgreplkit.progress (
        name text NOT NULL,
        position pg_lsn NOT NULL DEFAULT '0/0',
        commit_time timestamptz,
        touched timestamptz
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS pgreplkit.conflict (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        at timestamptz NOT NULL DEFAULT clock_timestamp(),
        applier text NOT NULL,
        kind text NOT NULL,
        table_name text NOT NULL,
        key_values jsonb,
        resolution text NOT NULL,
        xid bigint NOT NULL,
        lsn pg_lsn NOT NULL
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS pgreplkit.parked (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        at timestamptz NOT NULL DEFAULT clock_timestamp(),
        applier text NOT NULL,
        xid bigint NOT NULL,
        lsn pg_lsn NOT NULL,
        commit_time timestamptz,
        table_name text,
        change_number int,
        sqlstate text,
        found text NOT NULL
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS pgreplkit.parked_step (
        parked bigint NOT NULL REFERENCES pgreplkit.parked ON DELETE CASCADE,
        number int NOT NULL,
        table_name text NOT NULL,
        statement text NOT NULL,
        parameters bytea[] NOT NULL,
        formats int[] NOT NULL,
        types bigint[] NOT NULL,
        PRIMARY KEY (parked, number)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS pgreplkit.copied (
        applier text NOT NULL,
        schema_name text NOT NULL,
        table_name text NOT NULL,
        lsn pg_lsn NOT NULL,
        at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (applier, schema_name, table_name)
    )
    """,
)
LOCK_SCHEMA = "SELECT pg_catalog.pg_advisory_xact_lock(1885697650)"
"""Held while the tables are created: IF NOT EXISTS alone fails if two sessions do so at once."""
HAS_TABLES = "SELECT pg_catalog.to_regclass('pgreplkit.copied') IS NOT NULL AS has_tables"
STATE_GRANT = (
    "USAGE, CREATE ON SCHEMA pgreplkit"
    "; SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA pgreplkit"
    "; SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA pgreplkit"
)
"""What a role needs on the objects that another role created."""

# The life of an applier.
READ_APPLIER = """
    SELECT state, system_id, resume, position, slot_restart_lsn, slot_confirmed_lsn
    FROM pgreplkit.applier JOIN pgreplkit.progress USING (name) WHERE name = %s
"""
ADD_APPLIER = """
    WITH added AS (
        INSERT INTO pgreplkit.applier (name, state, system_id, resume)
        VALUES (%s, 'creating', %s, %s) RETURNING name
    )
    INSERT INTO pgreplkit.progress (name) SELECT name FROM added RETURNING name
"""
NOTE_FLOW = "UPDATE pgreplkit.applier SET takes_all = %s, flow = %s WHERE name = %s RETURNING name"
"""Its tables and its origin= may be others than those of the last run."""
NOTE_SLOT = """
    UPDATE pgreplkit.applier SET slot_restart_lsn = %s, slot_confirmed_lsn = %s WHERE name = %s
    RETURNING name
"""
"""The positions of its slot when it was created, by which the applier knows it until it streams."""
SET_STATE = "UPDATE pgreplkit.applier SET state = %s WHERE name = %s RETURNING name"
DROP_APPLIER = """
    WITH dropped AS (DELETE FROM pgreplkit.applier WHERE name = %s RETURNING name)
    DELETE FROM pgreplkit.progress AS p USING dropped WHERE p.name = dropped.name RETURNING p.name
"""
DROP_COPIED = "DELETE FROM pgreplkit.copied WHERE applier = %s RETURNING lsn"
_DROP_PARKED = """
    WITH dropped AS (DELETE FROM pgreplkit.parked WHERE {} RETURNING id),
    steps AS (
        DELETE FROM pgreplkit.parked_step AS step USING dropped WHERE step.parked = dropped.id
    )
    SELECT id FROM dropped
"""
"""A session of an applier does not cascade: its session_replication_role is replica."""
DROP_PARKED = _DROP_PARKED.format("applier = %s")
DROP_ONE_PARKED = _DROP_PARKED.format("id = %s AND applier = %s AND lsn = %s")
"""On another subscriber, another transaction may have the same number."""
DROP_CONFLICTS = "DELETE FROM pgreplkit.conflict WHERE applier = %s RETURNING id"

# The advisory lock that one session of an applier holds.
LOCK = "SELECT pg_try_advisory_lock(1885697650, hashtext(%s)) AS is_locked"
LOCKED_BY = """
    SELECT pid FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND granted
    AND classid = 1885697650 AND objid::bigint = hashtext(%s)::bit(32)::bigint AND objsubid = 2
    AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
"""
END_SESSION = "SELECT pg_catalog.pg_terminate_backend(%s)"


def functions(major: int, *, is_superuser: bool) -> str:
    """Return the schema of the functions of origins that the applier calls.

    Before 14 only superusers may call the server's own: wrappers are made for other roles.
    """
    return "pg_catalog" if is_superuser or has("origin.grantable", major) else SCHEMA


FIND_ORIGIN = "SELECT roident AS id FROM pg_catalog.pg_replication_origin WHERE roname = %s"
CREATE_ORIGIN = "SELECT {}.pg_replication_origin_create(%s)"
DROP_ORIGIN = "SELECT {}.pg_replication_origin_drop(%s)"
SETUP_ORIGIN = "SELECT {}.pg_replication_origin_session_setup(%s)"
ORIGIN_PROGRESS = "SELECT coalesce({}.pg_replication_origin_progress(%s, true), '0/0') AS position"
REPLICA_ROLE = "SELECT {} AS role"
_REPLICA_ROLE = "set_config('session_replication_role', 'replica', false)"
SHOWN_ROLE = "SELECT current_setting('session_replication_role') AS role"


def replica_role(major: int, *, is_superuser: bool) -> str:
    """Return the statement that makes a session fire no ordinary triggers.

    Before 15 the setting cannot be granted: a wrapper is made for other roles than superusers.
    """
    call = "pg_catalog." + _REPLICA_ROLE
    if not is_superuser and not has("settings.grantable", major):
        call = "pgreplkit.use_replica_role()"
    return REPLICA_ROLE.format(call)


def session_settings(major: int) -> str:
    """Return the statement for the settings that a session needs to apply changes, too."""
    settings = {
        # The state of the applier and its copied rows must survive a crash of the subscriber.
        "synchronous_commit": "on",
        "row_security": "off",
        "search_path": "pg_catalog",
        # Values are read as the publisher's session writes them: otherwise a NULL in an array is a
        # text, xml must be a document, and 1,50 EUR are 150.
        "array_nulls": "on",
        "xmloption": "content",
        "lc_monetary": "C",
        # Otherwise a scan of an index may leave out rows at random.
        "gin_fuzzy_search_limit": "0",
        # A plan that was made while a table was empty would always read the whole table.
        "enable_seqscan": "off",
        "enable_indexscan": "on",
        "enable_nestloop": "on",
        "enable_tidscan": "on",
        "pgreplkit.applied": "",
        # The place of the row with the applier's position: none yet.
        "pgreplkit.place": "(0,0)",
    }
    if major >= 11:
        # The cost that stands for a disabled scan would have every such plan compiled.
        settings["jit"] = "off"
    if major >= 12:
        # Planning a statement again takes longer than a better plan for one row could save.
        settings["plan_cache_mode"] = "force_generic_plan"
    return "SELECT " + ", ".join(
        f"pg_catalog.set_config('{name}', '{value}', false)" for name, value in settings.items()
    )


USE_KEYS = """
    SELECT set_config('enable_hashjoin', 'off', false),
        set_config('enable_mergejoin', 'off', false)
"""
"""Lets a statement for several rows find each by its key, also in a table that was just small."""
IS_COMPLETED = "SELECT 1 / (pg_catalog.current_setting('pgreplkit.applied') = $1::text)::int"
"""Begins a batch of transactions; it fails if the batch before was not completed."""
COMPLETE = "SELECT pg_catalog.set_config('pgreplkit.applied', $1::text, false)"
"""Ends a batch of transactions."""


def ending(schema: str, origin: int | None = None) -> str:
    """Return the last statement of a transaction, which records its position by its origin.

    Parameters: end LSN, commit time.

    It is the last one because from 16 on, the server moves an origin even if the transaction is
    rolled back after this call, as by a session that is terminated, or a deferred trigger. There,
    ``origin`` is the number of the origin, and sequences note the position and the transaction
    first: what they contain is not rolled back.
    """
    call = XACT_SETUP.format(schema)
    if origin is None:
        return call
    # Only a transaction that writes moves the origin. If the server crashes between the two, the
    # older transaction does not belong to the newer position, which the origin does not have.
    xid = "pg_catalog.txid_current_if_assigned()"
    lsn = f"CASE WHEN {xid} IS NOT NULL THEN ($1::pg_lsn - '0/0'::pg_lsn)::bigint END"
    ended_at, ended = ended_names(origin)
    notes = f"pg_catalog.setval('{ended_at}', {lsn}), pg_catalog.setval('{ended}', {xid})"
    return call.replace("SELECT ", f"SELECT {notes}, ", 1)


def ended_names(origin: int) -> tuple[str, str]:
    """Return the sequences with the last position of an origin, and with its transaction."""
    return f"pgreplkit.ended_at_{origin}", f"pgreplkit.ended_{origin}"


HAS_ENDED = "SELECT pg_catalog.to_regclass(%s) IS NOT NULL AS has_ended"


def was_rolled_back(origin: int) -> str:
    """Return the query whether the transaction that moved an origin last was rolled back."""
    ended_at, ended = ended_names(origin)
    # The status of a transaction of another cluster, as after a restore, would be an error.
    return f"""
        SELECT x.is_called AND p.last_value = %s::pg_lsn - '0/0'::pg_lsn
            AND CASE WHEN x.last_value < txid_snapshot_xmax(txid_current_snapshot())
                THEN coalesce(txid_status(x.last_value) = 'aborted', false) ELSE false END
            AS is_rolled_back
        FROM {ended_at} AS p, {ended} AS x
    """


CHECK_DEFERRED = "SET CONSTRAINTS ALL IMMEDIATE"
"""Run before the position is recorded: nothing may fail between that and the commit."""
CLOCK = "SELECT clock_timestamp() AS now"
SET = "SELECT set_config(%s, %s, false)"
QUALIFY = "SET search_path = ''"
"""Lets a server name the schemas of objects; no schema shadows what our own statements use."""
PORTABLE_TEXTS = f"{QUALIFY}; SET lc_monetary = 'C'"
"""Lets the publisher write values as the subscriber's session reads them, which has another
search_path, and knows no other locale."""
TRACKS_COMMITS = "SELECT current_setting('track_commit_timestamp')::boolean AS is_on"
CLOCK_GUARD = """
    WHERE CASE WHEN clock_timestamp() > $2 THEN true
        WHEN $2 - clock_timestamp() > interval '50 ms' THEN 1 / (clock_timestamp() > $2)::int = 1
        ELSE pg_sleep(
            extract(epoch FROM $2 - clock_timestamp())::float8 + 0.001::float8)::text = '' END
"""
"""Appended to ``ending``: waits until the clock has passed the commit time, and fails if that takes
longer: the rows would be locked for that time. A division of constants would fail at once."""
SET_MARK = """
    SELECT set_config('pgreplkit.applied', %s, false),
        set_config('synchronous_commit', 'off', false)
"""
"""Begins the pipeline: a position is acknowledged once it is flushed, so no commit waits for it."""
WAIT_FOR_FLUSH = "SET synchronous_commit = 'on'"
XACT_SETUP = "SELECT {}.pg_replication_origin_xact_setup($1::pg_lsn, $2::timestamptz)"
_PLACE = """
    p.ctid = coalesce(
        (SELECT ctid FROM pgreplkit.progress
            WHERE ctid = current_setting('pgreplkit.place')::tid AND name = {0}::text),
        (SELECT ctid FROM pgreplkit.progress WHERE name = {0}::text)
    )
    RETURNING set_config('pgreplkit.place', p.ctid::text, false)
"""
"""Finds the row where the last transaction of the session has left it, or else by its name, as at
first and after VACUUM FULL; a transaction that is rolled back restores the place, too."""
NAME_ORIGIN = "SELECT {}.pg_replication_origin_xact_setup(%s::pg_lsn, %s::timestamptz)"
"""An older position does not move the origin back."""
MOVE_POSITION = f"""
    UPDATE pgreplkit.progress AS p SET position = $1::pg_lsn, commit_time = $2::timestamptz
    WHERE {_PLACE.format("$3")}
"""
FLUSH = "SELECT {}.pg_replication_origin_session_progress(true)"
"""Flushes the WAL up to the last transaction that was applied."""
FLUSH_TABLE = f"""
    WITH waiting AS (SELECT set_config('synchronous_commit', 'on', true))
    UPDATE pgreplkit.progress AS p SET touched = clock_timestamp() FROM waiting
    WHERE {_PLACE.format("$1")}
"""
"""Commits with a flush of the WAL, which covers all transactions before it."""

ADD_CONFLICTS = """
    INSERT INTO pgreplkit.conflict
        (applier, kind, table_name, key_values, resolution, xid, lsn)
    SELECT %s, c.* FROM unnest(%s::text[], %s::text[], %s::jsonb[], %s::text[], %s::bigint[],
        %s::pg_lsn[]) AS c
    RETURNING id
"""
CONFLICTS = """
    SELECT id, at, kind, table_name AS table, key_values, resolution, xid, lsn
    FROM pgreplkit.conflict
    WHERE applier = %s AND at >= coalesce(%s::timestamptz, '-infinity') ORDER BY id
"""
PRUNE_CONFLICTS = """
    DELETE FROM pgreplkit.conflict WHERE applier = %s AND at < clock_timestamp() - %s::interval
    RETURNING id
"""
ADD_PARKED = """
    INSERT INTO pgreplkit.parked
        (applier, xid, lsn, commit_time, table_name, change_number, sqlstate, found)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING id
"""
ADD_STEP = """
    INSERT INTO pgreplkit.parked_step
        (parked, number, table_name, statement, parameters, formats, types)
    VALUES (%s, %s, %s, %s, %s, %s, %s::bigint[]) RETURNING number
"""
PARKED = """
    SELECT id, at, xid, lsn, commit_time, table_name AS table, change_number, sqlstate, found
    FROM pgreplkit.parked WHERE applier = %s ORDER BY id
"""
PARKED_STEPS = """
    SELECT number, step.table_name AS table, statement, parameters, formats, types
    FROM pgreplkit.parked_step AS step JOIN pgreplkit.parked ON parked.id = step.parked
    WHERE parked.id = %s AND applier = %s AND lsn = %s ORDER BY number
"""


def rights() -> str:
    """Return the query for what the current role may do on a subscriber."""
    names = [name for name, _, _, _ in _ORIGIN_FUNCTIONS]
    return _RIGHTS.format(
        _may_call(SCHEMA, ["use_replica_role"]),
        _may_call(SCHEMA, names),
        _may_call("pg_catalog", names),
    )


def _may_call(schema: str, names: Sequence[str]) -> str:
    """Return the condition that all of the functions exist, and that the role may call them."""
    return f"""(
        SELECT count(*) = {len(names)} FROM pg_catalog.pg_proc AS p
        JOIN pg_catalog.pg_namespace AS n ON n.oid = pronamespace
        WHERE nspname = '{schema}' AND proname = ANY (ARRAY{[*names]})
            AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
                AND pg_catalog.has_function_privilege(p.oid, 'EXECUTE')
    )"""


_RIGHTS = """
    SELECT current_user AS role, rolsuper AS is_superuser,
        to_regnamespace('pgreplkit') IS NOT NULL AS has_schema,
        CASE WHEN to_regnamespace('pgreplkit') IS NULL
            THEN pg_catalog.has_database_privilege(current_database(), 'CREATE')
            ELSE pg_catalog.has_schema_privilege('pgreplkit', 'CREATE')
                AND pg_catalog.has_schema_privilege('pgreplkit', 'USAGE') END AS may_create,
        coalesce((
            SELECT bool_and(CASE relkind
                WHEN 'r' THEN pg_catalog.has_table_privilege(oid, 'SELECT')
                    AND pg_catalog.has_table_privilege(oid, 'INSERT')
                        AND pg_catalog.has_table_privilege(oid, 'UPDATE')
                    AND pg_catalog.has_table_privilege(oid, 'DELETE')
                ELSE pg_catalog.has_sequence_privilege(oid, 'SELECT')
                    AND pg_catalog.has_sequence_privilege(oid, 'UPDATE') END)
            FROM pg_catalog.pg_class
            WHERE relnamespace = to_regnamespace('pgreplkit')::oid AND relkind IN ('r', 'S')
        ), true) AS may_write,
        pg_is_in_recovery() AS is_standby,
        current_setting('default_transaction_read_only')::boolean AS is_read_only,
        current_setting('session_replication_role') AS session_role,
        {} AS has_role_wrapper, {} AS has_origin_wrapper, {} AS may_use_origins
    FROM pg_catalog.pg_roles WHERE rolname = current_user
"""


def advance_rights() -> str:
    """Return the query whether the current role may move origins."""
    name, _, _, _ = _ADVANCE
    wrapped, own = _may_call(SCHEMA, [name]), _may_call("pg_catalog", [name])
    return f"SELECT {wrapped} AS has_origin_wrapper, {own} AS may_use_origins"


MAY_SET_ROLE = """
    SELECT pg_catalog.has_parameter_privilege('session_replication_role', 'SET') AS may_set_role
"""
"""From 15 on."""
ORIGINS_USED = """
    SELECT count(*) AS used, coalesce(bool_or(roname = %s), false) AS has_own
    FROM pg_catalog.pg_replication_origin
"""
UNREADABLE = """
    SELECT n.nspname AS schema, c.relname AS name
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    JOIN unnest(%s::text[], %s::text[]) AS asked (schema, name)
        ON n.nspname = asked.schema AND c.relname = asked.name
    WHERE NOT pg_catalog.has_schema_privilege(n.oid, 'USAGE')
        OR NOT pg_catalog.has_any_column_privilege(c.oid, 'SELECT')
"""
"""The privilege for some columns may do: not all of them need be published."""
PUBLISHER = """
    SELECT current_user AS role, rolreplication OR rolsuper AS may_replicate,
        (SELECT count(*) FROM pg_catalog.pg_replication_slots) AS slots,
        EXISTS (SELECT FROM pg_catalog.pg_replication_slots WHERE slot_name = %s) AS has_slot
    FROM pg_catalog.pg_roles WHERE rolname = current_user
"""
SLOT_BEHIND = """
    SELECT active, confirmed_flush_lsn AS confirmed,
        coalesce(pg_catalog.to_jsonb(s) ->> 'wal_status'::text = 'lost', false) AS is_lost,
        (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
            ELSE pg_current_wal_lsn() END - confirmed_flush_lsn)::bigint AS behind
    FROM pg_catalog.pg_replication_slots AS s WHERE slot_name = %s
"""

_Function: TypeAlias = tuple[str, str, str, bool]
"""A function's name, parameters and result; and whether the first parameter names an origin."""
_ADVANCE: _Function = ("pg_replication_origin_advance", "name text, lsn pg_lsn", "void", True)
_ORIGIN_FUNCTIONS: Sequence[_Function] = (
    ("pg_replication_origin_create", "name text", "oid", True),
    ("pg_replication_origin_drop", "name text", "void", True),
    ("pg_replication_origin_session_setup", "name text", "void", True),
    ("pg_replication_origin_progress", "name text, flush boolean", "pg_lsn", True),
    ("pg_replication_origin_session_progress", "flush boolean", "pg_lsn", False),
    ("pg_replication_origin_xact_setup", "lsn pg_lsn, at timestamptz", "void", False),
)


TO_HAND_OVER = """
    SELECT 'FUNCTION pgreplkit.' || pg_catalog.quote_ident(proname) || '()' AS object
    FROM pg_catalog.pg_proc JOIN pg_catalog.pg_roles AS r ON r.oid = proowner
    WHERE pronamespace = to_regnamespace('pgreplkit')::oid
        AND pg_catalog.left(proname, 5) = 'bury_' AND rolsuper
    UNION ALL
    SELECT 'SEQUENCE pgreplkit.' || pg_catalog.quote_ident(relname)
    FROM pg_catalog.pg_class JOIN pg_catalog.pg_roles AS r ON r.oid = relowner
    WHERE relnamespace = to_regnamespace('pgreplkit')::oid AND relkind = 'S'
        AND pg_catalog.left(relname, 6) = 'ended_' AND rolsuper
    ORDER BY object
"""
"""What only its owner may drop, and superusers have created: drop() of an applier removes the
sequences, and a node that leaves a mesh the functions."""
ROLE = "SELECT FROM pg_catalog.pg_roles WHERE rolname = %s"


def setup_sql(
    role: str,
    major: int,
    database: str,
    tables: Sequence[TableName],
    *,
    handed_over: Sequence[str] = (),
    triggers: bool = False,
    partitions: Sequence[str] = (),
) -> list[str]:
    """Return the statements by which an administrator lets a role apply changes.

    With ``triggers`` it may create those that record deletions, which are created on the
    ``partitions`` too. It becomes the owner of the objects that are ``handed_over``.
    """
    privileges = "SELECT, INSERT, UPDATE, DELETE, TRUNCATE" + (", TRIGGER" if triggers else "")
    own = quote_identifier(role)
    statements = [
        f"GRANT CREATE ON DATABASE {quote_identifier(database)} TO {own}",
        f"CREATE SCHEMA IF NOT EXISTS pgreplkit AUTHORIZATION {own}",
        # Another role may have created them, as an administrator who has tried the applier.
        *(f"GRANT {grant} TO {own}" for grant in STATE_GRANT.split("; ")),
        *(f"ALTER {one} OWNER TO {own}" for one in handed_over),
    ]
    statements += _origin_rights(own, major, _ORIGIN_FUNCTIONS)
    if has("settings.grantable", major):
        statements.append(f"GRANT SET ON PARAMETER session_replication_role TO {own}")
    else:
        statements.append(
            "CREATE OR REPLACE FUNCTION pgreplkit.use_replica_role() RETURNS text LANGUAGE sql"
            f" SECURITY DEFINER AS 'SELECT pg_catalog.{_REPLICA_ROLE.replace(chr(39), chr(39) * 2)}"
            "'"
        )
        statements += _granted_only(["use_replica_role()"], own)
    for schema in sorted({table.schema for table in tables}):
        statements.append(f"GRANT USAGE ON SCHEMA {quote_identifier(schema)} TO {own}")
    statements += [f"GRANT {privileges} ON {table} TO {own}" for table in sorted(tables)]
    if triggers:
        statements += [f"GRANT TRIGGER ON {partition} TO {own}" for partition in partitions]
    return statements


def _origin_rights(own: str, major: int, functions: Sequence[_Function]) -> list[str]:
    """Return the statements that let a role call the functions.

    Before 14 only superusers can call them, so the role gets functions that do, as their owner.
    """
    calls = [
        f"{name}({', '.join(part.split()[-1] for part in parameters.split(', '))})"
        for name, parameters, _, _ in functions
    ]
    if has("origin.grantable", major):
        return [f"GRANT EXECUTE ON FUNCTION pg_catalog.{call} TO {own}" for call in calls]
    return [*(_wrapper(*function) for function in functions), *_granted_only(calls, own)]


def advance_sql(role: str, major: int) -> list[str]:
    """Return the statements by which an administrator lets a role move origins."""
    return _origin_rights(quote_identifier(role), major, [_ADVANCE])


def publisher_setup_sql(role: str, tables: Sequence[TableName]) -> list[str]:
    """Return the statements by which an administrator lets a role read the changes."""
    own = quote_identifier(role)
    statements = [f"ALTER ROLE {own} REPLICATION"]
    for schema in sorted({table.schema for table in tables}):
        statements.append(f"GRANT USAGE ON SCHEMA {quote_identifier(schema)} TO {own}")
    statements += [f"GRANT SELECT ON {table} TO {own}" for table in sorted(tables)]
    return statements


def _wrapper(name: str, parameters: str, returns: str, is_named: bool) -> str:
    """Return the wrapper of a function for a role that may not call it; only for own origins."""
    arguments = ", ".join(f"${at}" for at in range(1, len(parameters.split(", ")) + 1))
    # The caller's search_path could lead to another operator, which a superuser would execute.
    where = " WHERE $1 OPERATOR(pg_catalog.~) ''^pgreplkit_''" if is_named else ""
    return (
        f"CREATE OR REPLACE FUNCTION pgreplkit.{name}({parameters}) RETURNS {returns}"
        f" LANGUAGE sql SECURITY DEFINER AS 'SELECT pg_catalog.{name}({arguments}){where}'"
    )


def _granted_only(calls: Sequence[str], own: str) -> list[str]:
    statements = []
    for call in calls:
        statements.append(f"REVOKE ALL ON FUNCTION pgreplkit.{call} FROM PUBLIC")
        statements.append(f"GRANT EXECUTE ON FUNCTION pgreplkit.{call} TO {own}")
    return statements


TRY_COLUMN = "EXPLAIN INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE"
TRY_CONSTANT = " VALUES (%s)"
"""Together the statement that fails if a column does not take a value, and changes nothing: the
planner converts it as an INSERT does, to the length and the domain of the column, too."""

# The first copy; {} stand for identifiers and queries.
COPIED = """
    SELECT schema_name AS schema, table_name AS name, lsn FROM pgreplkit.copied WHERE applier = %s
"""
ADD_COPIED = """
    INSERT INTO pgreplkit.copied (applier, schema_name, table_name, lsn) VALUES (%s, %s, %s, %s)
    ON CONFLICT DO NOTHING RETURNING lsn
"""
"""Waits for the session of a killed applier that is still copying the same table."""
SLOT_EXISTS = "SELECT FROM pg_catalog.pg_replication_slots WHERE slot_name = %s"
SLOT_MARK = """
    SELECT restart_lsn AS restart, confirmed_flush_lsn AS confirmed
    FROM pg_catalog.pg_replication_slots WHERE slot_name = %s
"""
SLOT_USER = "SELECT active_pid AS pid FROM pg_catalog.pg_replication_slots WHERE slot_name = %s"
COPY_SLOT = "SELECT pg_catalog.pg_copy_logical_replication_slot(%s, %s, false)"
"""The copy of a temporary slot is permanent."""
DROP_SLOT = """
    SELECT pg_catalog.pg_drop_replication_slot(slot_name)
    FROM pg_catalog.pg_replication_slots WHERE slot_name = %s
"""
TRUNCATE = "TRUNCATE {}"
DELETE_ROWS = "DELETE FROM {}"
STAGE = "CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA"
SELECT_ROWS = "SELECT {} FROM {}{}{}"
COPY_ROWS = "COPY ({}) TO STDOUT {}"
COPY_IN = "COPY {} ({}) FROM STDIN {}"
COPY_EMPTY_IN = "COPY {} FROM STDIN {}"
"""For a table without columns: SQL has no empty list of them."""
BINARY_FORMAT = "(FORMAT binary)"
DELETE_OTHERS = "DELETE FROM {} AS t USING {} AS c WHERE {}"
MERGE = "INSERT INTO {} ({}) {}SELECT {} FROM {} ON CONFLICT {}"
