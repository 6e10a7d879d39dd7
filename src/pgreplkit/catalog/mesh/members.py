"""The table in which each node of a mesh stores all members, and the triggers of a mesh."""

from pgreplkit.catalog.logical.applytables import ASKED, PARTITIONS
from pgreplkit.catalog.logical.replicaidentity import NOT_FULL

CREATE_MEMBERS = """
    CREATE TABLE IF NOT EXISTS pgreplkit.mesh_node (
        mesh text NOT NULL,
        node text NOT NULL,
        rank int NOT NULL,
        state text NOT NULL,
        ties text NOT NULL,
        horizon timestamptz,
        PRIMARY KEY (mesh, node),
        UNIQUE (mesh, rank)
    )
"""
"""``horizon`` is earlier than each commit that a joining node will get from another one."""
CREATE_POLICIES = """
    CREATE TABLE IF NOT EXISTS pgreplkit.mesh_policy (mesh text PRIMARY KEY, policy text NOT NULL)
"""
HAS_MEMBERS = """
    SELECT to_regclass('pgreplkit.mesh_node') IS NOT NULL AS has_members,
        to_regclass('pgreplkit.mesh_policy') IS NOT NULL AS has_policies
"""
MEMBERS = """
    SELECT node, rank, state, ties FROM pgreplkit.mesh_node WHERE mesh = %s ORDER BY rank
"""
POLICY = "SELECT policy FROM pgreplkit.mesh_policy WHERE mesh = %s"
SET_POLICY = """
    INSERT INTO pgreplkit.mesh_policy (mesh, policy) VALUES (%s, %s)
    ON CONFLICT (mesh) DO UPDATE SET policy = EXCLUDED.policy RETURNING policy
"""
DROP_POLICY = "DELETE FROM pgreplkit.mesh_policy WHERE mesh = %s RETURNING policy"
OTHER_MESHES = f"""
    WITH RECURSIVE asked AS (SELECT c.oid {ASKED}), taken AS (
        SELECT mesh, c.oid, n.nspname AS schema, c.relname AS name
        FROM (SELECT DISTINCT mesh FROM pgreplkit.mesh_node
            WHERE mesh <> %s AND state <> 'left') AS other
        JOIN pg_catalog.pg_publication_tables ON pubname = %s || mesh
        JOIN pg_catalog.pg_namespace AS n ON n.nspname = schemaname
        JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = tablename
    ), above (own, oid) AS (
        SELECT oid, oid FROM (SELECT oid FROM asked UNION SELECT oid FROM taken) AS own
        UNION SELECT own, inhparent FROM above
            JOIN pg_catalog.pg_inherits ON inhrelid = above.oid
    )
    SELECT DISTINCT mesh, schema, name FROM taken JOIN asked
        ON (asked.oid, taken.oid) IN (SELECT own, oid FROM above)
            OR (taken.oid, asked.oid) IN (SELECT own, oid FROM above)
    ORDER BY 1, 2, 3
"""
"""Tables of other meshes that share rows with some tables: they are the same, or partitions."""
REMOVE_OTHERS = (
    "DELETE FROM pgreplkit.mesh_node WHERE mesh = %s AND node <> ALL (%s) RETURNING node"
)
SET_MEMBER = """
    INSERT INTO pgreplkit.mesh_node (mesh, node, rank, state, ties) VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (mesh, node) DO UPDATE
        SET rank = EXCLUDED.rank, state = EXCLUDED.state, ties = EXCLUDED.ties
    RETURNING node
"""
LOWER_HORIZON = """
    UPDATE pgreplkit.mesh_node SET horizon = least(horizon, %s) WHERE mesh = %s AND node = %s
    RETURNING horizon
"""
HORIZON = "SELECT horizon FROM pgreplkit.mesh_node WHERE mesh = %s AND node = %s"
MARK = "SELECT clock_timestamp() AS now, pg_current_wal_insert_lsn() AS lsn"
"""The time is read first: each commit before it is in the WAL up to the position."""

NO_WRITE = """
    CREATE OR REPLACE FUNCTION {} RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'this node leaves the mesh: it takes no writes to %',
            TG_RELID::regclass USING ERRCODE = 'object_not_in_prerequisite_state';
    END $$
"""
"""One for each table: only the owner of a table may drop a trigger, other than with its function.

An ordinary trigger does not fire for the changes of other nodes."""
REFUSE_WRITES = """
    CREATE TRIGGER pgreplkit_no_write BEFORE INSERT OR UPDATE OR DELETE ON {}
    FOR EACH {} EXECUTE PROCEDURE {}
"""
ALLOW_WRITES = "DROP FUNCTION IF EXISTS {} CASCADE"


def no_write_function(oid: int) -> str:
    """Return the signature of the function that refuses the writes to a table."""
    return f"pgreplkit.no_write_{oid}()"


