# Generated from pgreplkit/_async/primary.py by `nox -s sync`. Do not edit.
"""Primary: the server that writes."""

from __future__ import annotations

from pgreplkit._failures import NOT_IN_PREREQUISITE_STATE
from pgreplkit._sync.server import Server
from pgreplkit.catalog.positions import POSITION, SWITCH_WAL, WalPosition
from pgreplkit.catalog.waldir import CURRENT_WAL_FILE, WAL_FILE, wal_file_in
from pgreplkit.errors import NotAPrimary
from pgreplkit.values.lsn import LSN
from pgreplkit.values.walfile import WalFileName

_ROLE = {NOT_IN_PREREQUISITE_STATE: NotAPrimary}
"""What the functions of a primary raise in recovery."""


class Primary(Server):
    """A primary: a server that writes WAL.

    ``connect`` raises NotAPrimary on a standby; with a connection of your own, the methods that
    only a primary has raise it when they are called.
    """

    __module__ = "pgreplkit"

    def _insist_on_role(self) -> None:
        if self.is_in_recovery():
            raise NotAPrimary("connect to a primary", "the server is in recovery")

    def wal_position(self) -> WalPosition:
        """How far its WAL is made, written, and flushed to disk.

        Raises: NotAPrimary.
        Source: pg_current_wal_insert_lsn(), pg_current_wal_lsn(), pg_current_wal_flush_lsn().
        """
        sql = POSITION.sql(self.version.major)
        return POSITION.read(self._link.one("ask for the WAL position", sql, meaning=_ROLE))

    def current_wal_file(self) -> WalFileName:
        """The file that it writes, as it names it itself.

        With the position just on a segment's boundary, a server before 17 still names the file
        that ends there.

        Raises: NotAPrimary.  Source: pg_walfile_name(pg_current_wal_lsn()).
        """
        record = self._link.one("ask for the current WAL file", CURRENT_WAL_FILE, meaning=_ROLE)
        return wal_file_in(record)

    def wal_file(self, lsn: LSN) -> WalFileName:
        """The file that the server names for ``lsn``, on its current timeline.

        On a segment's boundary a server before 17 names the file that ends there, from 17 on the
        file that starts there. ``lsn.wal_file(timeline=…)`` says the latter always.

        Raises: NotAPrimary.  Source: pg_walfile_name().
        """
        if not isinstance(lsn, LSN):
            raise TypeError(f"a WAL file is asked for an LSN, not for {type(lsn).__name__}")
        tried = f"ask for the WAL file of {lsn}"
        record = self._link.one(tried, WAL_FILE, [lsn], meaning=_ROLE)
        return wal_file_in(record)

    def switch_wal(self) -> LSN:
        """End the current WAL file, so that it can be archived, and go on in the next.

        Gives the position after the last record of the ended file. Nothing happens, and that
        position is the current one, when nothing was written since the last switch.

        Raises: NotAPrimary, InsufficientPrivilege.
        Needs: EXECUTE on pg_switch_wal(), which superusers have.  Source: pg_switch_wal().
        """
        grant = "EXECUTE ON FUNCTION pg_switch_wal()"
        record = self._link.one("switch to a new WAL file", SWITCH_WAL, grant=grant, meaning=_ROLE)
        lsn: LSN = record["lsn"]
        return lsn
