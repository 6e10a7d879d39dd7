# Generated from pgreplkit/_async/standby.py by `nox -s sync`. Do not edit.
"""Standby: the server that follows another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from psycopg import Connection

from pgreplkit._sync._io import sleep, to_thread
from pgreplkit._sync.logical.streamingserver import StreamingServer
from pgreplkit._sync.server.server import Server
from pgreplkit.catalog.server.lag import ReplayLag
from pgreplkit.catalog.server.receivers import RECEIVER, Upstream, WalReceiver
from pgreplkit.catalog.server.replay import (
    APPLY_DELAY,
    PAUSE,
    PROMOTE,
    PROMOTED,
    REPLAY,
    REPLAY_POSITION,
    RESUME,
    PauseState,
    Promotion,
    ReplayPosition,
    ReplayStatus,
)
from pgreplkit.catalog.server.replayconflicts import CONFLICTS, DatabaseConflicts
from pgreplkit.catalog.server.senders import WalSender
from pgreplkit.driver.backoff import Backoff
from pgreplkit.driver.conninfo import upstream_of, without_password
from pgreplkit.driver.failures import NOT_IN_PREREQUISITE_STATE
from pgreplkit.errors import (
    Error,
    InsufficientPrivilege,
    NotAStandby,
    ServerError,
    WaitTimeout,
)
from pgreplkit.host.nodecontrol import NodeControl
from pgreplkit.plans.server.readiness import Readiness
from pgreplkit.plans.server.standbyreadiness import standby_readiness
from pgreplkit.values.lsn import LSN

_ROLE = {NOT_IN_PREREQUISITE_STATE: NotAStandby}
_STANDS_STILL = 0.2
"""Seconds without progress after which replay is taken to stand still, before 14."""


class Standby(StreamingServer):
    """A standby: a server that replays the WAL of another.

    ``connect`` raises NotAStandby on a primary; with a connection of your own, the methods that
    only a standby has raise it when they are called.
    """

    def __init__(self, connection: Connection[object]) -> None:
        super().__init__(connection)
        self._last_heard: datetime | None = None

    def _insist_on_role(self) -> None:
        self._insist_on_recovery("connect to a standby")

    def _insist_on_recovery(self, tried: str) -> None:
        if not self.is_in_recovery():
            raise NotAStandby(tried, "the server is not in recovery")

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
        status = REPLAY.read(record)
        self._last_heard = status.last_msg_receipt_time or self._last_heard
        return status

    def replay_lag(self) -> ReplayLag:
        """How far it is behind its upstream in bytes and time, at which stage, and why.

        Raises, needs and source: as ``replay_status``.
        """
        return (self.replay_status()).lag(last_heard=self._last_heard)

    def receiver(self) -> WalReceiver | None:
        """Its walreceiver; None when none runs, as when it reads from an archive only.

        Raises: NotAStandby, InsufficientPrivilege.
        Needs: pg_monitor.  Source: pg_stat_wal_receiver.
        """
        tried = "read pg_stat_wal_receiver"
        records = self._link.all(tried, RECEIVER.sql(self.version.major))
        self._insist_on_recovery(tried)
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

    def cascade(self) -> list[WalSender]:
        """Who streams from this standby; the same as ``replicas``.

        Raises: InsufficientPrivilege.  Needs: pg_monitor.  Source: pg_stat_replication.
        """
        return self.replicas()

    def conflicts(self) -> list[DatabaseConflicts]:
        """What replay has cancelled, one row a database, counted by reason.

        Raises: NotAStandby.  Source: pg_stat_database_conflicts.
        """
        tried = "read pg_stat_database_conflicts"
        self._insist_on_recovery(tried)
        records = self._link.all(tried, CONFLICTS.sql(self.version.major))
        return [CONFLICTS.read(record) for record in records]

    def pause(self, *, timeout: float = 30.0) -> None:
        """Pause replay, and wait until it stands still. WAL is still received meanwhile.

        Before 14 the server does not say when it stands; then its position has to stay the same
        for a moment.

        Raises: NotAStandby; WaitTimeout after ``timeout`` seconds: then the pause is still asked
        for, and ``resume`` takes that back.
        Needs: EXECUTE on pg_wal_replay_pause(), which superusers have.
        Source: pg_wal_replay_pause(), pg_get_wal_replay_pause_state().
        """
        tried, before = "pause replay", None
        grant = "EXECUTE ON FUNCTION pg_wal_replay_pause()"
        backoff = Backoff(timeout)
        self._link.one(tried, PAUSE, grant=grant, meaning=_ROLE)
        while True:
            position = self._position(tried)
            stands = self.version.major >= 14 or position.replayed_lsn == before
            if position.pause_state is PauseState.PAUSED and stands:
                return
            if backoff.is_over:
                raise WaitTimeout(
                    f"{tried}: it did not stand still in {timeout:g} s: {position.pause_state}"
                    f" at {position.replayed_lsn}; resume() takes the request back"
                )
            before = position.replayed_lsn
            sleep(backoff.next_pause() if self.version.major >= 14 else _STANDS_STILL)

    def resume(self) -> None:
        """Let replay go on; nothing happens when it does already.

        Raises: NotAStandby.
        Needs: EXECUTE on pg_wal_replay_resume(), which superusers have.
        Source: pg_wal_replay_resume().
        """
        grant = "EXECUTE ON FUNCTION pg_wal_replay_resume()"
        self._link.one("resume replay", RESUME, grant=grant, meaning=_ROLE)

    @contextmanager
    def paused(self, *, timeout: float = 30.0) -> Iterator[None]:
        """Replay stands still within the block, and is as it was found after it.

        When it cannot be resumed, as when the connection is lost, the error says so; one of the
        block's own is raised as it is, with a note.

        Raises and needs: as ``pause`` and ``resume``; ServerError unless the connection is in
        autocommit, because replay could not be resumed in a transaction that failed.
        """
        tried = "pause replay for a while"
        if not self._link.is_autocommit:
            raise ServerError(
                tried, "it is not done in a transaction: use an autocommit connection"
            )
        found = self._position(tried)
        try:
            self.pause(timeout=timeout)
            yield
        except BaseException as error:
            try:
                self._restore(found)
            except Error as failed:
                error.add_note(f"replay may be paused still: {failed}")
            raise
        self._restore(found)

    def _restore(self, found: ReplayPosition) -> None:
        # A standby that was promoted meanwhile has no replay that could be resumed.
        if found.pause_state is PauseState.NOT_PAUSED and self.is_in_recovery():
            self.resume()

    def wait_for_replay(self, lsn: LSN, *, timeout: float = 60.0) -> LSN:
        """Wait until it has replayed up to ``lsn``; gives how far it is then.

        Looks again after 10 ms at first, then less often, at last twice a second.

        Raises: WaitTimeout after ``timeout`` seconds; NotAStandby, also when it is promoted before
        it came so far.
        Source: pg_last_wal_replay_lsn().
        """
        tried = f"wait until {lsn} is replayed"
        if not isinstance(lsn, LSN):
            raise TypeError(f"replay is awaited up to an LSN, not a {type(lsn).__name__}")
        backoff = Backoff(timeout)
        while True:
            position = self._look()
            if position.replayed_lsn is not None and position.replayed_lsn >= lsn:
                return position.replayed_lsn
            if not position.in_recovery:
                raise NotAStandby(tried, "the server is not in recovery")
            if backoff.is_over:
                raise WaitTimeout(
                    f"{tried}: it was not in {timeout:g} s: replay is {position.pause_state}"
                    f" and at {position.replayed_lsn}"
                )
            sleep(backoff.next_pause())

    def apply_delay(self) -> timedelta | None:
        """recovery_min_apply_delay: how much later than its commit it replays a transaction.

        None before 12, where it stands in recovery.conf and cannot be asked for.
        """
        if self.version.major < 12:
            return None
        delay = (self.setting(APPLY_DELAY)).value
        return delay if isinstance(delay, timedelta) else None

    def set_apply_delay(self, delay: timedelta) -> None:
        """Delay replay by that time from now on, in milliseconds; zero ends the delay.

        Raises: UnsupportedByServer before 12: there it is written in recovery.conf, as
        ``standby_config`` does, and needs a restart; WaitTimeout when the server's configuration
        does not let it count; ValueError when it is negative or more than 24 days.
        Needs: superuser, or from 15 on ALTER SYSTEM on the parameter and EXECUTE on
        pg_reload_conf(); a connection in autocommit.
        Source: ALTER SYSTEM, pg_reload_conf().
        """
        self._link.require("standby.apply_delay")
        if not isinstance(delay, timedelta):
            raise TypeError(f"a delay is a timedelta, not {type(delay).__name__}")
        self._insist_on_recovery("set the apply delay")
        milliseconds = delay // timedelta(milliseconds=1)
        if not 0 <= milliseconds < 1 << 31:
            raise ValueError(f"a delay is from 0 to 2147483647 milliseconds, not {delay}")
        self._link.alter_system("set the apply delay", APPLY_DELAY, str(milliseconds))

    def promote(self, *, timeout: float = 60.0, control: NodeControl | None = None) -> Promotion:
        """Make it a primary, and wait until it writes; then ``Primary(standby.connection)`` is it.

        Nothing makes sure here that its old primary does not write any more: that is to be done
        before.

        Before 12 there is no SQL for it: then ``control`` does it, as ``pg_ctl promote``.

        Raises: UnsupportedByServer before 12 without ``control``; NotAStandby; ServerError before
        13 while replay is paused, which would keep the promotion waiting; WaitTimeout when it does
        not write after ``timeout`` seconds: the promotion goes on nevertheless.
        Needs: EXECUTE on pg_promote(), which superusers have.
        Source: pg_promote().
        """
        if control is None:
            self._link.require("standby.promote")
        tried = "promote the standby"
        position = self._position(tried)
        if self.version.major < 13 and position.pause_state is PauseState.PAUSED:
            raise ServerError(tried, "replay is paused, and would stay so: resume() first")
        old = self.timeline()
        backoff = Backoff(timeout)
        if control is not None and self.version.major < 12:
            to_thread(control.promote)
        else:
            self._signal_promotion(tried)
        while (state := self._link.one(tried, PROMOTED))["in_recovery"]:
            if backoff.is_over:
                raise WaitTimeout(
                    f"{tried}: it is asked for, and goes on, but it is still in recovery after"
                    f" {timeout:g} s, at {state['replayed_lsn']}"
                )
            sleep(backoff.next_pause())
        new = self.timeline()
        history = self._history(new)
        switchpoint = history.switchpoint(old) if history and old in history.timelines else None
        # What was replayed last is where it parted, where the file may not be read.
        return Promotion(
            old_timeline=old,
            new_timeline=new,
            switchpoint=switchpoint or state["replayed_lsn"],
        )

    def _signal_promotion(self, tried: str) -> None:
        grant = "EXECUTE ON FUNCTION pg_promote(boolean, integer)"
        signalled = self._link.one(tried, PROMOTE, grant=grant, meaning=_ROLE)
        if not signalled["is_signalled"]:
            raise ServerError(tried, "the postmaster could not be signalled: see the server's log")

    def check_readiness(self, primary: Server | None = None) -> Readiness:
        """Whether it can follow its primary and could take its place, one finding for each thing.

        What must agree with the primary is checked when that is given: settings that must not be
        lower, system identifier, major, sizes, and whether its timeline can be followed.

        Raises: NotAStandby, InsufficientPrivilege.
        Needs: pg_monitor on both; to follow across timelines, EXECUTE on
        pg_read_binary_file(text) on the primary, which superusers have.
        Source: pg_settings, pg_control_system(), and as ``replay_status``.
        """
        if primary is not None and not isinstance(primary, Server):
            raise TypeError(f"the primary is a Primary, not {type(primary).__name__}")
        status, own = self.replay_status(), self._facts()
        its = history = None
        if primary is not None:
            its = primary._facts()
            history = primary._history(its.identity.timeline)
        return standby_readiness(own, status, primary=its, history=history)

    def _position(self, tried: str) -> ReplayPosition:
        position = self._look()
        if not position.in_recovery:
            raise NotAStandby(tried, "the server is not in recovery")
        return position

    def _look(self) -> ReplayPosition:
        sql = REPLAY_POSITION.sql(self.version.major)
        return REPLAY_POSITION.read(self._link.one("look how far replay is", sql))
