"""SQL expressions that several rows of a server share."""

from __future__ import annotations

SEGMENT_BYTES = "(SELECT bytes_per_wal_segment FROM pg_control_init())"
MAJOR = "current_setting('server_version_num')::int / 10000"
CURRENT_LSN = """CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
    ELSE pg_current_wal_lsn() END"""
"""The end of the written WAL, on a standby of the replayed WAL."""


def setting_of(name: str) -> str:
    """Return the expression for a setting's text in its unit."""
    return f"(SELECT setting FROM pg_settings WHERE name = '{name}')"
