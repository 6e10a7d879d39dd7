"""Whether two servers are the old and the new one of an upgrade, by the names of its objects."""

from collections.abc import Collection

import attrs

from pgreplkit.plans.cluster.upgrade import Names
from pgreplkit.plans.server.readiness import checked
from pgreplkit.values.finding import Finding


@attrs.frozen(kw_only=True)
class NamedObjects:
    """The names of one database's objects, those of others included."""

    publications: Collection[str] = ()
    subscriptions: Collection[str] = ()
    slots: Collection[str] = ()
    has_fence: bool = False
    """Whether the fence of the upgrade exists, also one that permits writes."""


@attrs.frozen
class WrongServers:
    """The evidence that two servers are not those of the preparation, and the remedy."""

    found: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.found}; {self.remedy}"


def wrong_servers(names: Names, *, old: NamedObjects, new: NamedObjects) -> WrongServers | None:
    """Return the evidence that the servers are not those of the preparation; None without any.

    Each operation creates a publication before its subscription, and drops it later. Operations on
    other servers would drop the slots of the right ones, or report an end that was none.
    """
    elsewhere = "pass the servers and databases of the preparation"
    if exchanged := names.forward_in(old.subscriptions):
        return WrongServers(
            f"the old server has the subscription {exchanged[0]}, as the new one of the preparation"
            " has",
            "pass this server as new, and the other one of the preparation as old",
        )
    published = names.forward_in(new.publications)
    # A physical copy has those of the old server, too.
    if published and not names.forward_in(old.publications):
        return WrongServers(
            f"the new server has the publication {published[0]}, as the old one of the preparation"
            " has",
            "pass this server as old, and the other one of the preparation as new",
        )
    for name in names.forward_in(new.subscriptions):
        if name not in old.publications:
            found = f"the old server has no publication {name}, to which the new one subscribes"
            return WrongServers(found, elsewhere)
    for name in names.back_in([*old.subscriptions]):
        if name not in new.publications:
            found = f"the new server has no publication {name}, to which the old one subscribes"
            return WrongServers(found, elsewhere)
    slots = names.forward_in(old.slots)
    # The preparation fences the new server before it creates slots on the old one.
    if slots and not (names.own_in([*new.subscriptions, *new.publications]) or new.has_fence):
        found = f"the new server has no subscription with the slot {slots[0]} of the old one"
        return WrongServers(found, elsewhere)
    return None


def servers_finding(wrong: WrongServers) -> Finding:
    """Return the finding about servers that are not those of the preparation."""
    return checked(
        "servers",
        ok=False,
        observed=wrong.found,
        needed="the old and the new server of one preparation",
        remedy=wrong.remedy,
    )
