# Generated from pgreplkit/_async/server.py by `nox -s sync`. Do not edit.
"""Server: what a primary and a standby have in common."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from packaging.version import Version
from psycopg import Connection, Cursor
from psycopg.pq import TransactionStatus
from psycopg.rows import DictRow, dict_row

from pgreplkit._adapters import register
from pgreplkit._conninfo import address, complete
from pgreplkit._failures import telling
from pgreplkit.catalog import identity
from pgreplkit.catalog.checkpoints import CHECKPOINT, CheckpointStatus
from pgreplkit.catalog.senders import SENDERS, WalSender
from pgreplkit.catalog.settings import CURRENT_SETTING, ONE_SETTING, SETTINGS, Setting
from pgreplkit.catalog.waldir import WAL_FILES, WalFile, wal_file_in
from pgreplkit.errors import (
    ConnectionFailed,
    InsufficientPrivilege,
    ServerError,
    SettingNotFound,
)
from pgreplkit.values.identity import SystemIdentity
from pgreplkit.values.segment import SegmentSize
from pgreplkit.values.version import server_version


class Server:
    """A server of either role, bound to a psycopg connection.

    Open one with ``connect``, or give a connection of your own: that one is never closed, its
    settings stay as they are, and an open transaction on it stays open.

    As a context manager it closes the connection at the end if ``connect`` opened it.
    """

    __module__ = "pgreplkit"

    def __init__(self, connection: Connection[object]) -> None:
        self._connection = connection
        self._opened_here = False

    @classmethod
    def connect(cls, conninfo: str = "", **params: str | int | None) -> Self:
        """Open a connection of its own, in autocommit, and bind to it.

        ``conninfo`` is libpq's (``key=value`` or a URI); ``params`` add to it, such as ``host=``
        or ``connect_timeout=`` (seconds; 10 unless told).

        Raises: ConnectionFailed; NotAPrimary from Primary and NotAStandby from Standby when the
        server has the other role.
        """
        whole = complete(conninfo, params)
        with telling(f"connect to {address(whole)}"):
            server = cls(Connection.connect(whole, autocommit=True))
        server._opened_here = True
        register(server._connection)
        try:
            server._insist_on_role()
        except BaseException:
            server.close()
            raise
        return server

    def _insist_on_role(self) -> None:
        """Raise if the server has another role than the class; this one is of either role."""

    @classmethod
    def _taking_over(cls, server: Server) -> Self:
        """The same connection under another role; whether it is closed at the end goes with it."""
        taken = cls(server._connection)
        taken._opened_here = server._opened_here
        return taken

    @property
    def connection(self) -> Connection[object]:
        """The psycopg connection."""
        return self._connection

    @property
    def version(self) -> Version:
        """The server's version, as in ``Version('18.4')``.

        Raises: ConnectionFailed when the connection is closed.
        """
        tried = "ask the server's version"
        with telling(tried):
            number = self._connection.info.server_version
        if not number:  # what libpq says of a connection that was lost
            raise ConnectionFailed(tried, "the connection is lost")
        return server_version(number)

    def close(self) -> None:
        """Close the connection if ``connect`` opened it; leave it open if it was given."""
        if self._opened_here:
            self._connection.close()

    def is_in_recovery(self) -> bool:
        """Whether it is a standby now.

        Source: pg_is_in_recovery().
        """
        record = self._one("ask for the role", identity.IN_RECOVERY)
        in_recovery: bool = record["in_recovery"]
        return in_recovery

    def identity(self) -> SystemIdentity:
        """Which cluster it belongs to, its timeline, its position, and the connection's database.

        The position is what is flushed on a primary, and what is received on a standby.

        Source: pg_control_system() and the functions of the position.
        """
        record = self._one("ask for the identity", identity.IDENTITY)
        # The server's identifier has 64 bits; SQL shows them as a signed number.
        return SystemIdentity(**record | {"system_id": record["system_id"] % (1 << 64)})

    def timeline(self) -> int:
        """The timeline that it writes, or on a standby the one that it follows.

        Right at once after a promotion, when the control file still has the old one.

        Source: pg_walfile_name(); on a standby pg_control_checkpoint(), pg_control_recovery() and
        pg_stat_wal_receiver, whichever is the newest.
        """
        record = self._one("ask for the timeline", identity.TIMELINE)
        timeline: int = record["timeline"]
        return timeline

    def wal_segment_size(self) -> SegmentSize:
        """How large the files in its pg_wal are.

        Source: pg_control_init().
        """
        record = self._one("ask for the segment size", identity.SEGMENT_SIZE)
        return SegmentSize(record["size"])

    def settings(self) -> dict[str, Setting]:
        """All settings that the role may see, by name.

        Needs: pg_read_all_settings, to see all of them.  Source: pg_settings.
        """
        records = self._all("read the settings", SETTINGS.sql(self.version.major))
        return {setting.name: setting for setting in map(SETTINGS.read, records)}

    def setting(self, name: str) -> Setting:
        """One setting; ``setting(name).value`` is bool, int (bytes), timedelta, float or str.

        Raises: SettingNotFound when the server's major has none of that name;
        InsufficientPrivilege when the role may not see it.
        Needs: pg_read_all_settings, for some.  Source: pg_settings.
        """
        tried = f"read the setting {name!r}"
        for record in self._all(tried, ONE_SETTING.sql(self.version.major), [name]):
            return SETTINGS.read(record)
        # A setting that is hidden from the role has no row either; this tells the two apart.
        self._all(tried, CURRENT_SETTING, [name], grant="pg_read_all_settings")
        raise SettingNotFound(tried, "it is not in pg_settings")

    def replicas(self) -> list[WalSender]:
        """Who receives WAL from it, one row a walsender; on a standby these are its cascade.

        Raises: InsufficientPrivilege.  Needs: pg_monitor.  Source: pg_stat_replication.
        """
        tried = "read pg_stat_replication"
        records = self._all(tried, SENDERS.sql(self.version.major))
        if any(record["state"] is None for record in records):
            raise InsufficientPrivilege(tried, self._role, "pg_monitor")
        return [SENDERS.read(record) for record in records]

    def wal_files(self) -> list[WalFile]:
        """The segments in its pg_wal, in the order of their names.

        Raises: InsufficientPrivilege.  Needs: pg_monitor.  Source: pg_ls_waldir().
        """
        records = self._all("list pg_wal", WAL_FILES)
        return [WalFile(wal_file_in(r), r["size"], r["modification"]) for r in records]

    def checkpoint_status(self) -> CheckpointStatus:
        """The last checkpoint, and what brings the next one; on a standby, the restartpoints.

        Source: pg_control_checkpoint() and pg_settings.
        """
        sql = CHECKPOINT.sql(self.version.major)
        return CHECKPOINT.read(self._one("read the last checkpoint", sql))

    @property
    def _role(self) -> str:
        return self._connection.info.user

    def _one(
        self,
        tried: str,
        sql: str,
        params: Sequence[object] | None = None,
        *,
        grant: str = "pg_monitor",
    ) -> DictRow:
        [record] = self._all(tried, sql, params, grant=grant)
        return record

    def _all(
        self,
        tried: str,
        sql: str,
        params: Sequence[object] | None = None,
        *,
        grant: str = "pg_monitor",
    ) -> list[DictRow]:
        """Every row of a statement, without a trace on the connection."""
        connection = self._connection
        with telling(tried, role=None if connection.closed else self._role, grant=grant):
            status = connection.info.transaction_status
            if status == TransactionStatus.INERROR:
                raise ServerError(tried, "the connection's transaction has failed: roll it back")
            if connection.autocommit and status == TransactionStatus.IDLE:
                return self._fetch(sql, params)
            # A savepoint in the caller's transaction, or a transaction that ends here.
            with connection.transaction():
                return self._fetch(sql, params)

    def _fetch(self, sql: str, params: Sequence[object] | None) -> list[DictRow]:
        # A plain cursor, whatever kind the connection makes. Binary, because the text of times
        # depends on the session's DateStyle and IntervalStyle.
        with Cursor(self._connection, row_factory=dict_row) as cursor:
            register(cursor)
            cursor.execute(sql.encode(), params, prepare=False, binary=True)
            return [_readable(record) for record in cursor.fetchall()]

    def __repr__(self) -> str:
        info = self._connection.info
        if self._connection.closed:
            return f"<{type(self).__name__}, closed>"
        return (
            f"<{type(self).__name__} PostgreSQL {self.version}"
            f" at {info.host}:{info.port} as {info.user}>"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _readable(record: DictRow) -> DictRow:
    # A connection whose encoding is SQL_ASCII loads texts as bytes.
    return {
        name: value.decode("utf-8", "backslashreplace") if type(value) is bytes else value
        for name, value in record.items()
    }
