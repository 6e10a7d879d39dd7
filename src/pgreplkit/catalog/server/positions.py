"""WalPosition: how far a primary has come."""

from __future__ import annotations

import attrs

from pgreplkit.catalog.view import View, column
from pgreplkit.values.lsn import LSN


@attrs.frozen(kw_only=True)
class WalPosition:
    """How far a primary's WAL is made, given to the operating system, and safe on disk."""

    # Read from the last to the first, so that a busy server cannot show flush ahead of insert.
    flush: LSN = attrs.field(metadata=column(sql="pg_current_wal_flush_lsn()"))
    """Up to here the WAL is on disk."""
    write: LSN = attrs.field(metadata=column(sql="pg_current_wal_lsn()"))
    """Up to here it is written; walsenders send up to ``flush``."""
    insert: LSN = attrs.field(metadata=column(sql="pg_current_wal_insert_lsn()"))
    """The end of the last record made."""


POSITION = View(WalPosition, "(SELECT) AS one")
SWITCH_WAL = "SELECT pg_switch_wal() AS lsn"

WRITE_MARKER = """
    SELECT set_config('synchronous_commit', 'local', true),
        pg_logical_emit_message(true, 'pgreplkit', 'fence')::text AS lsn
"""
"""A commit that waits for the disk and for no standby, and takes with it what is not flushed."""
FLUSHED = "SELECT pg_current_wal_flush_lsn() AS lsn"
