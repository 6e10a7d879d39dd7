"""ReplayLag: the lag of a standby as it sees it; WalSender.lag is what its upstream sees."""

from datetime import datetime, timedelta

import attrs

from pgreplkit.values.lsn import LSN
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.record import Record
from pgreplkit.values.text import duration_text, size_text


class LagReason(OpenEnum):
    """Why ``time_behind`` has its value."""

    NOT_STREAMING = "not streaming"
    """No time: the position of the upstream is unknown."""
    CAUGHT_UP = "caught up"
    """Zero, however old the last commit is: all WAL of the upstream is replayed."""
    PAUSED = "paused"
    """The age of the last replayed commit, which grows because replay is paused; zero as long as
    there is nothing to replay."""
    DELAYED = "delayed"
    """The age of the last replayed commit, to which recovery_min_apply_delay contributes."""
    REPLAYING = "replaying"
    """The age of the last replayed commit, while there is more to replay."""
    UPSTREAM_BEHIND = "upstream behind"
    """No time: the standby has all WAL of its upstream, but that is a standby which is behind
    itself. Only a watch over all servers detects this; the bytes are a lower bound."""
    CLOCKS_DIFFER = "clocks differ"
    """No time: the last replayed commit is later than the standby's clock."""
    NO_COMMIT = "no commit"
    """No time: the standby replays, but has replayed no commit since it was started."""


class LagStage(OpenEnum):
    """The place of the WAL that a standby has not replayed."""

    RECEIVE = "receive"
    """At the upstream or on the network: part of it is not received yet."""
    REPLAY = "replay"
    """On the standby: all WAL that the upstream reported is received."""


@attrs.frozen(kw_only=True)
class ReplayLag(Record):
    """The lag of a standby behind its upstream: how much, where, and why.

    The upstream of a cascading standby is a standby that may itself be behind.
    """

    bytes: int | None
    """None if the position of the upstream is unknown."""
    time: timedelta | None
    """None if it cannot be determined; ``reason`` has the cause."""
    stage: LagStage | None
    """None if there is no lag, or it is unknown."""
    reason: LagReason
    heard_at: datetime | None
    """The time of the upstream's last message, and so of its known position. Without a
    walreceiver: the time at which one was last seen, if it was."""
    age: timedelta | None
    """The time since ``heard_at``."""
    clock_difference: timedelta | None
    """The upstream's clock minus the standby's, minus the transfer time of the last message."""

    def __str__(self) -> str:
        parts = [str(self.reason)]
        if self.bytes:
            parts.append(f"{size_text(self.bytes)} behind")
        if self.time:
            parts.append(duration_text(self.time))
        return ", ".join(parts)


@attrs.frozen(kw_only=True)
class ReplayFacts:
    """The part of a standby's status from which its lag is computed."""

    is_streaming: bool
    is_paused: bool
    is_delayed: bool
    received_lsn: LSN | None
    replayed_lsn: LSN | None
    upstream_lsn: LSN | None
    """The end of the upstream's WAL in its last message."""
    last_commit_time: datetime | None
    observed_at: datetime

    @property
    def bytes(self) -> int | None:
        """The WAL between the replayed position and the end of the upstream's WAL.

        None without streaming, because then nothing is known of the upstream.
        """
        known = [lsn for lsn in (self.received_lsn, self.upstream_lsn) if lsn is not None]
        if not self.is_streaming or not known or self.replayed_lsn is None:
            return None
        return max(0, max(known) - self.replayed_lsn)

    @property
    def reason(self) -> LagReason:
        """Why ``time`` has its value."""
        if self.bytes is None:
            return LagReason.NOT_STREAMING
        # Also without a lag: the next commit will not be replayed.
        if self.is_paused:
            return LagReason.PAUSED
        if self.bytes == 0:
            return LagReason.CAUGHT_UP
        if self.is_delayed:
            return LagReason.DELAYED
        if self.last_commit_time is None:
            return LagReason.NO_COMMIT
        is_later = self.last_commit_time > self.observed_at
        return LagReason.CLOCKS_DIFFER if is_later else LagReason.REPLAYING

    @property
    def time(self) -> timedelta | None:
        """The age of the last replayed commit, if there is more WAL to replay; otherwise 0.

        The age alone says nothing: on an idle primary it grows although the standby has
        everything. It compares two clocks: None if the commit lies in the standby's future.
        """
        if self.bytes == 0:
            return timedelta(0)
        if self.last_commit_time is None or self.bytes is None:
            return None
        age = self.observed_at - self.last_commit_time
        return age if age >= timedelta(0) else None

    @property
    def stage(self) -> LagStage | None:
        """The place of the WAL that is not replayed; None if there is none, or it is unknown."""
        if not self.bytes:
            return None
        end, received = self.upstream_lsn, self.received_lsn
        if end is not None and (received is None or received < end):
            return LagStage.RECEIVE
        return LagStage.REPLAY