CREATE_PUBLICATION = "CREATE PUBLICATION {} FOR TABLE {} WITH ({})"
PUBLISHES = "publish = 'insert, update, delete'"
VIA_ROOT = ", publish_via_partition_root = true"
GENERATED = ", publish_generated_columns = stored"
"""From 18 on, where a table with FULL cannot be updated if one of its columns is not published."""
DROP_PUBLICATION = "DROP PUBLICATION IF EXISTS {}"
GIVE_PUBLICATION = "ALTER PUBLICATION {} OWNER TO {}"
PUBLICATION_OWNER = """
    SELECT rolsuper AS is_of_superuser
    FROM pg_catalog.pg_publication JOIN pg_catalog.pg_roles AS r ON r.oid = pubowner
    WHERE pubname = %s
"""
HAS_PUBLICATION = "SELECT FROM pg_catalog.pg_publication WHERE pubname = %s"

OWNS_TABLES = f"""
    SELECT coalesce(bool_and(pg_has_role(%s::name, relowner, 'USAGE')), false) AS owns_all {ASKED}
"""
"""Only the owner of a table may publish it."""
SEQUENCES = f"""
    WITH asked AS (SELECT c.oid {ASKED}), used (oid) AS (
        SELECT objid FROM pg_catalog.pg_depend JOIN asked ON refobjid = asked.oid
        WHERE classid = 'pg_catalog.pg_class'::regclass AND deptype IN ('a', 'i')
            AND refclassid = 'pg_catalog.pg_class'::regclass AND refobjsubid > 0
        UNION
        SELECT refobjid FROM pg_catalog.pg_depend
        JOIN pg_catalog.pg_attrdef AS d ON d.oid = objid JOIN asked ON adrelid = asked.oid
        WHERE classid = 'pg_catalog.pg_attrdef'::regclass
            AND refclassid = 'pg_catalog.pg_class'::regclass
    )
    SELECT nspname AS schema, relname AS name,
        has_sequence_privilege(s.oid, 'SELECT') AS is_readable
    FROM used JOIN pg_catalog.pg_class AS s ON s.oid = used.oid
    JOIN pg_catalog.pg_namespace AS sn ON sn.oid = relnamespace
    WHERE relkind = 'S'
    ORDER BY 1, 2
"""
"""The sequences that columns of tables own, and those that their defaults draw from."""
ADVANCE_ORIGIN = "SELECT {}.pg_replication_origin_advance(%s, %s)"
SLOT_POSITION = """
    SELECT confirmed_flush_lsn AS lsn FROM pg_catalog.pg_replication_slots WHERE slot_name = %s
"""
"""A logical slot sends everything that is committed after this position."""

# The rows of the donor, and where they are put; {} stand for columns, tables and times.
XACT_STAMP = "SELECT {}.pg_replication_origin_xact_setup('0/0', %s)"
"""Without a position: where the stream starts was stored before."""
OLD_ROWS = """
    SELECT {} FROM {}{} AS t WHERE coalesce(pg_catalog.pg_xact_commit_timestamp(t.xmin) <= {}, true)
"""
YOUNG_ROWS = """
    SELECT pg_catalog.pg_xact_commit_timestamp(t.xmin), ROW({}) FROM {}{} AS t
    WHERE pg_catalog.pg_xact_commit_timestamp(t.xmin) > {} AND {}
"""
YOUNG_TOMBSTONES = """
    SELECT pg_catalog.pg_xact_commit_timestamp(t.xmin), nspname, relname, key, is_late
    FROM pgreplkit.tombstone AS t JOIN pg_catalog.pg_class AS c ON c.oid = t.relation
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE pg_catalog.pg_xact_commit_timestamp(t.xmin) > {} AND {}
"""
ANY_ORIGIN = "true"
_ORIGIN = """(
    SELECT o.roname FROM pg_catalog.pg_xact_commit_timestamp_origin(t.xmin) AS x
    LEFT JOIN pg_catalog.pg_replication_origin AS o ON o.roident = x.roident
)"""
IS_OF_ORIGIN = _ORIGIN + " = {}"
IS_OF_NO_ORIGIN = f"coalesce({_ORIGIN} <> ALL ({{}}), true)"
CREATE_ROW_TYPE = "CREATE TEMP TABLE pgreplkit_row AS SELECT {} FROM {} WITH NO DATA"
STAGE_ROWS = """
    CREATE TEMP TABLE pgreplkit_young
        (pgreplkit_at timestamptz, pgreplkit_row pg_temp.pgreplkit_row)
"""
"""One column for the whole row: a table has at most 1600 columns, so that no other may be added."""
STAGE_TOMBSTONES = """
    CREATE TEMP TABLE pgreplkit_young
        (pgreplkit_at timestamptz, schema text, name text, key jsonb, is_late boolean)
"""
COPY_STAGED = "COPY pg_temp.pgreplkit_young FROM STDIN"
STAGED_TIMES = "SELECT DISTINCT pgreplkit_at AS at FROM pg_temp.pgreplkit_young ORDER BY 1"
TAKE_ROWS = """
    INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE
    SELECT (pgreplkit_row).* FROM pg_temp.pgreplkit_young WHERE pgreplkit_at = {}
"""
TAKE_TOMBSTONES = """
    INSERT INTO pgreplkit.tombstone (relation, key, is_late)
    SELECT relation, key, is_late FROM pg_temp.pgreplkit_young,
        to_regclass(quote_ident(schema) || '.' || quote_ident(name)) AS relation
    WHERE pgreplkit_at = {} AND relation IS NOT NULL
    ON CONFLICT DO NOTHING
"""
POSITIONS = """
    SELECT name, position FROM pgreplkit.progress WHERE position > '0/0' AND name = ANY (%s)
"""
"""The positions that belong to the rows of the same snapshot, with delta columns."""
STAMPED_TABLES = """
    SELECT nspname AS schema, relname AS name FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.oid IN (SELECT relation FROM pgreplkit.stamp)
"""
STAMPS = """
    SELECT s.key, s.at, s.rank FROM pgreplkit.stamp AS s JOIN {}{} AS t
        ON s.relation = {}::regclass AND s.key = {} AND s.xid = t.xmin
"""
STAGE_STAMPS = "CREATE TEMP TABLE pgreplkit_young (key jsonb, at timestamptz, rank int)"
TAKE_STAMPS = """
    INSERT INTO pgreplkit.stamp (relation, key, xid, at, rank)
    SELECT {}::regclass, s.key, t.xmin, s.at, s.rank
    FROM pg_temp.pgreplkit_young AS s JOIN {}{} AS t ON s.key = {}
    ON CONFLICT (relation, key) DO UPDATE
        SET xid = EXCLUDED.xid, at = EXCLUDED.at, rank = EXCLUDED.rank
"""
INDEX_STAGED = "CREATE INDEX ON pg_temp.pgreplkit_young (pgreplkit_at)"
DROP_STAGED = "DROP TABLE pg_temp.pgreplkit_young"
DROP_ROW_TYPE = "DROP TABLE pg_temp.pgreplkit_row"
REMOVE_TOMBSTONES = (
    "DELETE FROM pgreplkit.tombstone WHERE relation = ANY (%s::regclass[]) RETURNING relation"
)

