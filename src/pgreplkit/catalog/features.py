"""FEATURES: what a command needs of the server's major; checked before anything is sent."""

from __future__ import annotations

import attrs


@attrs.frozen
class Feature:
    """What a user would call it, and the first major that has it."""

    what: str
    since: int


FEATURES = {
    "slot.advance": Feature("advance a slot", 11),
    "slot.copy": Feature("copy a slot", 12),
    "slot.two_phase": Feature("two_phase of a logical slot", 14),
    "slot.failover": Feature("failover of a logical slot", 17),
    "slot.logical_on_standby": Feature("a logical slot on a standby", 16),
    "standby.apply_delay": Feature(
        "recovery_min_apply_delay without a restart (it stands in recovery.conf)", 12
    ),
    "standby.promote": Feature("pg_promote() (before, a trigger file or pg_ctl promote)", 12),
    "basebackup.server_compression": Feature("compression of a base backup by the server", 15),
    "basebackup.progress": Feature("pg_stat_progress_basebackup", 13),
}
