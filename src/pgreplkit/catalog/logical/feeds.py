"""The query of a feed to its source before it begins."""

START = """
    SELECT pg_is_in_recovery() AS is_standby, current_database() AS database,
        slot_name IS NOT NULL AS has_slot, confirmed_flush_lsn AS confirmed,
        plugin::text AS plugin, database::text AS slot_database, active_pid,
        coalesce((pg_catalog.to_jsonb(s) ->> 'two_phase'::text)::bool, false) AS is_two_phase,
        pg_catalog.to_jsonb(s) ->> 'wal_status'::text AS wal_status,
        pg_catalog.to_jsonb(s) ->> 'invalidation_reason'::text AS invalidation_reason
    FROM (SELECT %s::name AS wanted) AS w
        LEFT JOIN pg_replication_slots AS s ON slot_name = wanted
"""
"""Columns that the version lacks are NULL: wal_status before 13, invalidation_reason before 17;
two_phase, before 14, is false."""
LOCK = "SELECT pg_try_advisory_lock(1885697652, hashtext(%s)) AS is_locked"
"""Held while a feed creates its slot: only a slot that is streamed keeps others away by itself."""
LOCKED_BY = """
    SELECT pid, host(client_addr) AS client_addr, application_name
    FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND classid = 1885697652 AND objsubid = 2 AND granted
        AND objid = hashtext(%s)::bit(32)::bigint
"""
