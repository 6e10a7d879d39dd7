# Generated from pgreplkit/_async/standby.py by `nox -s sync`. Do not edit.
"""Standby: the server that follows another."""

from __future__ import annotations

from pgreplkit._conninfo import upstream_of, without_password
from pgreplkit._sync.server import Server
from pgreplkit.catalog.receivers import RECEIVER, Upstream, WalReceiver
from pgreplkit.catalog.replay import REPLAY, ReplayStatus
from pgreplkit.errors import InsufficientPrivilege, NotAStandby


class Standby(Server):
    """A standby: a server that replays the WAL of another.

    ``connect`` raises NotAStandby on a primary; with a connection of your own, the methods that
    only a standby has raise it when they are called.
    """

    __module__ = "pgreplkit"

    def _insist_on_role(self) -> None:
        if not self.is_in_recovery():
            raise NotAStandby("connect to a standby", "the server is not in recovery")

    def replay_status(self) -> ReplayStatus:
        """What it has received and replayed, how far behind it is, and why.

        Raises: NotAStandby, InsufficientPrivilege.
        Needs: pg_monitor.
        Source: the recovery functions and pg_stat_wal_receiver, in one statement.
        """
        tried = "read the replay status"
        record = self._link.one(tried, REPLAY.sql(self.version.major))
        if record["pause_state"] is None:
            raise NotAStandby(tried, "the server is not in recovery")
        if record["receiver_pid"] is not None and record["receiver_status"] is None:
            raise InsufficientPrivilege(tried, self._link.role, "pg_monitor")
        return REPLAY.read(record)

    def receiver(self) -> WalReceiver | None:
        """Its walreceiver; None when none runs, as when it reads from an archive only.

        Raises: NotAStandby, InsufficientPrivilege.
        Needs: pg_monitor.  Source: pg_stat_wal_receiver.
        """
        tried = "read pg_stat_wal_receiver"
        records = self._link.all(tried, RECEIVER.sql(self.version.major))
        if not self.is_in_recovery():
            raise NotAStandby(tried, "the server is not in recovery")
        for record in records:
            if record["status"] is None:
                raise InsufficientPrivilege(tried, self._link.role, "pg_monitor")
            record["conninfo"] = without_password(record["conninfo"])
            return RECEIVER.read(record)
        return None

    def upstream(self) -> Upstream | None:
        """The server that it receives from; None when no walreceiver runs.

        Raises: NotAStandby, InsufficientPrivilege.
        Needs: pg_monitor.  Source: pg_stat_wal_receiver.
        """
        receiver = self.receiver()
        return None if receiver is None else upstream_of(receiver)
