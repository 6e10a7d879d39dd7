# Generated from pgreplkit/_async/logical/conflictlog.py by `nox -s sync`. Do not edit.
"""The end of a server's log, where it is collected and may be read."""

from __future__ import annotations

from pgreplkit._sync.wire.link import Link
from pgreplkit.catalog.logical.subscription import LOG_TAIL
from pgreplkit.driver.failures import FILE_MISSING
from pgreplkit.errors import LogUnavailable

_TAIL = 1024 * 1024
"""So many bytes are looked through."""


def read_log(link: Link) -> str:
    """The end of the log that the server writes now.

    Raises: LogUnavailable; InsufficientPrivilege.
    """
    tried, grant = "read the server's log", "pg_read_server_files; pg_monitor"
    meaning = {FILE_MISSING: LogUnavailable}
    record = link.one(tried, LOG_TAIL, [_TAIL, _TAIL], grant=grant, meaning=meaning)
    if record["log"] is None:
        raise LogUnavailable(tried, "it collects none as text (logging_collector, log_destination)")
    log: str = record["log"]
    return log
