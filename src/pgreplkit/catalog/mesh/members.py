"""The table in which each node of a mesh stores all members, and the triggers of a mesh."""

from pgreplkit.catalog.logical.applytables import ASKED

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
CREATE_STREAMS = """
    CREATE TABLE IF NOT EXISTS pgreplkit.mesh_stream (
        slot text PRIMARY KEY, stored pg_lsn NOT NULL
    )
"""
"""The node's own changes that others have stored: one that has less was restored."""
HAS_STREAMS = """
    SELECT CASE WHEN pg_catalog.has_schema_privilege(to_regnamespace('pgreplkit')::oid, 'USAGE')
        THEN
        coalesce(pg_catalog.has_table_privilege(
            pg_catalog.to_regclass('pgreplkit.mesh_stream')::oid, 'SELECT'), false)
        ELSE false END AS has_streams
"""
"""Also asked by appliers that belong to no mesh, whose role may not use the schema there."""
STREAM = "SELECT stored FROM pgreplkit.mesh_stream WHERE slot = %s"
ADD_STREAM = """
    INSERT INTO pgreplkit.mesh_stream (slot, stored) VALUES (%s, %s)
    ON CONFLICT (slot) DO UPDATE SET stored = EXCLUDED.stored RETURNING slot
"""
NOTE_STREAM = "UPDATE pgreplkit.mesh_stream SET stored = %s WHERE slot = %s RETURNING slot"
DROP_STREAM = "DELETE FROM pgreplkit.mesh_stream WHERE slot = %s RETURNING slot"
CREATE_POLICIES = """
    CREATE TABLE IF NOT EXISTS pgreplkit.mesh_policy (mesh text PRIMARY KEY, policy text NOT NULL)
"""
HAS_MEMBERS = """
    SELECT pg_catalog.to_regclass('pgreplkit.mesh_node') IS NOT NULL AS has_members,
        pg_catalog.to_regclass('pgreplkit.mesh_policy') IS NOT NULL AS has_policies
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
    SELECT coalesce(bool_and(pg_catalog.pg_has_role(%s::name, relowner, 'USAGE')), false)
        AS owns_all {ASKED}
"""
"""Only the owner of a table may publish it."""
SEQUENCES = f"""
    WITH asked AS (SELECT c.oid {ASKED}), used (oid) AS (
        SELECT objid FROM pg_catalog.pg_depend JOIN asked ON refobjid = asked.oid
        WHERE classid = 'pg_catalog.pg_class'::regclass::oid AND deptype IN ('a', 'i')
            AND refclassid = 'pg_catalog.pg_class'::regclass::oid AND refobjsubid > 0
        UNION
        SELECT refobjid FROM pg_catalog.pg_depend
        JOIN pg_catalog.pg_attrdef AS d ON d.oid = objid JOIN asked ON adrelid = asked.oid
        WHERE classid = 'pg_catalog.pg_attrdef'::regclass::oid
            AND refclassid = 'pg_catalog.pg_class'::regclass::oid
    )
    SELECT nspname AS schema, relname AS name,
        pg_catalog.has_sequence_privilege(s.oid, 'SELECT') AS is_readable
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

TABLES = """
    SELECT n.nspname AS schema, c.relname AS name
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = ANY (%s) AND c.relpersistence = 'p' AND NOT c.relispartition
        AND c.relkind IN ('r', 'p')
"""
OWN_SLOTS = """
    SELECT slot_name::text AS name, active FROM pg_catalog.pg_replication_slots
    WHERE slot_name = ANY (%s::text[]) AND database = current_database()
    ORDER BY 1
"""
CONFLICTS = """
    SELECT (SELECT count(*) FROM pgreplkit.conflict WHERE applier = %s) AS conflicts,
        (SELECT count(*) FROM pgreplkit.parked WHERE applier = %s) AS parked
"""
