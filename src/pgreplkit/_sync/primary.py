# Generated from pgreplkit/_async/primary.py by `nox -s sync`. Do not edit.
"""Primary: the server that writes."""

from __future__ import annotations

from pgreplkit._sync.logical.logicalserver import LogicalServer
from pgreplkit._sync.server import roles
from pgreplkit.catalog.server.basebackups import BASE_BACKUPS, BaseBackup
from pgreplkit.catalog.server.positions import POSITION, SWITCH_WAL, WalPosition
from pgreplkit.catalog.server.retention import ARCHIVER
from pgreplkit.catalog.server.roles import ReplicationRole
from pgreplkit.catalog.server.senders import WAITING_COMMITS, SenderState
from pgreplkit.catalog.server.settings import SYNC_STANDBY_NAMES
from pgreplkit.catalog.server.waldir import CURRENT_WAL_FILE, WAL_FILE, wal_file_in
from pgreplkit.driver.failures import NOT_IN_PREREQUISITE_STATE
from pgreplkit.errors import InsufficientPrivilege, NotAPrimary, QuorumUnreachable
from pgreplkit.plans.server.primaryreadiness import PrimaryFacts, Replication, primary_readiness
from pgreplkit.plans.server.readiness import Readiness
from pgreplkit.values.lsn import LSN
from pgreplkit.values.syncnames import SyncStandbyNames
from pgreplkit.values.walfile import WalFileName

_ROLE = {NOT_IN_PREREQUISITE_STATE: NotAPrimary}
"""What the functions of a primary raise in recovery."""


class Primary(LogicalServer):
    """A primary: a server that writes WAL.

    ``connect`` raises NotAPrimary on a standby; with a connection of your own, the methods that
    only a primary has raise it when they are called.
    """

    def _insist_on_role(self) -> None:
        if self.is_in_recovery():
            raise NotAPrimary("ask a primary", "the server is in recovery")

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

    def sync_standby_names(self) -> SyncStandbyNames:
        """Which standbys must confirm a commit, as the server is set.

        Source: synchronous_standby_names.
        """
        return SyncStandbyNames.parse(str((self.setting(SYNC_STANDBY_NAMES)).value or ""))

    def set_sync_standby_names(self, names: SyncStandbyNames, *, force: bool = False) -> None:
        """Let these standbys confirm commits from now on; edit what ``sync_standby_names`` gives.

        Raises: QuorumUnreachable when fewer of them stream now than have to confirm, so that every
        commit would wait, unless ``force``; WaitTimeout when the configuration does not let it
        count.
        Needs: superuser, or from 15 on ALTER SYSTEM on the parameter, EXECUTE on pg_reload_conf()
        and pg_monitor; a connection in autocommit.
        Source: ALTER SYSTEM, pg_reload_conf(), pg_stat_replication.
        """
        if not isinstance(names, SyncStandbyNames):
            raise TypeError(f"the names are SyncStandbyNames, not {type(names).__name__}")
        self._insist_on_role()
        streaming = [r for r in self.replicas() if r.state is SenderState.STREAMING]
        connected = tuple(replica.application_name for replica in streaming)
        if not force and not names.met_by(connected):
            raise QuorumUnreachable(str(names), connected)
        tried = "set synchronous_standby_names"
        self._link.alter_system(tried, SYNC_STANDBY_NAMES, str(names))

    def check_readiness(self, for_: Replication = "physical", *, standbys: int = 1) -> Readiness:
        """Whether it can have so many receivers altogether, one finding for each thing needed.

        A finding tells what is, what is needed, the SQL that gets there, and whether that takes a
        reload or a restart.

        Raises: InsufficientPrivilege; ValueError for another word than physical or logical.
        Needs: pg_monitor.
        Source: pg_settings, pg_stat_replication, pg_replication_slots, pg_stat_archiver.
        """
        self._insist_on_role()
        sql = ARCHIVER.sql(self.version.major)
        waiting = self._link.one("count the waiting commits", WAITING_COMMITS)
        facts = PrimaryFacts(
            settings=self.settings(),
            senders=self.replicas(),
            slots=[slot.state for slot in self.slots()],
            archiver=ARCHIVER.read(self._link.one("read pg_stat_archiver", sql)),
            waiting_commits=waiting["number"],
        )
        return primary_readiness(facts, for_=for_, standbys=standbys)

    def base_backups(self) -> list[BaseBackup]:
        """The base backups that run now, with how far each is and what it waits for.

        Raises: UnsupportedByServer before 13; InsufficientPrivilege.
        Needs: pg_monitor.  Source: pg_stat_progress_basebackup.
        """
        self._link.require("basebackup.progress")
        tried = "read pg_stat_progress_basebackup"
        records = self._link.all(tried, BASE_BACKUPS.sql(self.version.major))
        if any(record["phase"] is None for record in records):
            raise InsufficientPrivilege(tried, self._link.role, "pg_monitor")
        return [BASE_BACKUPS.read(record) for record in records]

    def replication_roles(self) -> list[ReplicationRole]:
        """The roles that may make replication connections, superusers among them, by name.

        Source: pg_roles.
        """
        return roles.read_roles(self._link)

    def create_replication_role(
        self,
        name: str,
        *,
        password: str | None = None,
        connection_limit: int = -1,
        monitor: bool = False,
    ) -> ReplicationRole:
        """Create a role that may log in and replicate, with ``monitor`` in pg_monitor too.

        The password is hashed (SCRAM-SHA-256) before it is sent. ``connection_limit`` counts its
        ordinary connections, before 13 its replication connections too; -1 is none.

        Raises: AlreadyExists; InvalidRoleName; InsufficientPrivilege.
        Needs: superuser; from 16 on CREATEROLE with REPLICATION, and for ``monitor`` the admin
        option on pg_monitor.
        Source: CREATE ROLE.
        """
        return roles.create_role(
            self._link,
            name,
            password=password,
            connection_limit=connection_limit,
            monitor=monitor,
        )

    def alter_replication_role(
        self,
        name: str,
        *,
        password: str | None = None,
        connection_limit: int | None = None,
        monitor: bool | None = None,
    ) -> ReplicationRole:
        """Change what is given of a replication role, all of it or nothing.

        Raises: RoleNotFound, also for a role without REPLICATION; InsufficientPrivilege.
        Needs: as ``create_replication_role``.  Source: ALTER ROLE, GRANT, REVOKE.
        """
        return roles.alter_role(
            self._link,
            name,
            password=password,
            connection_limit=connection_limit,
            monitor=monitor,
        )

    def drop_replication_role(self, name: str) -> None:
        """Drop a replication role; the server refuses one that owns something.

        Raises: RoleNotFound, also for a role without REPLICATION; ServerError;
        InsufficientPrivilege.
        Needs: as ``create_replication_role``.  Source: DROP ROLE.
        """
        roles.drop_role(self._link, name)
