"""Orphans: slots and origins that no existing subscription owns, over a set of servers."""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime

import attrs

from pgreplkit.catalog.server.slot import SlotState, SlotType
from pgreplkit.plans.logical.subscription import LeftoverKind
from pgreplkit.values.record import Record

_SYNC_SLOT = re.compile(r"pg_(\d+)_sync_(\d+)_(\d+)")
_ORIGIN = re.compile(r"pg_(\d+)(?:_\d+)?")


@attrs.frozen(kw_only=True)
class Subscriber:
    """A server's subscriptions, slots and origins."""

    where: str
    system_id: int
    started: datetime
    """When it was started; this distinguishes it from the other servers of its system."""
    in_recovery: bool
    """Whether the server is a standby, which shows the subscriptions and origins of its primary."""
    subscriptions: dict[int, str | None]
    """The slot of each subscription, by OID."""
    slots: tuple[SlotState, ...]
    origins: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Orphan(Record):
    """A slot or an origin that no existing subscription of the servers owns."""

    kind: LeftoverKind
    name: str
    where: str
    """The server that has it."""
    why: str
    is_certain: bool
    """Whether the subscription is certain not to exist: its server is among the given ones."""
    retained_bytes: int
    """The WAL that it retains."""
    sql: str
    """The statement that removes it there."""


def orphans_among(servers: Sequence[Subscriber]) -> list[Orphan]:
    """Return the orphans, the one that retains the most WAL first."""
    by_system: dict[int, set[int]] = {}
    for server in servers:
        by_system.setdefault(server.system_id, set()).update(server.subscriptions)
    used = {slot for server in servers for slot in server.subscriptions.values() if slot}
    # A server that was given twice counts once.
    each = {(server.system_id, server.started): server for server in servers}
    found = [
        orphan
        for server in each.values()
        for orphan in (*_slots(server, by_system, used), *_origins(server))
    ]
    return sorted(found, key=lambda orphan: (-orphan.retained_bytes, orphan.where, orphan.name))


def _slots(server: Subscriber, by_system: dict[int, set[int]], used: set[str]) -> Iterator[Orphan]:
    for slot in server.slots:
        if slot.slot_type is not SlotType.LOGICAL or slot.active or slot.temporary:
            continue
        sync = _SYNC_SLOT.fullmatch(slot.slot_name)
        if sync:
            oid, system_id = int(sync[1]), int(sync[3])
            # The name of such a slot has the OID and the system of its subscription, so that it can
            # be certain.
            owner = by_system.get(system_id)
            if owner is None or oid not in owner:
                yield _slot(
                    server,
                    slot,
                    LeftoverKind.SYNC_SLOT,
                    f"subscription {oid} of system {system_id} no longer exists"
                    if owner is not None
                    else f"subscription {oid} is of system {system_id}, none of these servers",
                    is_certain=owner is not None,
                )
        # Slots of other plugins have other clients; synchronized slots belong to the primary. The
        # subscription may be on a server that was not given, so that this is never certain.
        elif slot.plugin == "pgoutput" and slot.slot_name not in used and not slot.synced:
            why = "no subscription of these servers uses a slot of that name"
            yield _slot(server, slot, LeftoverKind.SLOT, why, is_certain=False)


def _slot(
    server: Subscriber, slot: SlotState, kind: LeftoverKind, why: str, *, is_certain: bool
) -> Orphan:
    return Orphan(
        kind=kind,
        name=slot.slot_name,
        where=server.where,
        why=why,
        is_certain=is_certain,
        retained_bytes=slot.retained_bytes,
        sql=f"SELECT pg_drop_replication_slot('{slot.slot_name}')",
    )


def _origins(server: Subscriber) -> Iterator[Orphan]:
    # A standby shows the origins of its primary, where they have to be dropped.
    for name in () if server.in_recovery else server.origins:
        own = _ORIGIN.fullmatch(name)
        if own and int(own[1]) not in server.subscriptions:
            yield Orphan(
                kind=LeftoverKind.ORIGIN,
                name=name,
                where=server.where,
                why=f"subscription {own[1]} no longer exists",
                is_certain=True,
                retained_bytes=0,
                sql=f"SELECT pg_replication_origin_drop('{name}')",
            )
