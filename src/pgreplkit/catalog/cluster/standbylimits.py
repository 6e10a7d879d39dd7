"""The limits of a standby, and the errors in a server's configuration files."""

from __future__ import annotations

LIMITS = """
    SELECT name, setting::bigint AS value, boot_val::bigint AS initial FROM pg_settings
    WHERE name = ANY(%s::text[])
"""
FILE_ERRORS = """
    SELECT pg_catalog.concat_ws(', line ', sourcefile, sourceline) AS place, name, error
    FROM pg_file_settings AS file
    WHERE error IS NOT NULL AND NOT EXISTS (
        SELECT FROM pg_settings AS known
        WHERE pg_catalog.lower(known.name) = pg_catalog.lower(file.name) AND pending_restart)
"""
"""Reading the first view marks the settings that wait for a restart, which it lists too, in this
session: what the statement returns the second time is right."""
HBA_ERRORS = """
    SELECT 'pg_hba.conf, line ' || line_number::text AS place, NULL AS name, error
    FROM pg_hba_file_rules WHERE error IS NOT NULL
"""
