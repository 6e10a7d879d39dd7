"""ReplayStatus: how far a standby has replayed, and what a time behind means."""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs

from pgreplkit.catalog.server.receivers import ReceiverState
from pgreplkit.catalog.view import View, lives
from pgreplkit.values.lsn import LSN
from pgreplkit.values.openenum import OpenEnum


class PauseState(OpenEnum):
    """Whether replay stands still because it was asked to."""

    NOT_PAUSED = "not paused"
    PAUSE_REQUESTED = "pause requested"
    """Asked for, but replay has not come to a stop yet (14 on)."""
    PAUSED = "paused"
    """Before 14 the server says so as soon as a pause was asked for."""


class LagReason(OpenEnum):
    """Why ``time_behind`` is what it is."""

    NOT_STREAMING = "not streaming"
    """No time: what the upstream has is not known."""
    CAUGHT_UP = "caught up"
    """Zero, however old the last commit is: all that the upstream has is replayed."""
    PAUSED = "paused"
    """The age of the last commit replayed, which grows because replay is paused."""
    DELAYED = "delayed"
    """The age of the last commit replayed, to which recovery_min_apply_delay contributes."""
    REPLAYING = "replaying"
    """The age of the last commit replayed, while there is more to replay."""
    UPSTREAM_BEHIND = "upstream behind"
    """No time: it has all that its upstream has, but that is a standby which is behind itself.
    Only a watch over all of them can tell; the bytes are at least so many."""
    CLOCKS_DIFFER = "clocks differ"
    """No time: the last commit replayed is later than the standby's clock."""
    NO_COMMIT = "no commit"
    """No time: it replays, but no commit was replayed yet since this server started."""


class LagStage(OpenEnum):
    """Where the WAL is that a standby has not replayed."""

    RECEIVE = "receive"
    """At the upstream, or on the way: not all of it is received."""
    REPLAY = "replay"
    """Here: all that the upstream told of is received."""


@attrs.frozen(kw_only=True)
class ReplayLag:
    """How far a standby is behind its upstream, where that waits, and why.

    The upstream of a cascading standby is a standby that may itself be behind.
    """

    bytes: int | None
    """None when nobody tells where the upstream is."""
    time: timedelta | None
    """None where it cannot be said, for which ``reason`` has the cause."""
    stage: LagStage | None
    """None when nothing is waiting, or nobody tells."""
    reason: LagReason
    heard_at: datetime | None
    """When the upstream was last heard of, which is how new its position is. With a receiver that
    is gone: since when, as far as it was seen."""
    age: timedelta | None
    """How long ago that was."""
    clock_difference: timedelta | None
    """The upstream's clock less the standby's, less the way of the last message."""


# Both functions raise on a primary; NULL tells that it is one.
PAUSE_STATE = lives(
    sql="CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() END",
    before=14,
    older_sql="""CASE WHEN pg_is_in_recovery() THEN
        CASE WHEN pg_is_wal_replay_paused() THEN 'paused' ELSE 'not paused' END END""",
)


def _later(a: LSN | None, b: LSN | None) -> LSN | None:
    return max(a, b) if a is not None and b is not None else a or b


