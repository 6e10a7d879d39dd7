"""ReplayStatus: a standby's received and replayed WAL; and the SQL that controls replay."""

from datetime import datetime, timedelta

import attrs

from pgreplkit.catalog.server.lag import LagReason, LagStage, ReplayFacts, ReplayLag
from pgreplkit.catalog.server.receivers import ReceiverState
from pgreplkit.catalog.view import View, column
from pgreplkit.values.lsn import LSN
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.record import Record


class PauseState(OpenEnum):
    """The state of a requested pause of replay."""

    NOT_PAUSED = "not paused"
    PAUSE_REQUESTED = "pause requested"
    """Requested, but replay has not stopped yet (14 on)."""
    PAUSED = "paused"
    """Before 14 the server reports this as soon as a pause is requested."""


# Both functions raise an error on a primary; NULL means that the server is one.
PAUSE_STATE = column(
    sql="CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() END",
    before=14,
    older_sql="""CASE WHEN pg_is_in_recovery() THEN
        CASE WHEN pg_is_wal_replay_paused() THEN 'paused' ELSE 'not paused' END END""",
)


@attrs.frozen(kw_only=True)
class ReplayStatus(Record):
    """The received and replayed WAL of a standby, read in one statement.

    Source: pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn(), pg_last_xact_replay_timestamp(),
    pg_get_wal_replay_pause_state() (before 14 pg_is_wal_replay_paused()), pg_stat_wal_receiver.
    """

    received_lsn: LSN | None = attrs.field(metadata=column(sql="pg_last_wal_receive_lsn()"))
    """Received by streaming and on disk; None if this server has not streamed since its start."""
    replayed_lsn: LSN | None = attrs.field(metadata=column(sql="pg_last_wal_replay_lsn()"))
    last_commit_time: datetime | None = attrs.field(
        metadata=column(sql="pg_last_xact_replay_timestamp()")
    )
    """When the last replayed transaction was committed or aborted, by the primary's clock."""
    pause_state: PauseState = attrs.field(converter=PauseState, metadata=PAUSE_STATE)
    apply_delay: timedelta | None = attrs.field(
        default=None,
        metadata=column(
            since=12,
            sql="""(SELECT make_interval(secs => setting::float8 / 1000::float8)
                FROM pg_settings WHERE name = 'recovery_min_apply_delay')""",
        ),
    )
    """recovery_min_apply_delay; None before 12, where it is a parameter of recovery.conf."""
    receiver_pid: int | None = attrs.field(metadata=column(sql="pid"))
    receiver_status: ReceiverState | None = attrs.field(
        converter=attrs.converters.optional(ReceiverState), metadata=column(sql="status")
    )
    """None if no walreceiver is running."""
    latest_end_lsn: LSN | None
    """The end of the upstream's WAL in its last message to the walreceiver."""
    last_msg_send_time: datetime | None
    """When the upstream sent its last message, by its own clock."""
    last_msg_receipt_time: datetime | None
    """When the walreceiver received that message."""
    observed_at: datetime = attrs.field(metadata=column(sql="clock_timestamp()"))
    """The server's clock at the time of this status."""

    @property
    def unreplayed_bytes(self) -> int | None:
        """WAL that is received and not replayed yet, in bytes; None without a position."""
        if self.received_lsn is None or self.replayed_lsn is None:
            return None
        return max(0, self.received_lsn - self.replayed_lsn)

    @property
    def is_streaming(self) -> bool:
        """Whether a walreceiver is connected and receiving."""
        return self.receiver_status is ReceiverState.STREAMING

    @property
    def bytes_behind(self) -> int | None:
        """Bytes between the replayed position and the end of the upstream's WAL, as far as known.

        None without streaming, because then nothing is known of the upstream.
        """
        return self._facts.bytes

    @property
    def lag_reason(self) -> LagReason:
        """Why ``time_behind`` has its value."""
        return self._facts.reason

    @property
    def time_behind(self) -> timedelta | None:
        """The lag in time, where it can be determined; ``lag_reason`` explains it.

        The age of the last commit alone says nothing: on an idle primary it grows although the
        standby has everything. Here it counts only if there is more WAL to replay. It compares the
        standby's clock with the primary's: None if the commit lies in the standby's future. None
        too as long as no commit has been replayed since the server's start.
        """
        return self._facts.time

    @property
    def lag_stage(self) -> LagStage | None:
        """The place of the WAL that is not replayed; None if there is none, or it is unknown."""
        return self._facts.stage

    @property
    def clock_difference(self) -> timedelta | None:
        """The upstream's clock minus the standby's, minus the transfer time of the last message."""
        if self.last_msg_send_time is None or self.last_msg_receipt_time is None:
            return None
        return self.last_msg_send_time - self.last_msg_receipt_time

    def lag(self, *, last_heard: datetime | None = None) -> ReplayLag:
        """Return the lag that this status shows.

        ``last_heard`` is the time of the upstream's last message before the walreceiver ended, if
        it was seen.
        """
        facts, heard_at = self._facts, self.last_msg_receipt_time or last_heard
        return ReplayLag(
            bytes=facts.bytes,
            time=facts.time,
            stage=facts.stage,
            reason=facts.reason,
            heard_at=heard_at,
            age=None if heard_at is None else max(timedelta(0), self.observed_at - heard_at),
            clock_difference=self.clock_difference,
        )

    @property
    def silence(self) -> timedelta | None:
        """The time since the upstream's last message; None if no walreceiver is running.

        An idle upstream sends a message about every half of wal_receiver_timeout. A longer silence
        means that the known position of the upstream is out of date.
        """
        if self.last_msg_receipt_time is None:
            return None
        return max(timedelta(0), self.observed_at - self.last_msg_receipt_time)

    @property
    def _facts(self) -> ReplayFacts:
        return ReplayFacts(
            is_streaming=self.is_streaming,
            is_paused=self.pause_state is not PauseState.NOT_PAUSED,
            is_delayed=bool(self.apply_delay),
            received_lsn=self.received_lsn,
            replayed_lsn=self.replayed_lsn,
            upstream_lsn=self.latest_end_lsn,
            last_commit_time=self.last_commit_time,
            observed_at=self.observed_at,
        )


