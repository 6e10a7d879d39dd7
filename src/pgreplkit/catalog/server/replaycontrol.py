"""The SQL that pauses replay, lets it go on, and looks how far it is."""

from __future__ import annotations

import attrs

from pgreplkit.catalog.server.replay import PAUSE_STATE, PauseState
from pgreplkit.catalog.view import View, lives
from pgreplkit.values.lsn import LSN

PAUSE = "SELECT pg_wal_replay_pause()"
RESUME = "SELECT pg_wal_replay_resume()"


@attrs.frozen(kw_only=True)
class ReplayPosition:
    """How far replay is, and whether it goes on: what waiting for it looks at, cheaply."""

    in_recovery: bool = attrs.field(metadata=lives(sql="pg_is_in_recovery()"))
    replayed_lsn: LSN | None = attrs.field(metadata=lives(sql="pg_last_wal_replay_lsn()"))
    pause_state: PauseState | None = attrs.field(
        converter=attrs.converters.optional(PauseState), metadata=PAUSE_STATE
    )


REPLAY_POSITION = View(ReplayPosition, "(SELECT) AS one")
PROMOTE = "SELECT pg_promote(false) AS is_signalled"
PROMOTED = """
    SELECT pg_is_in_recovery() AS in_recovery, pg_last_wal_replay_lsn() AS replayed_lsn
"""
APPLY_DELAY = "recovery_min_apply_delay"


@attrs.frozen(kw_only=True)
class Promotion:
    """What a promotion has made of a standby.

    Source: pg_promote(), and the history file of the new timeline.
    """

    old_timeline: int
    new_timeline: int
    switchpoint: LSN
    """Where the old timeline ended and the new one began."""
