"""Readiness of a primary for standbys or subscribers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

import attrs

from pgreplkit.catalog.server.retention import ArchiverStatus
from pgreplkit.catalog.server.senders import SenderState, WalSender
from pgreplkit.catalog.server.slot import SlotState, SlotType
from pgreplkit.plans.server.readiness import (
    Readiness,
    Settings,
    archiving_setting,
    checked,
    free_places,
    names_of,
    number,
    rewindable,
    setting_found,
    shown,
    value_of,
)
from pgreplkit.plans.server.synccommits import confirming
from pgreplkit.values.finding import EffectiveAfter, Finding, Severity
from pgreplkit.values.syncnames import SyncStandbyNames

ReplicationType: TypeAlias = Literal["physical", "logical"]
"""The kind of replication for which readiness is checked."""

# WAL of wal_level minimal lacks what standbys need; decoding needs even more than they do.
_LEVELS = {"physical": ("replica", "logical"), "logical": ("logical",)}
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@attrs.frozen(kw_only=True)
class PrimaryFacts:
    """The facts about a primary."""

    settings: Settings
    senders: Sequence[WalSender]
    slots: Sequence[SlotState]
    archiver: ArchiverStatus
    waiting_commits: int
    """Sessions that currently wait for the confirmation of a standby."""


def primary_readiness(facts: PrimaryFacts, *, kind: ReplicationType, standbys: int) -> Readiness:
    """Check whether the primary is ready for ``standbys`` receivers in total."""
    if kind not in ("physical", "logical"):
        raise ValueError(f"kind must be 'physical' or 'logical', not {kind!r}")
    if not isinstance(standbys, int):
        raise TypeError(f"standbys must be an int, not {type(standbys).__name__}")
    slot_type = SlotType(kind)
    there = sum(slot.slot_type is slot_type and slot.active for slot in facts.slots)
    if kind == "physical":
        # A base backup uses its walsender only for a while. A receiver need not have a slot.
        streaming = [s for s in facts.senders if s.state is not SenderState.BACKUP]
        there = max(there, len(streaming))
    findings = [
        *_wal_level(facts.settings, kind),
        *_places(facts, kind, wanted=max(0, standbys - there)),
        *_listening(facts.settings),
        *(_physical(facts) if kind == "physical" else ()),
        *_slot_limit(facts),
        *_synchronous(facts),
    ]
    return Readiness(findings=tuple(findings))


def _wal_level(settings: Settings, kind: ReplicationType) -> Iterator[Finding]:
    levels = _LEVELS[kind]
    yield setting_found(
        settings,
        "wal_level",
        value_of(settings, "wal_level") in levels,
        needed=" or ".join(levels),
        value=levels[0],
    )


def _places(facts: PrimaryFacts, kind: ReplicationType, *, wanted: int) -> Iterator[Finding]:
    # pg_basebackup streams WAL on a second connection: one more walsender than the standby later.
    spare = 1 if wanted and kind == "physical" else 0
    yield free_places(
        facts.settings, "max_wal_senders", used=len(facts.senders), wanted=wanted, spare=spare
    )
    # An unused slot is already reserved for a receiver.
    unused = sum(s.slot_type == kind and not s.active and not s.is_lost for s in facts.slots)
    yield free_places(
        facts.settings,
        "max_replication_slots",
        used=len(facts.slots),
        wanted=max(0, wanted - unused),
    )


def _listening(settings: Settings) -> Iterator[Finding]:
    if "listen_addresses" not in settings:
        return
    addresses = {a.strip() for a in str(value_of(settings, "listen_addresses") or "").split(",")}
    # Only a warning: receivers on the same host need no other address.
    yield setting_found(
        settings,
        "listen_addresses",
        not addresses <= _LOOPBACK | {""},
        needed="an address that other hosts can reach, unless all receivers are on this host",
        value="'*'",
        otherwise=Severity.WARNING,
    )


def _physical(facts: PrimaryFacts) -> Iterator[Finding]:
    settings = facts.settings
    yield setting_found(
        settings,
        "hot_standby",
        value_of(settings, "hot_standby") is True,
        needed="on, if standbys that copy this configuration should answer queries",
        value="on",
        otherwise=Severity.WARNING,
    )
    yield _wal_keep(facts)
    yield from _archiving(facts)
    yield from rewindable(settings)


def _wal_keep(facts: PrimaryFacts) -> Finding:
    # Without a slot, a receiver depends on WAL that happens to be retained, or on the archive.
    name = "wal_keep_size" if "wal_keep_size" in facts.settings else "wal_keep_segments"
    has_slot = {slot.active_pid for slot in facts.slots if slot.active_pid is not None}
    bare = [s.application_name for s in facts.senders if s.pid not in has_slot]
    archives = value_of(facts.settings, "archive_mode") != "off"
    finding = setting_found(
        facts.settings,
        name,
        bool(number(facts.settings, name)) or archives or not bare,
        needed="a slot for each receiver, an archive, or WAL retained for receivers without a slot",
        value="'1GB'" if name == "wal_keep_size" else "64",
        otherwise=Severity.WARNING,
    )
    return attrs.evolve(finding, found=f"{finding.found}; without a slot: {names_of(bare)}")


def _archiving(facts: PrimaryFacts) -> Iterator[Finding]:
    settings, archiver = facts.settings, facts.archiver
    mode = value_of(settings, "archive_mode")
    if mode == "off":
        yield Finding(
            check="archive_mode",
            severity=Severity.INFO,
            found="off: no point-in-time recovery, and no WAL for a standby that fell behind",
            needed="on, if an archive is wanted",
            remedy="ALTER SYSTEM SET archive_mode = on",
            effective_after=EffectiveAfter.RESTART,
        )
        return
    # SHOW displays "(disabled)" for the command while archive_mode is off. archive_library, from 15
    # on, replaces the command.
    command = value_of(settings, "archive_command")
    library, has_library = value_of(settings, "archive_library"), "archive_library" in settings
    has_way = bool(library) or command not in {None, "", "(disabled)"}
    yield checked(
        "archive_command",
        ok=has_way and not archiver.is_failing,
        observed=f"failing for {archiver.last_failed_wal}"
        if archiver.is_failing
        else shown(settings.get("archive_library" if library else "archive_command")),
        needed=f"{archiving_setting(has_library)} that succeeds: WAL is retained until then",
        remedy="see the server's log for the command's output"
        if has_way
        else "ALTER SYSTEM SET archive_command = '…'",
        effective_after=EffectiveAfter.RELOAD,
    )


def _slot_limit(facts: PrimaryFacts) -> Iterator[Finding]:
    name = "max_slot_wal_keep_size"
    if name in facts.settings:
        # Without slots, the missing limit does no harm.
        unlimited = value_of(facts.settings, name) is None
        yield setting_found(
            facts.settings,
            name,
            not (unlimited and facts.slots),
            needed="a limit, if a lost receiver is better than a full disk",
            value="'…GB'",
            otherwise=Severity.INFO,
        )


def _synchronous(facts: PrimaryFacts) -> Iterator[Finding]:
    names = SyncStandbyNames.parse(str(value_of(facts.settings, "synchronous_standby_names") or ""))
    check = "synchronous_standby_names"
    if not names.names:
        yield checked(check, ok=True, observed="empty", needed="no commit waits for a standby")
        return
    waits_for = value_of(facts.settings, "synchronous_commit")
    connected = confirming(names, facts.senders, synchronous_commit=waits_for)
    fitting = [name for name in connected if SyncStandbyNames((*names.names,)).is_met_by([name])]
    # One spare standby, because the next failure or restart would make every commit wait.
    met, spare = names.is_met_by(connected), len(fitting) - names.count
    # With these two values commits return without waiting for standbys.
    waits = waits_for not in {"off", "local"}
    severity = Severity.WARNING
    if not met and waits:
        severity = Severity.CRITICAL
    state = "commits wait if one more disconnects"
    if not met:
        state = f"commits wait, {facts.waiting_commits} of them now"
    yield checked(
        check,
        ok=met and spare > 0,
        observed=f"{names}; connected of them: {names_of(fitting)}; "
        + ("one of them may disconnect" if met and spare > 0 else state),
        needed=f"{names.count + 1} of them connected, so that one may disconnect",
        remedy="connect another of them, or change the setting with set_sync_standby_names",
        effective_after=EffectiveAfter.RELOAD,
        otherwise=severity,
    )
