"""The lock of an upgrade on its servers, which one process at a time has."""

LOCK = "SELECT pg_try_advisory_lock(1885697651, hashtext(%s)) AS is_locked"
LOCKED_BY = """
    SELECT pid, host(client_addr) AS client_addr, application_name
    FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND classid = 1885697651 AND objsubid = 2 AND granted
        AND objid = hashtext(%s)::bit(32)::bigint
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
HOLDER = ("pid", "client_addr", "application_name")
KEEPALIVE = """
    SELECT set_config('tcp_keepalives_idle', '10', false),
        set_config('tcp_keepalives_interval', '10', false),
        set_config('tcp_keepalives_count', '3', false)
"""
"""The server ends the session half a minute after the machine of its client was lost, and not two
hours after it."""
ANSWERS = "SELECT true AS is_so"
