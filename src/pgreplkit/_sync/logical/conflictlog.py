# Generated from pgreplkit/_async/logical/conflictlog.py by `nox -s sync`. Do not edit.
"""Read the end of a server's log."""

from __future__ import annotations

from pgreplkit._sync.wire.link import Link
from pgreplkit.catalog.logical.subscription import LOG_TAIL
from pgreplkit.driver.failures import FILE_MISSING
from pgreplkit.errors import LogUnavailable
from pgreplkit.plans.logical.serverlog import is_understood

_TAIL = 1024 * 1024
"""Bytes to read: enough for thousands of entries, and quick to transfer and to search."""


def read_log(link: Link) -> str:
    """Return the end of the server's current log file.

    Raises: LogUnavailable; InsufficientPrivilege.
    """
    operation, grant = "read the server's log", "pg_read_server_files; pg_monitor"
    meaning = {FILE_MISSING: LogUnavailable}
    record = link.one(operation, LOG_TAIL, [_TAIL, _TAIL], grant=grant, meaning=meaning)
    if record["log"] is None:
        raise LogUnavailable(
            operation,
            "the server collects no text log; set logging_collector and log_destination",
        )
    # Labels of log lines are translated; without them an entry and its context look alike.
    if not is_understood(record["language"]):
        raise LogUnavailable(
            operation,
            f"its language ({record['language']}) is unknown here; set lc_messages to C",
        )
    # Each database writes in its own encoding, and the first character may be cut.
    log: bytes = record["log"]
    return log.decode(errors="backslashreplace")
