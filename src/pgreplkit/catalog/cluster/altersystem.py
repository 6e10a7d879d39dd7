"""Whether a role may change settings with ALTER SYSTEM, on a server that permits it."""

from __future__ import annotations

ALLOWED = """
    SELECT coalesce(current_setting('allow_alter_system', true), 'on') = 'on' AS is_allowed,
        current_setting('recovery_target_timeline', true) AS target_timeline,
        current_setting('recovery_target_action', true) AS target_action,
        ARRAY(SELECT name || ' = ' || setting FROM pg_settings
            WHERE name = ANY(%s::text[]) AND setting <> '') AS targets,
        ARRAY(SELECT name::text FROM pg_settings WHERE name = ANY(%s::text[])
            AND source IN ('command line', 'environment variable')) AS fixed,
        rolsuper AS is_superuser
    FROM pg_roles WHERE rolname = current_user
"""
"""The first setting exists from 17 on, those of recovery from 12 on."""
PRIVILEGES = """
    SELECT name FROM pg_catalog.unnest(%s::text[]) AS name
    WHERE NOT pg_catalog.has_parameter_privilege(name, 'ALTER SYSTEM')
        OR NOT pg_catalog.has_function_privilege('pg_reload_conf()', 'EXECUTE')
"""
"""From 15 on the right can be granted; before, only superusers have it."""
