"""WalPosition: the WAL positions of a primary."""

import attrs

from pgreplkit.catalog.view import View, column
from pgreplkit.values.lsn import LSN
from pgreplkit.values.record import Record


@attrs.frozen(kw_only=True)
class WalPosition(Record):
    """The positions up to which a primary has inserted, written and flushed its WAL."""

    # Read from the last to the first, so that a busy server cannot show flush ahead of insert.
    flush: LSN = attrs.field(metadata=column(sql="pg_current_wal_flush_lsn()"))
    """The end of the WAL on disk."""
    write: LSN = attrs.field(metadata=column(sql="pg_current_wal_lsn()"))
    """The end of the WAL that was passed to the operating system."""
    insert: LSN = attrs.field(metadata=column(sql="pg_current_wal_insert_lsn()"))
    """The end of the last inserted record."""


POSITION = View(WalPosition, "(SELECT) AS one")
SWITCH_WAL = "SELECT pg_switch_wal() AS lsn"

WRITE_MARKER = """
    SELECT set_config('synchronous_commit', 'local', true),
        pg_logical_emit_message(true, 'pgreplkit', 'marker')::text AS lsn
"""
"""Commits a message. Asynchronous commits before it are flushed with it; no standby is awaited."""
IS_ASYNCHRONOUS = "SELECT current_setting('synchronous_commit') = 'off' AS is_so"
"""Whether a commit of the session returns before it is flushed."""
FLUSHED = "SELECT pg_current_wal_flush_lsn() AS lsn"
