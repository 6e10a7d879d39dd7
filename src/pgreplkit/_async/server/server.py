"""AsyncServer: what a primary and a standby have in common."""

from __future__ import annotations

from typing import Self

from packaging.version import Version
from psycopg import AsyncConnection

from pgreplkit._async.server.access import allow_access, check_access
from pgreplkit._async.server.retention import read_retention
from pgreplkit._async.server.senders import read_senders
from pgreplkit._async.server.slot import AsyncSlot, make_logical_slot, make_physical_slot, read_slot
from pgreplkit._async.wire.closing import AsyncClosing
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.catalog.server import identity
from pgreplkit.catalog.server.checkpoints import CHECKPOINT, CheckpointStatus
from pgreplkit.catalog.server.identity import HISTORY
from pgreplkit.catalog.server.senders import WalSender
from pgreplkit.catalog.server.settings import CURRENT_SETTING, ONE_SETTING, SETTINGS, Setting
from pgreplkit.catalog.server.slot import SLOTS
from pgreplkit.catalog.server.waldir import WAL_FILES, WalFile, wal_file_in
from pgreplkit.driver.adapters import register
from pgreplkit.driver.conninfo import address, complete, in_utf8
from pgreplkit.driver.failures import FILE_MISSING, UNDEFINED_OBJECT, translate_errors
from pgreplkit.errors import InsufficientPrivilege, ServerError, SettingNotFound
from pgreplkit.plans.server.access import AccessRequest, AccessVerdict
from pgreplkit.plans.server.retention import WalRetention
from pgreplkit.plans.server.standbyreadiness import NodeFacts
from pgreplkit.values.identity import SystemIdentity
from pgreplkit.values.segment import SegmentSize
from pgreplkit.values.timeline import TimelineHistory


class _NoFile(ServerError):
    """The file is not there."""