TABLES = """
    SELECT n.nspname AS schema, c.relname AS name
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = ANY (%s) AND c.relpersistence = 'p' AND NOT c.relispartition
        AND c.relkind IN ('r', 'p')
"""
NODE = """
    SELECT system_identifier::text AS system_id,
        pg_catalog.pg_postmaster_start_time() AS started_at, current_database() AS database,
        pg_is_in_recovery() AS in_recovery,
        current_setting('server_encoding') AS encoding, clock_timestamp() AS clock,
        (SELECT count(*) FROM pg_catalog.pg_replication_slots) AS slots,
        (SELECT count(*) FROM pg_catalog.pg_stat_replication) AS senders,
        (SELECT count(*) FROM pg_catalog.pg_replication_origin) AS origins
    FROM pg_catalog.pg_control_system()
"""
FOREIGN_SLOTS = """
    SELECT slot_name AS name FROM pg_catalog.pg_replication_slots
    WHERE slot_name = ANY (%s::text[]) AND database IS DISTINCT FROM current_database()
    ORDER BY 1
"""
"""Slots have a database, but their names are those of the whole server, as origins are."""
OWN_SLOTS = """
    SELECT slot_name::text AS name, active FROM pg_catalog.pg_replication_slots
    WHERE slot_name = ANY (%s::text[]) AND database = current_database()
    ORDER BY 1
"""
CONFLICTS = """
    SELECT (SELECT count(*) FROM pgreplkit.conflict WHERE applier = %s) AS conflicts,
        (SELECT count(*) FROM pgreplkit.parked WHERE applier = %s) AS parked
"""
TRAITS = f"""
    SELECT n.nspname AS schema, c.relname AS name,
        {NOT_FULL},
        EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = c.oid AND attnum > 0
            AND NOT attisdropped AND attstorage IN ('x', 'e')) AS has_large,
        ARRAY(SELECT attname::text FROM pg_catalog.pg_attribute
            WHERE attrelid = c.oid AND NOT attisdropped
            AND to_jsonb(pg_attribute)->>'attgenerated' = 'v') AS virtual,
        EXISTS (SELECT FROM pg_catalog.pg_constraint
            WHERE contype = 'f' AND c.oid IN (conrelid, confrelid)) AS has_foreign_keys,
        ARRAY(WITH RECURSIVE child (oid) AS (
            SELECT inhrelid FROM pg_catalog.pg_inherits WHERE inhparent = c.oid AND c.relkind = 'r'
            UNION SELECT inhrelid FROM child JOIN pg_catalog.pg_inherits ON inhparent = child.oid
        ) SELECT ARRAY[pn.nspname, p.relname]::text[]
            FROM child JOIN pg_catalog.pg_class AS p ON p.oid = child.oid
            JOIN pg_catalog.pg_namespace AS pn ON pn.oid = p.relnamespace
            ORDER BY 1) AS children,
        ARRAY(SELECT DISTINCT tgname::text FROM pg_catalog.pg_trigger
            WHERE NOT tgisinternal AND tgenabled IN ('A', 'R')
                AND (tgrelid = c.oid OR tgrelid IN (SELECT oid FROM ({PARTITIONS}) AS part))
            ORDER BY 1) AS firing
    {ASKED}
"""
"""A large value that an update did not change is sent with the full replica identity only."""
