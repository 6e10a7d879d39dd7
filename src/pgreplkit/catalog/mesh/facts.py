"""The state of a server that is, or becomes, a node of a mesh."""

from pgreplkit.catalog.logical.applytables import ASKED, PARTITIONS
from pgreplkit.catalog.logical.replicaidentity import NOT_FULL

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
TRAITS = f"""
    SELECT n.nspname AS schema, c.relname AS name,
        {NOT_FULL},
        EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = c.oid AND attnum > 0
            AND NOT attisdropped AND attstorage IN ('x', 'e')) AS has_large,
        ARRAY(SELECT attname::text FROM pg_catalog.pg_attribute
            WHERE attrelid = c.oid AND NOT attisdropped
            AND pg_catalog.to_jsonb(pg_attribute)->>'attgenerated'::text = 'v') AS virtual,
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
