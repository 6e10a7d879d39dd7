"""Upstream: the requirements on a server from which further standbys are to stream."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import attrs

from pgreplkit.catalog.server.slot import SlotState, SlotType
from pgreplkit.plans.cluster.topology import ClusterNode
from pgreplkit.plans.server.access import AccessVerdict
from pgreplkit.plans.server.readiness import Settings, checked, free_places, names_of, value_of
from pgreplkit.values.finding import Finding, Severity

_ENCRYPTION = {
    "disable": (False,),
    "allow": (False, True),
    "require": (True,),
    "verify-ca": (True,),
    "verify-full": (True,),
}
"""For each sslmode, whether the attempts of libpq are encrypted, in their order."""
_PREFER = (True, False)


@attrs.frozen(kw_only=True)
class UpstreamFacts:
    """A server, and the standbys that will stream from it."""

    node: ClusterNode
    """The server, with the walsenders and slots that it has now."""
    settings: Settings
    joining: Mapping[str, AccessVerdict | str]
    """For each standby that will connect, and does not now, whether pg_hba.conf admits it, or why
    that is unknown."""
    unconnected: Mapping[str, str]
    """Standbys for which no connection string can be made, and the reason."""
    slots: frozenset[str]
    """The slots that these standbys will use."""


def missing_slots(wanted: Iterable[str | None], existing: Sequence[SlotState]) -> tuple[str, ...]:
    """Return the wanted slots that must be created, each once."""
    # Idempotent: a slot of an interrupted operation is used again.
    there = {slot.slot_name for slot in existing}
    return tuple(dict.fromkeys(name for name in wanted if name and name not in there))


def unusable_slots(wanted: Collection[str | None], existing: Sequence[SlotState]) -> list[str]:
    """Return the existing slots with a wanted name that a standby cannot stream from."""
    slots = [slot for slot in existing if slot.slot_name in wanted]
    reasons = [(slot.slot_name, why_unusable(slot)) for slot in slots]
    return [f"{name} ({reason})" for name, reason in reasons if reason]


def why_unusable(slot: SlotState) -> str:
    """Return why a further standby cannot stream from a slot; empty if it can."""
    if slot.slot_type is SlotType.LOGICAL:
        return "logical"
    # An invalidated slot still exists: a walreceiver that names it is always refused.
    if slot.is_lost:
        return "invalidated"
    return "in use" if slot.active else ""


def upstream_findings(facts: UpstreamFacts) -> Iterator[Finding]:
    """Check places for walsenders and slots, the slots themselves, and access.

    Each is critical: an operation that found out later would end with a standby that does not
    stream.
    """
    node, settings = facts.node, facts.settings
    yield free_places(
        settings, "max_wal_senders", used=len(node.senders), wanted=len(facts.joining)
    )
    wanted = len(missing_slots(facts.slots, node.slots))
    yield free_places(settings, "max_replication_slots", used=len(node.slots), wanted=wanted)
    unusable = unusable_slots(facts.slots, node.slots)
    yield checked(
        "slots of the same names",
        ok=not unusable,
        observed=names_of(unusable),
        needed=f"{names_of(sorted(facts.slots))}: no such slot on {node.name} that is logical,"
        " invalidated, or in use, because standbys will stream from slots of these names",
        remedy="drop the slot, or let its consumer use another",
    )
    yield from _synchronized_slots(facts)
    for name, reason in facts.unconnected.items():
        yield checked(
            f"connection of {name}",
            ok=False,
            observed=reason,
            needed=f"a connection string with which it connects to {node.name}",
        )
    for name, verdict in facts.joining.items():
        yield _access(name, node, verdict)


def _synchronized_slots(facts: UpstreamFacts) -> Iterator[Finding]:
    """Check that logical decoding will not wait for a slot that does not exist (17 on)."""
    name = "synchronized_standby_slots"
    # Names in the setting may be quoted as identifiers.
    text = str(value_of(facts.settings, name) or "")
    listed = [part.strip().strip('"') for part in text.split(",") if part.strip()]
    existing = {*facts.slots, *(slot.slot_name for slot in facts.node.slots)}
    missing = [slot for slot in listed if slot not in existing]
    if listed:
        yield checked(
            name,
            ok=not missing,
            observed=f"{text} on {facts.node.name}; not there: {names_of(missing)}",
            needed="slots that exist: logical slots with failover wait for all of them",
            remedy=f"ALTER SYSTEM SET {name}, with the slots of its future standbys",
            otherwise=Severity.WARNING,
        )


def _access(name: str, node: ClusterNode, verdict: AccessVerdict | str) -> Finding:
    # Unknown, for example without the right to read pg_hba.conf, is not a reason to refuse.
    allowed, line, rule = None, "", str(verdict)
    if isinstance(verdict, AccessVerdict):
        allowed, line = verdict.allowed, verdict.line
        rule = f"by {verdict.rule or 'no line'}"
    observed = {None: f"unknown: {rule}", True: "admitted", False: f"rejected {rule}"}
    return checked(
        f"access of {name}",
        ok=allowed is True,
        observed=observed[allowed],
        needed=f"pg_hba.conf of {node.name} admits it",
        remedy=f"add to pg_hba.conf: {line}" if line else "",
        otherwise=Severity.INFO if allowed is None else Severity.CRITICAL,
    )


def encryptions(conninfo: Mapping[str, str], *, has_ssl: bool) -> tuple[bool, ...]:
    """Return whether the attempts of a walreceiver to connect are encrypted, in their order.

    libpq makes the second attempt if pg_hba.conf rejects the first one.
    """
    attempts = _ENCRYPTION.get(conninfo.get("sslmode", ""), _PREFER)
    # If no attempt is possible, the server refuses: report the attempts that were asked for.
    possible = tuple(encrypted for encrypted in attempts if has_ssl or not encrypted)
    return possible or attempts


def best_verdict(verdicts: Sequence[AccessVerdict]) -> AccessVerdict:
    """Return the verdict that decides about several attempts: one that is admitted, if any is."""
    order = {True: 0, None: 1, False: 2}
    return min(verdicts, key=lambda verdict: order[verdict.allowed])