@attrs.frozen(kw_only=True)
class ReplayStatus:
    """What a standby has received and replayed, all read in one statement.

    Source: pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn(), pg_last_xact_replay_timestamp(),
    pg_get_wal_replay_pause_state() (before 14 pg_is_wal_replay_paused()), pg_stat_wal_receiver.
    """

    received_lsn: LSN | None = attrs.field(metadata=lives(sql="pg_last_wal_receive_lsn()"))
    """Received by streaming and on disk; None when this server never streamed since it started."""
    replayed_lsn: LSN | None = attrs.field(metadata=lives(sql="pg_last_wal_replay_lsn()"))
    last_commit_time: datetime | None = attrs.field(
        metadata=lives(sql="pg_last_xact_replay_timestamp()")
    )
    """When the last transaction replayed was committed or aborted, by the primary's clock."""
    pause_state: PauseState = attrs.field(converter=PauseState, metadata=PAUSE_STATE)
    apply_delay: timedelta | None = attrs.field(
        default=None,
        metadata=lives(
            since=12,
            sql="""(SELECT make_interval(secs => setting::float8 / 1000::float8)
                FROM pg_settings WHERE name = 'recovery_min_apply_delay')""",
        ),
    )
    """recovery_min_apply_delay; None before 12, where it stands in recovery.conf."""
    receiver_pid: int | None = attrs.field(metadata=lives(sql="pid"))
    receiver_status: ReceiverState | None = attrs.field(
        converter=attrs.converters.optional(ReceiverState), metadata=lives(sql="status")
    )
    """None when no walreceiver runs."""
    latest_end_lsn: LSN | None
    """The end of the upstream's WAL, as it last told the walreceiver."""
    last_msg_send_time: datetime | None
    """When the upstream sent what was last heard of it, by its clock."""
    last_msg_receipt_time: datetime | None
    """When the walreceiver last heard of the upstream."""
    observed_at: datetime = attrs.field(metadata=lives(sql="clock_timestamp()"))
    """The server's clock when it answered."""

    @property
    def unreplayed_bytes(self) -> int | None:
        """Received and not replayed yet, in bytes; None without a position."""
        if self.received_lsn is None or self.replayed_lsn is None:
            return None
        return max(0, self.received_lsn - self.replayed_lsn)

    @property
    def bytes_behind(self) -> int | None:
        """Bytes from what is replayed to the end of the upstream's WAL, as far as it is known.

        None when not streaming, because then nobody tells where the upstream is.
        """
        end = _later(self.received_lsn, self.latest_end_lsn)
        if not self.is_streaming or end is None or self.replayed_lsn is None:
            return None
        return max(0, end - self.replayed_lsn)

    @property
    def is_streaming(self) -> bool:
        """Whether a walreceiver is connected and receiving."""
        return self.receiver_status is ReceiverState.STREAMING

    @property
    def lag_reason(self) -> LagReason:
        """Why ``time_behind`` is what it is."""
        if self.bytes_behind is None:
            return LagReason.NOT_STREAMING
        if self.bytes_behind == 0:
            return LagReason.CAUGHT_UP
        if self.pause_state is not PauseState.NOT_PAUSED:
            return LagReason.PAUSED
        if self.apply_delay:
            return LagReason.DELAYED
        if self.last_commit_time is None:
            return LagReason.NO_COMMIT
        late = self.last_commit_time > self.observed_at
        return LagReason.CLOCKS_DIFFER if late else LagReason.REPLAYING

    @property
    def time_behind(self) -> timedelta | None:
        """How far behind in time, where that can be said; ``lag_reason`` says what it means.

        The age of the last commit alone says nothing: on an idle primary it grows while the
        standby has everything. Here it counts only when there is something to replay. It compares
        the standby's clock with the primary's: None when the commit is later than now. None too
        as long as no commit was replayed since the server started.
        """
        reason = self.lag_reason
        if reason is LagReason.CAUGHT_UP:
            return timedelta(0)
        if self.last_commit_time is None or reason is LagReason.NOT_STREAMING:
            return None
        age = self.observed_at - self.last_commit_time
        return age if age >= timedelta(0) else None

    @property
    def lag_stage(self) -> LagStage | None:
        """Where the WAL is that is not replayed; None when there is none, or nobody tells."""
        if not self.bytes_behind:
            return None
        end, received = self.latest_end_lsn, self.received_lsn
        if end is not None and (received is None or received < end):
            return LagStage.RECEIVE
        return LagStage.REPLAY

    @property
    def clock_difference(self) -> timedelta | None:
        """The upstream's clock less the standby's, less the way of the last message."""
        if self.last_msg_send_time is None or self.last_msg_receipt_time is None:
            return None
        return self.last_msg_send_time - self.last_msg_receipt_time

    def lag(self, *, last_heard: datetime | None = None) -> ReplayLag:
        """All that it says of lag in one value.

        ``last_heard`` is when the upstream was last heard of before the receiver went, if somebody
        saw it.
        """
        heard_at = self.last_msg_receipt_time or last_heard
        return ReplayLag(
            bytes=self.bytes_behind,
            time=self.time_behind,
            stage=self.lag_stage,
            reason=self.lag_reason,
            heard_at=heard_at,
            age=None if heard_at is None else max(timedelta(0), self.observed_at - heard_at),
            clock_difference=self.clock_difference,
        )

    @property
    def silence(self) -> timedelta | None:
        """How long the upstream has not been heard of; None when no walreceiver runs.

        An idle upstream is heard of about every half of wal_receiver_timeout. A longer silence
        means that what is known of its position is old.
        """
        if self.last_msg_receipt_time is None:
            return None
        return max(timedelta(0), self.observed_at - self.last_msg_receipt_time)


REPLAY = View(ReplayStatus, "(SELECT) AS one LEFT JOIN pg_stat_wal_receiver ON true")