REPLAY = View(ReplayStatus, "(SELECT) AS one LEFT JOIN pg_stat_wal_receiver ON true")


@attrs.frozen(kw_only=True)
class ReplayPosition:
    """The replayed position and the pause state, for polling: cheaper than ReplayStatus."""

    in_recovery: bool = attrs.field(metadata=column(sql="pg_is_in_recovery()"))
    replayed_lsn: LSN | None = attrs.field(metadata=column(sql="pg_last_wal_replay_lsn()"))
    pause_state: PauseState | None = attrs.field(
        converter=attrs.converters.optional(PauseState), metadata=PAUSE_STATE
    )


REPLAY_POSITION = View(ReplayPosition, "(SELECT) AS one")
WAITS_FOR_WAL = """
    SELECT count(*) = 1 AS waits FROM pg_stat_activity
    WHERE backend_type = 'startup'
        AND wait_event IN ('RecoveryWalAll', 'RecoveryWalStream', 'RecoveryRetrieveRetryInterval')
"""
"""Whether replay waits for more WAL, and neither for a pause nor for a delay or a conflict.

RecoveryWalAll is the name before 13 of RecoveryWalStream.
"""
PAUSE = "SELECT pg_wal_replay_pause()"
RESUME = "SELECT pg_wal_replay_resume()"
APPLY_DELAY = "recovery_min_apply_delay"
PROMOTE = "SELECT pg_promote(false) AS is_signalled"
PROMOTED = """
    SELECT pg_is_in_recovery() AS in_recovery, pg_last_wal_replay_lsn() AS replayed_lsn
"""


@attrs.frozen(kw_only=True)
class Promotion(Record):
    """The result of a promotion.

    Source: pg_promote(), and the history file of the new timeline.
    """

    old_timeline: int
    new_timeline: int
    switchpoint: LSN
    """The position at which the old timeline ended and the new one began."""
