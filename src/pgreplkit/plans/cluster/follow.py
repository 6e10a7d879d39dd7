"""Whether a server can follow another: by the upstream's history and its own position."""

from __future__ import annotations

from pgreplkit.plans.server.readiness import checked
from pgreplkit.values.controlfile import ControlFile, ControlState
from pgreplkit.values.finding import Finding
from pgreplkit.values.identity import SystemIdentity
from pgreplkit.values.lsn import LSN
from pgreplkit.values.timeline import TimelineHistory

_REMEDY = "bring it back by rejoin(), which uses pg_rewind, or make it anew by clone_standby()"


def can_follow(
    own: SystemIdentity,
    upstream: SystemIdentity,
    history: TimelineHistory | None,
    *,
    upstream_writes: bool,
) -> Finding:
    """Whether a standby's WAL lies in the history of its upstream-to-be.

    ``own`` was asked before ``upstream``, which has gone on since.
    """
    if own.system_id != upstream.system_id:
        return checked(
            "history",
            ok=False,
            observed=f"it is of system {own.system_id}, and the upstream of {upstream.system_id}",
            needed="two servers of one system",
            remedy="make it anew by clone_standby()",
        )
    needed = "its WAL lies in the history of the upstream"
    if own.timeline == upstream.timeline:
        # A standby may be behind another one, and will come to where that is.
        is_ahead = upstream_writes and own.position > upstream.position
        return checked(
            "history",
            ok=not is_ahead,
            observed=f"both are on timeline {own.timeline}, it is at {own.position},"
            f" the upstream at {upstream.position}",
            needed=f"{needed}, and it has no more of it",
            remedy=_REMEDY,
        )
    if history is None:
        return checked(
            "history",
            ok=False,
            observed=f"the history of timeline {upstream.timeline} cannot be read",
            needed=needed,
            remedy="GRANT EXECUTE ON FUNCTION pg_read_binary_file(text), or use a superuser",
        )
    return checked(
        "history",
        ok=history.can_follow(own.timeline, own.position),
        observed=f"it is at {own.position} of timeline {own.timeline},"
        f" {_left(history, own.timeline)}",
        needed=needed,
        remedy=_REMEDY,
    )


def needs_rewind(stopped: ControlFile, history: TimelineHistory) -> bool | None:
    """Whether a stopped server has WAL that this history has not; None when it cannot be told.

    A clean shutdown's checkpoint is a server's last record: when that begins before the
    switchpoint, it is a record of the history too, and so is all before it. After a crash nobody
    knows where the WAL ends before it is recovered.
    """
    if stopped.timeline not in history.timelines:
        return True
    end = history.switchpoint(stopped.timeline)
    if stopped.state is ControlState.SHUT_DOWN_IN_RECOVERY:
        last = max(stopped.checkpoint_lsn, stopped.min_recovery_lsn)
        timeline = max(stopped.timeline, stopped.min_recovery_timeline)
        return not history.can_follow(timeline, last)
    if end is not None and stopped.checkpoint_lsn >= end:
        return True
    if not stopped.is_clean:
        return None
    return False


def _left(history: TimelineHistory, timeline: int) -> str:
    if timeline not in history.timelines:
        return f"which is none of the upstream's: {', '.join(map(str, history.timelines))}"
    end: LSN | None = history.switchpoint(timeline)
    return f"which the upstream left at {end}"
