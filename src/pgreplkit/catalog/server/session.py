"""Settings of the sessions that this library opens, whatever roles and databases have."""

from __future__ import annotations

IN_BYTES = "SET client_encoding = 'SQL_ASCII'"
"""For a database without an encoding: its texts are bytes, of whatever encoding."""
OWN_PROCESS = "SELECT pg_catalog.pg_backend_pid() AS pid"
"""The process of the session that executes the statement."""
IS_WORKING = """
    SELECT coalesce(wait_event NOT IN ('ClientRead', 'ClientWrite'), true) AS is_working
    FROM pg_stat_activity WHERE pid = %s
"""
"""Whether a process works, or waits for anything but its client.

Its state does not say so: within a statement that has not arrived as a whole, it is active."""
TIMEOUTS = {
    "statement_timeout": 10,
    "lock_timeout": 10,
    "idle_in_transaction_session_timeout": 10,
    "idle_session_timeout": 14,
    "transaction_timeout": 17,
}
"""The time limits of a session, each with the first major version that has it."""
_SETTINGS = {
    # By these, psycopg's loaders read the texts of values without loss.
    "datestyle": "ISO",
    "intervalstyle": "postgres",
    "extra_float_digits": "3",
    # Serializable transactions fail on a standby, or at their commit; deferrable ones wait for
    # writers.
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    # The literals of our statements are written for it.
    "standard_conforming_strings": "on",
    # Many errors are expected, and decide what is done next.
    "exit_on_error": "off",
}


def own_settings(major: int) -> str:
    """Return the statements for the settings of a session that this library opens.

    A role, a database or a server may have others, which suit its clients. As in pg_dump, time
    limits are off: a session may be idle for hours, copy for as long, or wait for a lock.
    """
    limits = {name: "0" for name, since in TIMEOUTS.items() if major >= since}
    # The limits first: they hold for the other statements, too.
    settings = {**limits, **_SETTINGS}
    return "; ".join(f"SET {name} = '{value}'" for name, value in settings.items())
