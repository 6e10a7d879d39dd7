"""Readiness of a standby to follow its primary, and to be promoted."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from pgreplkit.catalog.server.replay import PauseState, ReplayStatus
from pgreplkit.plans.cluster.standbyconfig import RECOVERY_TARGETS
from pgreplkit.plans.server.readiness import (
    Readiness,
    Settings,
    checked,
    number,
    rewindable,
    setting_found,
    shown,
    unknown,
    value_of,
)
from pgreplkit.values.finding import EffectiveAfter, Finding, Severity
from pgreplkit.values.identity import SystemIdentity
from pgreplkit.values.timeline import TimelineHistory

# A standby keeps the primary's transactions and locks in shared memory of these sizes. From 12 on
# walsenders are no longer part of max_connections.
NOT_BELOW_PRIMARY = {
    "max_connections": 10,
    "max_worker_processes": 10,
    "max_prepared_transactions": 10,
    "max_locks_per_transaction": 10,
    "max_wal_senders": 12,
}
"""Settings that must not be lower than on the primary, and the first major version for each."""
# Before 11 the segment size is fixed by the build, from 11 on by initdb.
_SIZES = ("wal_segment_size", "block_size", "wal_block_size")


@attrs.frozen(kw_only=True)
class NodeFacts:
    """The facts about a server."""

    major: int
    identity: SystemIdentity
    settings: Settings


def standby_readiness(
    standby: NodeFacts,
    status: ReplayStatus,
    *,
    primary: NodeFacts | None,
    history: TimelineHistory | None,
) -> Readiness:
    """Check whether a standby can follow its primary, and be promoted.

    ``history`` is the history of the primary's timeline, if it could be read.
    """
    findings = [
        *_own_state(standby.settings, status),
        *rewindable(standby.settings),
        *(_agreement(standby, status, primary, history) if primary else _primary_not_given()),
    ]
    return Readiness(findings=tuple(findings))


def _own_state(settings: Settings, status: ReplayStatus) -> Iterator[Finding]:
    yield setting_found(
        settings,
        "hot_standby",
        value_of(settings, "hot_standby") is True,
        needed="on, to answer queries",
        value="on",
        otherwise=Severity.WARNING,
    )
    # Before 12 both are parameters of recovery.conf, and not in pg_settings.
    if "primary_conninfo" in settings:
        sources = (value_of(settings, "primary_conninfo"), value_of(settings, "restore_command"))
        yield checked(
            "primary_conninfo",
            ok=any(sources),
            observed="set" if sources[0] else "empty",
            needed="set, or a restore_command",
            remedy="ALTER SYSTEM SET primary_conninfo = '…'",
            effective_after=EffectiveAfter.RELOAD,
        )
    from_archive = not value_of(settings, "primary_conninfo") and "primary_conninfo" in settings
    # Only a warning: a standby may be catching up from the archive before it streams.
    yield checked(
        "receiver",
        ok=status.is_streaming or from_archive,
        observed=str(status.receiver_status or "not running"),
        needed="none: the standby reads an archive" if from_archive else "streaming",
        remedy="see the standby's log for the reason why its walreceiver does not connect",
        otherwise=Severity.WARNING,
    )
    yield checked(
        "replay",
        ok=status.pause_state is PauseState.NOT_PAUSED,
        observed=str(status.pause_state),
        needed="not paused",
        remedy="SELECT pg_wal_replay_resume()",
        otherwise=Severity.WARNING,
    )
    # From 12 on it is latest by default; a clone of a restored server may have another.
    if "recovery_target_timeline" in settings:
        yield setting_found(
            settings,
            "recovery_target_timeline",
            value_of(settings, "recovery_target_timeline") == "latest",
            needed="latest, to follow another standby after its promotion",
            value="'latest'",
            otherwise=Severity.WARNING,
        )
    yield from _recovery_target(settings)
    # The standby needs its own limits after its promotion.
    yield setting_found(
        settings,
        "max_wal_senders",
        number(settings, "max_wal_senders") != 0,
        needed="more than 0, for the standbys that follow it after its promotion",
        value="10",
        otherwise=Severity.WARNING,
    )


def _recovery_target(settings: Settings) -> Iterator[Finding]:
    """Check that no recovery target is left from a restore, which would end the replay."""
    for setting in RECOVERY_TARGETS:
        if value_of(settings, setting):
            action = value_of(settings, "recovery_target_action")
            yield checked(
                setting,
                ok=False,
                observed=f"{value_of(settings, setting)}, with recovery_target_action = {action}",
                needed="empty: at the target, a standby ends its replay, or promotes itself",
                remedy=f"ALTER SYSTEM SET {setting} = ''",
                effective_after=EffectiveAfter.RESTART,
                otherwise=Severity.WARNING,
            )


def _agreement(
    standby: NodeFacts,
    status: ReplayStatus,
    primary: NodeFacts,
    history: TimelineHistory | None,
) -> Iterator[Finding]:
    own, its = standby.identity.system_id, primary.identity.system_id
    yield checked(
        "system identifier",
        ok=own == its,
        observed=own,
        needed=f"{its}, the primary's",
        remedy="create the standby from a base backup of its primary",
    )
    yield checked(
        "major",
        ok=standby.major == primary.major,
        observed=standby.major,
        needed=f"{primary.major}, the primary's",
        remedy="run the primary's major version: physical replication needs the same on both",
    )
    # These are fixed by initdb or by the build, and decide the format of the WAL.
    for name in _SIZES:
        if name in standby.settings and name in primary.settings:
            same = standby.settings[name].setting == primary.settings[name].setting
            yield checked(
                name,
                ok=same,
                observed=shown(standby.settings[name]),
                needed=f"{shown(primary.settings[name])}, the primary's",
                remedy="create the standby from a base backup of its primary",
            )
    for name, since in NOT_BELOW_PRIMARY.items():
        if standby.major >= since:
            yield _not_below_primary(name, standby, primary)
    yield _timeline(standby, status, primary, history)


def _not_below_primary(name: str, standby: NodeFacts, primary: NodeFacts) -> Finding:
    own, its = number(standby.settings, name), number(primary.settings, name)
    check = f"{name} compared with the primary"
    if own is None or its is None:
        side = "the standby's" if own is None else "the primary's"
        return unknown(check, f"{side} {name}", needed="at least the primary's value")
    finding = setting_found(
        standby.settings,
        name,
        own >= its,
        needed=f"at least {its}, the primary's: replay "
        + ("pauses" if standby.major >= 14 else "stops")
        + " otherwise",
        value=str(its),
    )
    return attrs.evolve(finding, check=check)


def _timeline(
    standby: NodeFacts,
    status: ReplayStatus,
    primary: NodeFacts,
    history: TimelineHistory | None,
) -> Finding:
    own, its = standby.identity.timeline, primary.identity.timeline
    here = status.replayed_lsn
    remedy = "pg_rewind, or a new base backup: its WAL has diverged"
    needed = f"a position on the history of timeline {its}, the primary's"
    at = f"timeline {own} at {here}"
    if own == its:
        # A standby ahead of its primary has WAL that the primary has lost, as after a crash.
        end = primary.identity.position
        is_behind = here is None or end is None or here <= end
        return checked("timeline", ok=is_behind, observed=at, needed=f"up to {end}", remedy=remedy)
    # Without the history file nothing can be said about another timeline.
    if history is None or here is None:
        return Finding(check="timeline", severity=Severity.INFO, found=at, needed=needed)
    return checked(
        "timeline", ok=history.can_follow(own, here), observed=at, needed=needed, remedy=remedy
    )


def _primary_not_given() -> Iterator[Finding]:
    yield Finding(
        check="primary",
        severity=Severity.INFO,
        found="unknown: the settings that must agree with it were not checked",
        needed="the primary",
        remedy="check_readiness(primary=…)",
    )
