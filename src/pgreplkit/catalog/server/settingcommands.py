"""Statements that read and change single settings; ``settings`` has their rows."""

from __future__ import annotations

CURRENT_SETTING = "SELECT current_setting(%s::text)"
ONE_TEXT = "SELECT setting, source FROM pg_settings WHERE name = %s::text"
READ_ONLY = """
    SELECT pg_is_in_recovery() AS in_recovery, setting = 'on' AS by_default, source
    FROM pg_settings WHERE name = 'default_transaction_read_only'
"""
ENGLISH_MESSAGES = """
    SELECT set_config('lc_messages', 'C', false) AS messages
    WHERE current_setting('lc_messages') !~ '^(C|POSIX|en_.*)$'
"""
SYNC_STANDBY_NAMES = "synchronous_standby_names"
RELOAD = "SELECT pg_reload_conf()"
STATEMENT_TIMEOUT = "SELECT setting::bigint AS ms FROM pg_settings WHERE name = 'statement_timeout'"
LIMIT_TRANSACTION = """
    SELECT ms, set_config('statement_timeout', least(%s, nullif(ms, 0))::text, true)
    -- Shown with a unit. pg_settings has milliseconds, but computes a row for each setting.
    FROM (SELECT (1000::float8
        * extract(epoch FROM current_setting('statement_timeout')::interval)::float8)::bigint
        AS ms OFFSET 0) AS before
"""
"""Limits the statements of the current transaction, unless their limit is lower; 0 is none."""
HOW_NAMES_ARE_WRITTEN = """
    SELECT current_setting('search_path') AS path,
        current_setting('quote_all_identifiers') AS quotes_all
"""
WRITE_NAMES = """
    SELECT set_config('search_path', %s::text, true),
        set_config('quote_all_identifiers', %s::text, true)
"""
SET_STATEMENT_TIMEOUT = "SELECT set_config('statement_timeout', %s::text, true)"
SET_SESSION_TIMEOUT = "SELECT set_config('statement_timeout', %s::text, false)"
# Statements that change settings; {} stand for a name and a value.
ALTER_SYSTEM = "ALTER SYSTEM SET {} = {}"
MAY_ALTER_SYSTEM = "SELECT pg_catalog.has_parameter_privilege(%s, 'ALTER SYSTEM') AS is_allowed"
"""From 15 on the right can be granted."""
SET = "SET {} = {}"
LIMIT_STATEMENTS = "SET statement_timeout = {}"