class AsyncServer(AsyncClosing):
    """A server of either role, bound to a psycopg connection.

    Open one with ``connect``, or give a connection of your own: that one is never closed, its
    settings stay as they are, and an open transaction on it stays open.

    As a context manager it closes the connection at the end if ``connect`` opened it.
    """

    def __init__(self, connection: AsyncConnection[object]) -> None:
        self._link = AsyncLink(connection)

    @classmethod
    async def connect(cls, conninfo: str = "", **params: str | int | None) -> Self:
        """Open a connection of its own, in autocommit, and bind to it.

        ``conninfo`` is libpq's (``key=value`` or a URI); ``params`` add to it, such as ``host=``
        or ``connect_timeout=`` (seconds; 10 unless told).

        Raises: ConnectionFailed; NotAPrimary from Primary and NotAStandby from Standby when the
        server has the other role.
        """
        whole = complete(conninfo, params)
        with translate_errors(f"connect to {address(whole)}"):
            server = cls(await AsyncConnection.connect(in_utf8(whole), autocommit=True))
        server._link.opened_here, server._link.conninfo = True, whole
        register(server.connection)
        try:
            await server._insist_on_role()
        except BaseException:
            await server.close()
            raise
        return server

    async def _insist_on_role(self) -> None:
        """Raise if the server has another role than the class; this one is of either role."""

    @classmethod
    def _taking_over(cls, server: AsyncServer) -> Self:
        """The same connection under another role; whether it is closed at the end goes with it."""
        taken = cls(server.connection)
        taken._link = server._link
        return taken

    @property
    def connection(self) -> AsyncConnection[object]:
        """The psycopg connection."""
        return self._link.connection

    @property
    def version(self) -> Version:
        """The server's version, as in ``Version('18.4')``.

        Raises: ConnectionFailed when the connection is closed.
        """
        return self._link.version

    async def close(self) -> None:
        """Close the connection if ``connect`` opened it; leave it open if it was given."""
        if self._link.opened_here:
            await self.connection.close()

    async def is_in_recovery(self) -> bool:
        """Whether it is a standby now.

        Source: pg_is_in_recovery().
        """
        record = await self._link.one("ask for the role", identity.IN_RECOVERY)
        in_recovery: bool = record["in_recovery"]
        return in_recovery

    async def identity(self) -> SystemIdentity:
        """Which cluster it belongs to, its timeline, its position, and the connection's database.

        The position is what is flushed on a primary, and what is received on a standby.

        Source: pg_control_system() and the functions of the position.
        """
        record = await self._link.one("ask for the identity", identity.IDENTITY)
        system_id = identity.unsigned_system_id(record["system_id"])
        return SystemIdentity(**record | {"system_id": system_id})

    async def timeline(self) -> int:
        """The timeline that it writes, or on a standby the one that it follows.

        Right at once after a promotion, when the control file still has the old one.

        Source: pg_walfile_name(); on a standby pg_control_checkpoint(), pg_control_recovery() and
        pg_stat_wal_receiver, whichever is the newest.
        """
        record = await self._link.one("ask for the timeline", identity.TIMELINE)
        timeline: int = record["timeline"]
        return timeline

    async def wal_segment_size(self) -> SegmentSize:
        """How large the files in its pg_wal are.

        Source: pg_control_init().
        """
        record = await self._link.one("ask for the segment size", identity.SEGMENT_SIZE)
        return SegmentSize(record["size"])

    async def settings(self) -> dict[str, Setting]:
        """All settings that the role may see, by name.

        Needs: pg_read_all_settings, to see all of them.  Source: pg_settings.
        """
        records = await self._link.all("read the settings", SETTINGS.sql(self.version.major))
        return {setting.name: setting for setting in map(SETTINGS.read, records)}

    async def setting(self, name: str) -> Setting:
        """One setting; ``setting(name).value`` is bool, int (bytes), timedelta, float or str.

        Raises: SettingNotFound when the server's major has none of that name;
        InsufficientPrivilege when the role may not see it.
        Needs: pg_read_all_settings, for some.  Source: pg_settings.
        """
        tried = f"read the setting {name!r}"
        for record in await self._link.all(tried, ONE_SETTING.sql(self.version.major), [name]):
            return SETTINGS.read(record)
        # A setting that is hidden from the role has no row either; this tells the two apart.
        meaning = {UNDEFINED_OBJECT: SettingNotFound}
        grant = "pg_read_all_settings"
        await self._link.all(tried, CURRENT_SETTING, [name], grant=grant, meaning=meaning)
        raise SettingNotFound(tried, "it is not in pg_settings")

    async def replicas(self) -> list[WalSender]:
        """Who receives WAL from it, one row a walsender; on a standby these are its cascade.

        Raises: InsufficientPrivilege.  Needs: pg_monitor.  Source: pg_stat_replication.
        """
        return await read_senders(self._link)

    async def slots(self) -> list[AsyncSlot]:
        """All its replication slots, in the order of their names.

        Source: pg_replication_slots.
        """
        sql = SLOTS.sql(self.version.major)
        records = await self._link.all("read pg_replication_slots", sql)
        return [AsyncSlot(self._link, SLOTS.read(record)) for record in records]

    async def slot(self, name: str) -> AsyncSlot:
        """The replication slot of that name.

        Raises: SlotNotFound; InvalidSlotName.  Source: pg_replication_slots.
        """
        return AsyncSlot(self._link, await read_slot(self._link, name))

    async def create_physical_slot(
        self, name: str, *, reserve_wal: bool = False, temporary: bool = False
    ) -> AsyncSlot:
        """Create a slot for a standby or another receiver of WAL.

        It keeps WAL from its first use on, or with ``reserve_wal`` from the last checkpoint on.
        A ``temporary`` one goes with this session.

        Raises: AlreadyExists; InvalidSlotName; ServerError when all slots are in use.
        Needs: REPLICATION.  Source: pg_create_physical_replication_slot().
        """
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
        timeout: float = 60.0,
    ) -> AsyncSlot:
        """Create a slot from which the changes of this connection's database are decoded.

        It waits until all transactions that are open now have ended, at most ``timeout`` seconds;
        on a standby, until its primary logs which ones run (pg_log_standby_snapshot() there).

        Raises: UnsupportedByServer for ``two_phase`` before 14, ``failover`` before 17, and on a
        standby before 16; StatementTimeout; AlreadyExists; InvalidSlotName; ServerError when
        wal_level is not logical, there is no such plugin, or all slots are in use.
        Needs: REPLICATION.  Source: pg_create_logical_replication_slot().
        """
        if self.version.major < 16 and await self.is_in_recovery():
            self._link.require("slot.logical_on_standby")
        return await make_logical_slot(
            self._link,
            name,
            plugin=plugin,
            two_phase=two_phase,
            failover=failover,
            temporary=temporary,
            timeout=timeout,
        )

    async def wal_retention(
        self, *, window: float | None = None, disk_size: int | None = None
    ) -> WalRetention:
        """Who keeps how much WAL: slots, walsenders, wal_keep_size, the archiver, the checkpoint.

        With a ``window`` in seconds it measures the rate of WAL for so long, and then says how long
        each slot has until max_slot_wal_keep_size, and pg_wal until ``disk_size`` bytes.

        Raises: InsufficientPrivilege.  Needs: pg_monitor.
        Source: as of WalRetention.
        """
        if disk_size is not None and not isinstance(disk_size, int):
            raise TypeError(f"a disk's size is an int of bytes, not {type(disk_size).__name__}")
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
        """Which line of pg_hba.conf decides about connections of ``role``, and what to add.

        ``address`` is an IP address, a network as in 10.0.0.0/8, or None for a Unix socket.
        ``database`` is "replication" for physical replication, which the keyword ``all`` does not
        match; logical replication connects to a database like anyone. ``method`` is for the line
        to add.

        It looks at the file as it is on disk; the server goes by what it loaded last.

        Raises: RoleNotFound; InsufficientPrivilege; ValueError for an address that is none.
        Needs: superuser, or the grants on pg_hba_file_rules.  Source: pg_hba_file_rules.
        """
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
        """Let connections of ``role`` in: add a line to this host's pg_hba.conf, and reload.

        Nothing happens where they are let in already. Else the line is put before the one that
        keeps them out; a backup of the file stays beside it. Afterwards the server is asked again,
        and when it does not read the line, the file is as it was.

        Raises: HostFileError when the server's file is not on this host, or cannot be changed; and
        as ``check_access``.
        Needs: as ``check_access``, and EXECUTE on pg_reload_conf(); an account that may write it.
        """
        asked = AccessRequest(role, address=address, database=database, ssl=ssl, method=method)
        return await allow_access(self._link, asked)

    async def wal_files(self) -> list[WalFile]:
        """The segments in its pg_wal, in the order of their names.

        Raises: InsufficientPrivilege.  Needs: pg_monitor.  Source: pg_ls_waldir().
        """
        records = await self._link.all("list pg_wal", WAL_FILES)
        return [WalFile(wal_file_in(r), r["size"], r["modification"]) for r in records]

    async def checkpoint_status(self) -> CheckpointStatus:
        """The last checkpoint, and what brings the next one; on a standby, the restartpoints.

        Source: pg_control_checkpoint() and pg_settings.
        """
        sql = CHECKPOINT.sql(self.version.major)
        return CHECKPOINT.read(await self._link.one("read the last checkpoint", sql))

    async def _reached_timeline(self) -> int:
        """The timeline of the last of its WAL, also when nobody sends it any; needs pg_monitor."""
        record = await self._link.one("ask for the timeline", identity.REACHED_TIMELINE)
        timeline: int = record["timeline"]
        return timeline

    async def _facts(self) -> NodeFacts:
        """What is compared between two servers."""
        settings, identity = await self.settings(), await self.identity()
        return NodeFacts(major=self.version.major, identity=identity, settings=settings)

    async def _history(self, timeline: int) -> TimelineHistory | None:
        """How the server came to that timeline; None when its file is gone, or not to be read."""
        if timeline == 1:
            return TimelineHistory(1)
        tried = "read the timeline's history"
        try:
            record = await self._link.one(
                tried, HISTORY, [timeline], meaning={FILE_MISSING: _NoFile}
            )
        except (InsufficientPrivilege, _NoFile):
            return None
        return TimelineHistory.parse(record["text"], timeline=timeline)

    def __repr__(self) -> str:
        info = self.connection.info
        if self.connection.closed:
            return f"<{type(self).__name__}, closed>"
        return (
            f"<{type(self).__name__} PostgreSQL {self.version}"
            f" at {info.host}:{info.port} as {info.user}>"
        )
