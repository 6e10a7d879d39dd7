"""The slots of a major upgrade, and those of others with the same names."""

from collections.abc import Iterator, Sequence

from pgreplkit.catalog.server.slot import SlotState, SlotType
from pgreplkit.plans.cluster.upgradefindings import named
from pgreplkit.plans.logical.subscription import SubscriptionStatus
from pgreplkit.values.finding import Finding, Severity

_PLUGIN = "pgoutput"


def is_own(slot: SlotState, database: str) -> bool:
    """Return whether a slot is of the kind that an upgrade of this database creates.

    Standbys and the other databases of the server may have slots with its names.
    """
    return slot.plugin == _PLUGIN and slot.database == database


def slot_text(slot: SlotState, database: str) -> str:
    """Return the name of a slot, and its kind if an upgrade of this database creates no such."""
    kind = ""
    if slot.slot_type is SlotType.PHYSICAL:
        kind = " (physical)"
    elif slot.database != database:
        kind = f" (of database {slot.database})"
    elif slot.plugin != _PLUGIN:
        kind = f" (with {slot.plugin})"
    return f"{slot.slot_name}{kind}"


def forward_slots_findings(
    forward: Sequence[SubscriptionStatus], database: str, *, can_advance: bool
) -> Iterator[Finding]:
    """Return the findings about the slots of the old server, from which the new one continues.

    ``can_advance``: without it, a rollback creates all of them again.
    """
    there = [one.slot for one in forward if one.slot is not None]
    yield named(
        "slots of others",
        [slot_text(slot, database) for slot in there if not is_own(slot, database)],
        needed="no slots with the names of the upgrade's that it did not create",
        remedy="remove {} from the old server",
    )
    lost = [
        name
        for one in forward
        if (name := one.state.subslotname) is not None and (one.slot is None or one.slot.is_lost)
    ]
    yield named(
        "forward slots",
        lost if can_advance else (),
        needed="none missing or lost: the rollback creates them while no one can write, and waits"
        " for the transactions of all databases",
        remedy="to do that before, drop and create them on the old server:"
        " pg_create_logical_replication_slot('…', 'pgoutput') for {}",
        otherwise=Severity.WARNING,
    )
