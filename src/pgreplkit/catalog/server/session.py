"""Settings of a session that reads values: texts that read back exactly, and no time limits."""

from __future__ import annotations

EXACT_TEXTS = "SET datestyle = 'ISO'; SET intervalstyle = 'postgres'; SET extra_float_digits = 3"
"""The settings by which psycopg's loaders read the texts of values without loss."""
IN_BYTES = "SET client_encoding = 'SQL_ASCII'"
"""For a database without an encoding: its texts are bytes, of whatever encoding."""
OWN_PROCESS = "SELECT pg_backend_pid() AS pid"
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


def without_timeouts(major: int) -> str:
    """Return the statements that switch off every time limit of a session, as pg_dump does.

    A role or a database may have limits that suit short queries, and would end a copy.
    """
    names = [name for name, since in TIMEOUTS.items() if major >= since]
    return "; ".join(f"SET {name} = 0" for name in names)
