"""AsyncStandby: a server that replays the WAL of another."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from psycopg import AsyncConnection

from pgreplkit._async._io import sleep, to_thread
from pgreplkit._async.logical.streamingserver import AsyncStreamingServer
from pgreplkit.driver.backoff import Backoff
from pgreplkit.driver.failures import NOT_IN_PREREQUISITE_STATE
from pgreplkit.driver.secrets import without_password
from pgreplkit.errors import (
    Error,
    InsufficientPrivilege,
    NotAStandby,
    ServerError,
    WaitTimeout,
)
from pgreplkit.values.lsn import LSN
from pgreplkit.values.seconds import Timeout

# Rows, plans and streams are imported by the methods that use them: a first connect needs none.
if TYPE_CHECKING:
    from pgreplkit._async.server.server import AsyncServer
    from pgreplkit.catalog.server.lag import ReplayLag
    from pgreplkit.catalog.server.receivers import Upstream, WalReceiver
    from pgreplkit.catalog.server.replay import Promotion, ReplayPosition, ReplayStatus
    from pgreplkit.catalog.server.replayconflicts import DatabaseConflicts
    from pgreplkit.host.nodecontrol import NodeControl
    from pgreplkit.plans.server.readiness import Readiness
    from pgreplkit.values.rows import Rows


_ROLE = {NOT_IN_PREREQUISITE_STATE: NotAStandby}
_PAUSED_AFTER = 0.2
"""Seconds without progress after which replay counts as paused before 14, where the server reports
a pause as soon as it is requested; replaying one record rarely takes longer."""


class AsyncStandby(AsyncStreamingServer):
    """A standby: a server that replays the WAL of another.

    On a primary, ``connect`` raises NotAStandby; with your own connection, the methods that only a
    standby has raise it when they are called.
    """

    def __init__(self, connection: AsyncConnection[object]) -> None:
        super().__init__(connection)
        self._last_heard: datetime | None = None

    async def _check_role(self) -> None:
        await self._check_recovery("use the server as a standby")

    async def _check_recovery(self, operation: str) -> None:
        if not await self.is_in_recovery():
            raise NotAStandby(operation, "it is not in recovery")

    async def replay_status(self) -> ReplayStatus:
        """Return the received and replayed WAL, the lag, and its reason.

        Raises: NotAStandby, InsufficientPrivilege.
        Needs: pg_monitor.
        Source: the recovery functions and pg_stat_wal_receiver, in one statement.
        """
        from pgreplkit.catalog.server.replay import REPLAY

        operation = "read the replay status"
        record = await self._link.one(operation, REPLAY.sql(self.version.major))
        # Its function raises an error on a primary, so the SELECT returns NULL there.
        if record["pause_state"] is None:
            raise NotAStandby(operation, "it is not in recovery")
        # Without pg_monitor only the process id of the walreceiver is visible.
        if record["receiver_pid"] is not None and record["receiver_status"] is None:
            raise InsufficientPrivilege(operation, self._link.role, "pg_monitor")
        status = REPLAY.read(record)
        # The time is kept because the row disappears with the walreceiver.
        self._last_heard = status.last_msg_receipt_time or self._last_heard
        return status

    async def replay_lag(self) -> ReplayLag:
        """Return the lag behind the upstream in bytes and time, its stage, and its reason.

        Raises: NotAStandby, InsufficientPrivilege.
        Needs: pg_monitor.  Source: as ``replay_status``.
        """
        return (await self.replay_status()).lag(last_heard=self._last_heard)

    async def receiver(self) -> WalReceiver | None:
        """Return the walreceiver; None if none is running, as when WAL comes from an archive.

        Raises: NotAStandby, InsufficientPrivilege.
        Needs: pg_monitor.  Source: pg_stat_wal_receiver.
        """
        from pgreplkit.catalog.server.receivers import RECEIVER

        operation = "read pg_stat_wal_receiver"
        # On a primary the view is empty too, so the role has to be checked.
        records = await self._link.all(operation, RECEIVER.sql(self.version.major))
        await self._check_recovery(operation)
        for record in records:
            if record["status"] is None:
                raise InsufficientPrivilege(operation, self._link.role, "pg_monitor")
            record["conninfo"] = without_password(record["conninfo"])
            return RECEIVER.read(record)
        return None

    async def upstream(self) -> Upstream | None:
        """Return the server that sends WAL to this standby; None if no walreceiver is running.

        Raises: NotAStandby, InsufficientPrivilege.
        Needs: pg_monitor.  Source: pg_stat_wal_receiver.
        """
        import attrs

        from pgreplkit.catalog.server.receivers import upstream_of

        receiver = await self.receiver()
        if receiver is None:
            return None
        source = upstream_of(receiver)
        named = source.application_name or source.fallback_application_name
        if named or not self._link.has("standby.cluster_name"):
            return source
        # The server shows no default name once the walreceiver has continued on another timeline.
        cluster_name = (await self.setting("cluster_name")).value
        return attrs.evolve(source, fallback_application_name=str(cluster_name or "") or None)

    async def conflicts(self) -> Rows[DatabaseConflicts]:
        """Return the queries cancelled by replay, counted by reason, one row per database.

        Raises: NotAStandby.  Source: pg_stat_database_conflicts.
        """
        from pgreplkit.catalog.server.replayconflicts import CONFLICTS
        from pgreplkit.values.rows import Rows

        operation = "read pg_stat_database_conflicts"
        await self._check_recovery(operation)
        records = await self._link.all(operation, CONFLICTS.sql(self.version.major))
        return Rows(CONFLICTS.read(record) for record in records)

    async def pause(self, *, timeout: Timeout = 60.0) -> None:
        """Pause replay, and wait until it has stopped. WAL is still received.

        Before 14 the server does not report when replay has stopped; then its position must stay
        the same for 0.2 seconds.

        Raises: NotAStandby; WaitTimeout after ``timeout`` seconds: the request to pause remains,
        and ``resume`` withdraws it.
        Needs: EXECUTE on pg_wal_replay_pause(), which superusers have.
        Source: pg_wal_replay_pause(), pg_get_wal_replay_pause_state().
        """
        from pgreplkit.catalog.server.replay import PAUSE, PauseState

        operation, before = "pause replay", None
        grant = "EXECUTE ON FUNCTION pg_wal_replay_pause()"
        reports_stop, backoff = self._link.has("standby.pause_state"), Backoff(timeout)
        await self._link.one(operation, PAUSE, grant=grant, meaning=_ROLE)
        while True:
            position = await self._position(operation)
            has_stopped = reports_stop or position.replayed_lsn == before
            if position.pause_state is PauseState.PAUSED and has_stopped:
                return
            if backoff.is_over:
                raise WaitTimeout(
                    f"timed out after {backoff.limit:g} s waiting for replay to pause:"
                    f" {position.pause_state} at {position.replayed_lsn};"
                    " resume() withdraws the request"
                )
            before = position.replayed_lsn
            await sleep(backoff.next_pause() if reports_stop else _PAUSED_AFTER)

    async def resume(self) -> None:
        """Resume replay; does nothing if replay is not paused.

        Raises: NotAStandby.
        Needs: EXECUTE on pg_wal_replay_resume(), which superusers have.
        Source: pg_wal_replay_resume().
        """
        from pgreplkit.catalog.server.replay import RESUME

        grant = "EXECUTE ON FUNCTION pg_wal_replay_resume()"
        await self._link.one("resume replay", RESUME, grant=grant, meaning=_ROLE)

    @asynccontextmanager
    async def paused(self, *, timeout: Timeout = 60.0) -> AsyncIterator[None]:
        """Pause replay within the block, and restore its previous state afterwards.

        If replay cannot be resumed, for example because the connection is lost, the error says so;
        an error of the block itself is raised unchanged, with a note.

        Raises: the errors of ``pause`` and ``resume``; ServerError unless the connection is in
        autocommit mode, because replay could not be resumed in a failed transaction.
        Needs: EXECUTE on pg_wal_replay_pause() and pg_wal_replay_resume().
        """
        operation = "pause replay within a block"
        if not self._link.is_autocommit:
            raise ServerError(
                operation,
                "the connection is not in autocommit mode, or has an open transaction",
                remedy="use an autocommit connection",
            )
        # A pause of someone else's must survive the block.
        found = await self._position(operation)
        try:
            await self.pause(timeout=timeout)
            yield
        except BaseException as error:
            try:
                await self._restore(found)
            except Error as failed:
                error.add_note(f"replay may still be paused: {failed}")
            raise
        await self._restore(found)

    async def _restore(self, found: ReplayPosition) -> None:
        # A standby that was promoted in the block has no replay to resume.
        from pgreplkit.catalog.server.replay import PauseState

        if found.pause_state is PauseState.NOT_PAUSED and await self.is_in_recovery():
            await self.resume()

    async def wait_for_replay(self, lsn: LSN, *, timeout: Timeout = 60.0) -> LSN:
        """Wait until the standby has replayed ``lsn``; return its position.

        The position is polled after 10 ms at first, then less often, at least twice a second.

        Raises: WaitTimeout after ``timeout`` seconds; NotAStandby, also if the standby is promoted
        before it has replayed ``lsn``.
        Source: pg_last_wal_replay_lsn().
        """
        if not isinstance(lsn, LSN):
            raise TypeError(f"lsn must be an LSN, not {type(lsn).__name__}")
        return await self._wait_for_replay(lsn, timeout)

    async def _wait_for_replay(self, lsn: LSN, timeout: Timeout, *, is_end: bool = False) -> LSN:
        """Wait until ``lsn`` is replayed; ``is_end`` if it may be within a record without an end.

        The connection to an upstream may end in the middle of a record. Its rest never comes if the
        upstream is lost, so that the position of what was received is never replayed.
        """
        operation = f"wait for replay of {lsn}"
        backoff = Backoff(timeout)
        before: LSN | None = None
        while True:
            position = await self._look()
            replayed = position.replayed_lsn
            # The position is compared first: a standby that was promoted after it has replayed it.
            if replayed is not None and replayed >= lsn:
                return replayed
            if not position.in_recovery:
                raise NotAStandby(operation, "it is not in recovery")
            # Replay that does not move may also be busy with a record that takes long.
            stands = is_end and replayed == before
            if replayed is not None and stands and await self._waits_for_wal():
                return replayed
            before = replayed
            if backoff.is_over:
                raise WaitTimeout(
                    f"timed out after {backoff.limit:g} s waiting for replay of {lsn}:"
                    f" replay is {position.pause_state} at {replayed}"
                )
            await sleep(backoff.next_pause())

    async def apply_delay(self) -> timedelta | None:
        """Return recovery_min_apply_delay: the delay between a commit and its replay.

        None before 12, where it is a parameter of recovery.conf and cannot be queried.
        """
        from pgreplkit.catalog.server.replay import APPLY_DELAY

        if not self._link.has("standby.apply_delay"):
            return None
        delay = (await self.setting(APPLY_DELAY)).value
        return delay if isinstance(delay, timedelta) else None

    async def set_apply_delay(self, delay: timedelta) -> None:
        """Set recovery_min_apply_delay, rounded up to milliseconds; zero ends the delay.

        Raises: UnsupportedByServer before 12, where it is a parameter of recovery.conf (see
        ``standby_config``) and needs a restart; WaitTimeout if another source of the setting
        overrides it; ValueError if it is negative or more than 2147483647 ms.
        Needs: superuser, or from 15 on ALTER SYSTEM on the parameter and EXECUTE on
        pg_reload_conf(); a connection in autocommit mode.
        Source: ALTER SYSTEM, pg_reload_conf().
        """
        from pgreplkit.catalog.server.replay import APPLY_DELAY
        from pgreplkit.values.milliseconds import delay_milliseconds

        self._link.require("standby.apply_delay")
        if not isinstance(delay, timedelta):
            raise TypeError(f"delay must be a timedelta, not {type(delay).__name__}")
        await self._check_recovery("set the apply delay")
        milliseconds = delay_milliseconds(delay, "delay")
        await self._link.alter_system("set the apply delay", APPLY_DELAY, str(milliseconds))

    async def promote(
        self, *, timeout: Timeout = 60.0, control: NodeControl | None = None
    ) -> Promotion:
        """Promote the standby, and wait until it accepts writes.

        Use it afterwards as ``Primary(standby.connection)``. This method does not stop the old
        primary: make sure first that it no longer accepts writes.

        Before 12 no SQL function promotes a standby; then ``control`` does, as ``pg_ctl promote``.

        Raises: UnsupportedByServer before 12 without ``control``; NotAStandby; ServerError before
        13 while replay is paused, which would block the promotion; WaitTimeout if it is not
        complete after ``timeout`` seconds: the server continues with it.
        Needs: EXECUTE on pg_promote(), which superusers have.
        Source: pg_promote().
        """
        from pgreplkit.catalog.server.replay import PROMOTED, PauseState, Promotion

        if control is None:
            self._link.require("standby.promote")
        operation = "promote the standby"
        position = await self._position(operation)
        # From 13 on a promotion ends the pause.
        blocks = not self._link.has("standby.promote_paused")
        if blocks and position.pause_state is PauseState.PAUSED:
            found = "replay is paused, which blocks the promotion"
            raise ServerError(operation, found, remedy="resume() first")
        # Read before the promotion, which changes it.
        old = await self.timeline()
        backoff = Backoff(timeout)
        if control is not None and not self._link.has("standby.promote"):
            await to_thread(control.promote)
        else:
            await self._signal_promotion(operation)
        # pg_promote(false) only signals the postmaster; its own wait would occupy the connection.
        while (state := await self._link.one(operation, PROMOTED))["in_recovery"]:
            if backoff.is_over:
                raise WaitTimeout(
                    f"timed out after {backoff.limit:g} s waiting for the end of recovery, at"
                    f" {state['replayed_lsn']}; the promotion continues"
                )
            await sleep(backoff.next_pause())
        new = await self.timeline()
        history = await self._history(new)
        switchpoint = history.switchpoint(old) if history and old in history.timelines else None
        # If the history file is unreadable, the last replayed position is the switchpoint.
        return Promotion(
            old_timeline=old,
            new_timeline=new,
            switchpoint=switchpoint or state["replayed_lsn"],
        )

    async def _signal_promotion(self, operation: str) -> None:
        from pgreplkit.catalog.server.replay import PROMOTE

        grant = "EXECUTE ON FUNCTION pg_promote(boolean, integer)"
        signalled = await self._link.one(operation, PROMOTE, grant=grant, meaning=_ROLE)
        if not signalled["is_signalled"]:
            found = "the postmaster could not be signalled"
            raise ServerError(operation, found, remedy="see the server's log")

    async def check_readiness(self, primary: AsyncServer | None = None) -> Readiness:
        """Check whether the standby can follow its primary, and could be promoted.

        With ``primary``, the agreement of both is checked too: settings that must not be lower,
        system identifier, major version, sizes, and whether its timeline can be followed.

        Raises: NotAStandby, InsufficientPrivilege.
        Needs: pg_monitor on both; to follow across timelines, EXECUTE on
        pg_read_binary_file(text) on the primary, which superusers have.
        Source: pg_settings, pg_control_system(), and as ``replay_status``.
        """
        from pgreplkit._async.server.server import AsyncServer
        from pgreplkit.plans.server.standbyreadiness import standby_readiness

        if primary is not None and not isinstance(primary, AsyncServer):
            raise TypeError(f"primary must be a server, not {type(primary).__name__}")
        status, own = await self.replay_status(), await self._facts()
        its = history = None
        if primary is not None:
            its = await primary._facts()
            history = await primary._history(its.identity.timeline)
        return standby_readiness(own, status, primary=its, history=history)

    async def _position(self, operation: str) -> ReplayPosition:
        position = await self._look()
        if not position.in_recovery:
            raise NotAStandby(operation, "it is not in recovery")
        return position

    async def _waits_for_wal(self) -> bool:
        from pgreplkit.catalog.server.replay import WAITS_FOR_WAL

        row = await self._link.one("read what replay waits for", WAITS_FOR_WAL)
        return bool(row["waits"])

    async def _look(self) -> ReplayPosition:
        from pgreplkit.catalog.server.replay import REPLAY_POSITION

        sql = REPLAY_POSITION.sql(self.version.major)
        return REPLAY_POSITION.read(await self._link.one("read the replay position", sql))
