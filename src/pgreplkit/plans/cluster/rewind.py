"""Whether a server's WAL has diverged from the primary's, and whether pg_rewind can fix that."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from pgreplkit.catalog.features import has
from pgreplkit.errors import ControlFailed
from pgreplkit.plans.server.readiness import checked
from pgreplkit.values.controlfile import ControlFile, ControlState
from pgreplkit.values.finding import Finding
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.timeline import TimelineHistory

NEW_COPY = "make a new copy with plan_clone()"


class RewindFailed(ControlFailed):
    """pg_rewind failed after it began to write: the data directory cannot be used any longer."""

    remedy = NEW_COPY


class Divergence(OpenEnum):
    """Whether a server has WAL that its future primary lacks."""

    NONE = "none"
    DIVERGED = "diverged"
    UNKNOWN = "unknown"
    """Known only after the server has been shut down or has recovered; pg_rewind decides then."""

    @property
    def needs_rewind(self) -> bool:
        """Whether to run pg_rewind, which changes nothing where it finds no divergence."""
        return self is not Divergence.NONE


def divergence(
    control: ControlFile, history: TimelineHistory, *, is_running: bool = False
) -> Divergence:
    """Compare the end of a server's WAL with the history of its future primary.

    ``control`` is the server's control file; while the server runs, that is its last checkpoint.

    A shutdown checkpoint is the last record of a server. If it begins before the switchpoint, it
    belongs to the primary's history, and so does all WAL before it. After a crash, the end of WAL
    is known only to recovery.
    """
    # It was promoted, too, and has a timeline of its own.
    if control.timeline not in history.timelines:
        return Divergence.DIVERGED
    if control.state is ControlState.SHUT_DOWN_IN_RECOVERY and not is_running:
        # A standby stops after the last record that it replayed, which min_recovery_lsn covers.
        last = max(control.checkpoint_lsn, control.min_recovery_lsn)
        timeline = max(control.timeline, control.min_recovery_timeline)
        return Divergence.NONE if history.can_follow(timeline, last) else Divergence.DIVERGED
    end = history.section(control.timeline).end
    if end is not None and control.checkpoint_lsn >= end:
        return Divergence.DIVERGED
    if is_running:
        # A primary writes a shutdown checkpoint when it stops; a standby writes no WAL.
        writes = control.state is ControlState.IN_PRODUCTION
        is_left = control.timeline != history.timeline
        return Divergence.DIVERGED if writes and is_left else Divergence.UNKNOWN
    return Divergence.NONE if control.is_clean else Divergence.UNKNOWN


@attrs.frozen(kw_only=True)
class RewindFacts:
    """The state of a server's host and files, as far as pg_rewind needs it."""

    major: int
    """Major version of the data directory."""
    control: ControlFile
    is_running: bool
    version: str | None
    """Output of pg_rewind --version; None if the host lacks the program."""
    was_tried: bool
    """Whether a dry run was made: pg_rewind accepts only a server that was shut down cleanly."""
    refusal: str | None
    """Error of the dry run; None if there was none."""

    @property
    def can_be_tried(self) -> bool:
        """Whether a dry run is possible."""
        return self.version is not None and self.control.is_clean and not self.is_running


def rewind_findings(facts: RewindFacts) -> Iterator[Finding]:
    """Check that pg_rewind exists, accepts the server, and finds the WAL that it needs."""
    control = facts.control
    yield checked(
        "pg_rewind",
        ok=facts.version is not None,
        observed=facts.version or "not installed on its host",
        needed=f"pg_rewind of major version {facts.major}",
        remedy=f"install it, or {NEW_COPY}",
    )
    yield checked(
        "wal_log_hints",
        ok=control.can_rewind,
        observed=f"wal_log_hints {_on(control.wal_log_hints)}, data checksums"
        f" {_on(control.data_checksums)}",
        needed="one of them on since before the divergence",
        remedy=NEW_COPY,
    )
    yield checked(
        "shutdown",
        # A running server is shut down cleanly by the plan.
        ok=has("rewind.recovery", facts.major) or control.is_clean or facts.is_running,
        observed=f"the server is {control.state}",
        needed="a clean shutdown; from version 13 on pg_rewind recovers the server itself",
        remedy=f"start it where no client can reach it and stop it, or {NEW_COPY}",
    )
    # pg_rewind tries a server only after it was shut down cleanly.
    assumed = "it would succeed" if facts.was_tried else "possible only after a clean shutdown"
    yield checked(
        "pg_rewind --dry-run",
        ok=facts.refusal is None,
        observed=facts.refusal or assumed,
        needed="all WAL since the divergence, and permission to read the primary's files",
        remedy=NEW_COPY,
    )


def _on(value: bool) -> str:
    return "on" if value else "off"
