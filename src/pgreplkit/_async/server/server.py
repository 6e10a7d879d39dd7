"""AsyncServer: the methods that a primary and a standby have in common."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Self

from psycopg import AsyncConnection

from pgreplkit._async.wire.cancelling import AsyncOwnConnection
from pgreplkit._async.wire.closing import AsyncClosing
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit._async.wire.opening import opening
from pgreplkit._async.wire.session import read_bytes
from pgreplkit.catalog.server.settingcommands import CURRENT_SETTING
from pgreplkit.driver.adapters import register
from pgreplkit.driver.conninfo import address, complete, in_utf8
from pgreplkit.driver.failures import FILE_MISSING, UNDEFINED_OBJECT, translate_errors
from pgreplkit.driver.given import connection_error, server_error
from pgreplkit.errors import (
    InsufficientPrivilege,
    ServerError,
    SettingNotFound,
    StatementTimeout,
)
from pgreplkit.values.flags import checked_flags
from pgreplkit.values.seconds import Timeout
from pgreplkit.values.version import ServerVersion

# Rows, plans and streams are imported by the methods that use them: a first connect needs none.
if TYPE_CHECKING:
    from pgreplkit._async.server.slot import AsyncSlot
    from pgreplkit.catalog.server.checkpoints import CheckpointStatus
    from pgreplkit.catalog.server.senders import WalSender
    from pgreplkit.catalog.server.settings import Setting
    from pgreplkit.catalog.server.waldir import WalFile
    from pgreplkit.offline.records import RelationFile
    from pgreplkit.offline.stats import WalStats
    from pgreplkit.plans.server.access import AccessVerdict
    from pgreplkit.plans.server.retention import WalRetention
    from pgreplkit.plans.server.standbyreadiness import NodeFacts
    from pgreplkit.values.identity import SystemIdentity
    from pgreplkit.values.rows import Rows
    from pgreplkit.values.segment import SegmentSize
    from pgreplkit.values.tablename import TableName
    from pgreplkit.values.timeline import TimelineHistory


class _NoFile(ServerError):
    """The file does not exist."""


class AsyncServer(AsyncClosing):
    """A server of either role, bound to a psycopg connection.

    Open one with ``connect``, or pass your own connection: it is never closed, its settings are
    not changed, and an open transaction on it stays open.

    As a context manager, the server closes the connection at the end if ``connect`` opened it.
    """

    def __init__(self, connection: AsyncConnection[object]) -> None:
        if not isinstance(connection, AsyncConnection):
            raise connection_error(connection, AsyncConnection, type(self).__name__)
        self._link = AsyncLink(connection)

    @classmethod
    async def connect(cls, conninfo: str = "", **params: str | int | None) -> Self:
        """Open a connection in autocommit mode and bind to it.

        ``conninfo`` is a libpq connection string (``key=value`` or a URI); ``params`` add to it,
        such as ``host=`` or ``connect_timeout=`` (seconds; 10 by default).

        Raises: ConnectionFailed; NotAPrimary from Primary and NotAStandby from Standby if the
        server has the other role.
        """
        whole = complete(conninfo, params)
        operation = f"connect to {address(whole)}"
        async with opening(whole, operation):
            server = cls(await AsyncOwnConnection.connect(in_utf8(whole), autocommit=True))
        # psycopg's own connection string has only the host that it reached.
        server._link.opened_here, server._link.conninfo = True, whole
        register(server.connection)
        # No one else can close the connection yet, whatever goes wrong.
        try:
            with translate_errors(operation):
                await read_bytes(server.connection, whole)
            await server._link.use_english()
            await server._check_role()
        except BaseException:
            await server.close()
            raise
        return server

    async def _check_role(self) -> None:
        """Raise if the server's role does not fit the class; this class fits both roles."""

    @classmethod
    def _taking_over(cls, server: AsyncServer) -> Self:
        """Bind another server's connection to this class, and take over closing it."""
        # The link has the state of the connection: its lock, and whether it was opened here.
        taken = cls(server.connection)
        taken._link = server._link
        return taken

    @property
    def connection(self) -> AsyncConnection[object]:
        """The psycopg connection."""
        return self._link.connection

    @property
    def version(self) -> ServerVersion:
        """The server's version, such as ``ServerVersion('18.4')``.

        Raises: ConnectionFailed if the connection is closed.
        """
        return self._link.version

    async def close(self) -> None:
        """Close the connection if ``connect`` opened it; leave your own connection open."""
        if self._link.opened_here:
            await self.connection.close()

    async def is_in_recovery(self) -> bool:
        """Return whether the server is a standby now.

        Source: pg_is_in_recovery().
        """
        from pgreplkit.catalog.server import identity

        record = await self._link.one("read the role", identity.IN_RECOVERY)
        in_recovery: bool = record["in_recovery"]
        return in_recovery

    async def identity(self) -> SystemIdentity:
        """Return the system identifier, the timeline, the position, and the connected database.

        The position is the end of the flushed WAL on a primary, of the received WAL on a standby.

        Source: pg_control_system() and the functions for WAL positions.
        """
        from pgreplkit.catalog.server import identity
        from pgreplkit.values.identity import SystemIdentity

        record = await self._link.one("read the identity", identity.IDENTITY)
        # SQL has no unsigned integers: large identifiers come as negative numbers.
        system_id = identity.unsigned_system_id(record["system_id"])
        return SystemIdentity(**record | {"system_id": system_id})

    async def timeline(self) -> int:
        """Return the timeline that a primary writes, or that a standby follows.

        The timeline is correct immediately after a promotion, when the control file still has the
        old one.

        Source: pg_walfile_name(); on a standby pg_control_checkpoint(), pg_control_recovery() and
        pg_stat_wal_receiver, whichever is the newest.
        """
        from pgreplkit.catalog.server import identity

        record = await self._link.one("read the timeline", identity.TIMELINE)
        timeline: int = record["timeline"]
        return timeline

    async def wal_segment_size(self) -> SegmentSize:
        """Return the size of the WAL segments.

        Source: pg_control_init().
        """
        from pgreplkit.catalog.server import identity
        from pgreplkit.values.segment import SegmentSize

        record = await self._link.one("read the segment size", identity.SEGMENT_SIZE)
        return SegmentSize(record["size"])

    async def settings(self) -> dict[str, Setting]:
        """Return all settings that the role may see, by name.

        Needs: pg_read_all_settings, to see all of them.  Source: pg_settings.
        """
        from pgreplkit._async.server.settings import read_settings

        return await read_settings(self._link)

    async def setting(self, name: str) -> Setting:
        """Return one setting; its ``value`` is bool, int (bytes), timedelta, float or str.

        Raises: SettingNotFound if the server has no setting of that name; InsufficientPrivilege
        if it is hidden from the role.
        Needs: pg_read_all_settings, for some.  Source: pg_settings.
        """
        from pgreplkit.catalog.server.settings import ONE_SETTING, SETTINGS

        operation = f"read the setting {name!r}"
        for record in await self._link.all(operation, ONE_SETTING.sql(self.version.major), [name]):
            return SETTINGS.read(record)
        # A setting that is hidden from the role has no row either; this distinguishes the two.
        meaning = {UNDEFINED_OBJECT: SettingNotFound}
        grant = "pg_read_all_settings"
        await self._link.all(operation, CURRENT_SETTING, [name], grant=grant, meaning=meaning)
        raise SettingNotFound(operation, "the setting is not in pg_settings")

    async def replicas(self) -> Rows[WalSender]:
        """Return the rows of pg_stat_replication: the receivers of this server's WAL.

        Raises: InsufficientPrivilege.  Needs: pg_monitor.  Source: pg_stat_replication.
        """
        from pgreplkit._async.server.senders import read_senders
        from pgreplkit.values.rows import Rows

        return Rows(await read_senders(self._link))

    async def slots(self) -> Rows[AsyncSlot]:
        """Return all replication slots, by name.

        Source: pg_replication_slots.
        """
        from pgreplkit._async.server.slot import AsyncSlot
        from pgreplkit.catalog.server.slot import SLOTS
        from pgreplkit.values.rows import Rows

        sql = SLOTS.sql(self.version.major)
        records = await self._link.all("read pg_replication_slots", sql)
        return Rows(AsyncSlot(self._link, SLOTS.read(record)) for record in records)

    async def slot(self, name: str) -> AsyncSlot:
        """Return the replication slot of that name.

        Raises: SlotNotFound; InvalidSlotName.  Source: pg_replication_slots.
        """
        from pgreplkit._async.server.slot import AsyncSlot, read_slot

        return AsyncSlot(self._link, await read_slot(self._link, name))

    async def create_physical_slot(
        self, name: str, *, reserve_wal: bool = False, temporary: bool = False
    ) -> AsyncSlot:
        """Create a slot for a standby or another receiver of WAL.

        The slot retains WAL from its first use, or with ``reserve_wal`` from the last checkpoint.
        A ``temporary`` slot is dropped at the end of this session.

        Raises: AlreadyExists; InvalidSlotName; ServerError if all slots are in use.
        Needs: REPLICATION.  Source: pg_create_physical_replication_slot().
        """
        checked_flags(reserve_wal=reserve_wal, temporary=temporary)
        from pgreplkit._async.server.slot import make_physical_slot

        return await make_physical_slot(
            self._link, name, reserve_wal=reserve_wal, temporary=temporary
        )

    async def create_logical_slot(
        self,
        name: str,
        *,
        plugin: str = "pgoutput",
        two_phase: bool = False,
        failover: bool = False,
        temporary: bool = False,
        timeout: Timeout = 60.0,
    ) -> AsyncSlot:
        """Create a slot for the decoded changes of this connection's database.

        The server waits up to ``timeout`` seconds for the end of all transactions that are open
        now. A standby waits until its primary logs the running transactions, which
        pg_log_standby_snapshot() on the primary does at once (16 on).

        Raises: UnsupportedByServer for ``two_phase`` before 14, ``failover`` before 17, and on a
        standby before 16; StatementTimeout; AlreadyExists; InvalidSlotName; ServerError if
        wal_level is not logical, the plugin does not exist, or all slots are in use.
        Needs: REPLICATION.  Source: pg_create_logical_replication_slot().
        """
        checked_flags(two_phase=two_phase, failover=failover, temporary=temporary)
        from pgreplkit._async.server.slot import make_logical_slot
        from pgreplkit.plans.streams.slot import slower_on_standby

        # Older versions refuse this with a text only; the error here names the needed version.
        if not self._link.has("slot.logical_on_standby") and await self.is_in_recovery():
            self._link.require("slot.logical_on_standby")
        try:
            return await make_logical_slot(
                self._link,
                name,
                plugin=plugin,
                two_phase=two_phase,
                failover=failover,
                temporary=temporary,
                timeout=timeout,
            )
        except StatementTimeout as error:
            if await self.is_in_recovery():
                # There the wait is for the primary's next record of running transactions.
                raise slower_on_standby(error) from error
            raise

    async def wal_retention(
        self, *, window: Timeout | None = None, disk_size: int | None = None
    ) -> WalRetention:
        """Report the WAL retained by slots, wal_keep_size, the archiver and the last checkpoint.

        With a ``window`` in seconds, the WAL rate is measured for that time; the report then has
        the time until each slot reaches max_slot_wal_keep_size, and pg_wal ``disk_size`` bytes.

        Raises: InsufficientPrivilege.  Needs: pg_monitor.  Source: see WalRetention.
        """
        from pgreplkit._async.server.retention import read_retention

        # "100GB" is a str, and comparing it would fail deep within.
        if disk_size is not None and not isinstance(disk_size, int):
            raise TypeError(f"disk_size must be an int of bytes, not {type(disk_size).__name__}")
        if disk_size is not None and disk_size <= 0:
            raise ValueError(f"disk_size must be more than 0 bytes, got {disk_size}")
        return await read_retention(self._link, window=window, disk_size=disk_size)

    async def check_access(
        self,
        role: str,
        *,
        address: str | None,
        database: str = "replication",
        ssl: bool = False,
        method: str = "scram-sha-256",
    ) -> AccessVerdict:
        """Find the line of pg_hba.conf that decides about connections of ``role``.

        ``address`` is an IP address, a network such as 10.0.0.0/8, or None for a Unix socket.
        ``database`` is "replication" for physical replication, which the keyword ``all`` does not
        match; logical replication connects to a database. ``method`` is the authentication method
        of the line to add.

        The file on disk is checked; the server uses the version that it loaded last.

        Raises: RoleNotFound; InsufficientPrivilege; ValueError for an invalid address.
        Needs: superuser, or the grants on pg_hba_file_rules.  Source: pg_hba_file_rules.
        """
        checked_flags(ssl=ssl)
        from pgreplkit._async.server.access import check_access
        from pgreplkit.plans.server.access import AccessRequest

        asked = AccessRequest(role, address=address, database=database, ssl=ssl, method=method)
        return await check_access(self._link, asked)

    async def allow_access(
        self,
        role: str,
        *,
        address: str | None,
        database: str = "replication",
        ssl: bool = False,
        method: str = "scram-sha-256",
    ) -> AccessVerdict:
        """Allow connections of ``role``: add a line to pg_hba.conf on this host, and reload.

        If the connections are already allowed, the file is not changed. Otherwise the line is
        inserted before the one that refuses them, and a backup of the file is kept next to it. If
        the server does not accept the new line, the file is restored.

        Raises: HostFileError if the server's file is not on this host, or cannot be changed; and
        the errors of ``check_access``.
        Needs: as ``check_access``, EXECUTE on pg_reload_conf(), and write access to the file.
        """
        checked_flags(ssl=ssl)
        from pgreplkit._async.server.access import allow_access
        from pgreplkit.plans.server.access import AccessRequest

        asked = AccessRequest(role, address=address, database=database, ssl=ssl, method=method)
        return await allow_access(self._link, asked)

    async def wal_files(self) -> Rows[WalFile]:
        """Return the segments in pg_wal, by name.

        Raises: InsufficientPrivilege.  Needs: pg_monitor.  Source: pg_ls_waldir().
        """
        from pgreplkit.catalog.server.waldir import WAL_FILES, WalFile, wal_file_in
        from pgreplkit.values.rows import Rows

        records = await self._link.all("list pg_wal", WAL_FILES)
        return Rows(WalFile(wal_file_in(r), r["size"], r["modification"]) for r in records)

    async def relation_names(
        self, relations: WalStats | Iterable[RelationFile]
    ) -> dict[RelationFile, TableName]:
        """Return the names of the relations to which files in the WAL belong.

        ``relations`` are files, or WAL statistics by relation. Only relations of the connected
        database, and those that all databases share, have names. A file that no longer exists has
        none: its table was dropped, truncated or rewritten.

        Source: pg_filenode_relation().
        """
        from pgreplkit._async.server.relationfiles import relation_names

        return await relation_names(self._link, relations)

    async def checkpoint_status(self) -> CheckpointStatus:
        """Return the last checkpoint (on a standby: restartpoint) and the triggers of the next.

        Source: pg_control_checkpoint() and pg_settings.
        """
        from pgreplkit.catalog.server.checkpoints import CHECKPOINT

        sql = CHECKPOINT.sql(self.version.major)
        return CHECKPOINT.read(await self._link.one("read the last checkpoint", sql))

    async def _reached_timeline(self) -> int:
        """Return the timeline of the last WAL, also without a walreceiver; needs pg_monitor."""
        from pgreplkit.catalog.server import identity

        record = await self._link.one("read the timeline", identity.REACHED_TIMELINE)
        timeline: int = record["timeline"]
        return timeline

    async def _facts(self) -> NodeFacts:
        """Return the facts that are compared between two servers."""
        from pgreplkit.plans.server.standbyreadiness import NodeFacts

        settings, identity = await self.settings(), await self.identity()
        return NodeFacts(major=self.version.major, identity=identity, settings=settings)

    async def _history(self, timeline: int) -> TimelineHistory | None:
        """Return the history of a timeline; None if its file is missing or unreadable."""
        from pgreplkit.catalog.server.identity import HISTORY
        from pgreplkit.values.timeline import TimelineHistory

        # The first timeline has no history file.
        if timeline == 1:
            return TimelineHistory(1)
        operation = "read the timeline's history"
        try:
            record = await self._link.one(
                operation, HISTORY, [timeline], meaning={FILE_MISSING: _NoFile}
            )
        except (InsufficientPrivilege, _NoFile):
            # A caller that lacks the history says so in a finding.
            return None
        return TimelineHistory.from_bytes(record["content"], timeline=timeline)

    def __repr__(self) -> str:
        info = self.connection.info
        if self.connection.closed:
            return f"<{type(self).__name__}, closed>"
        return (
            f"<{type(self).__name__} PostgreSQL {self.version}"
            f" at {info.host}:{info.port} as {info.user}>"
        )


def insist_on_servers(**arguments: object) -> None:
    """Check that arguments are server objects.

    Raises:
        TypeError: If one is not; the error names what to pass instead.
    """
    for name, given in arguments.items():
        if not isinstance(given, AsyncServer):
            raise server_error(given, AsyncServer.__name__, name)
