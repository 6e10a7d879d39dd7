"""The publications and subscriptions of an upgrade that someone has altered."""

from collections.abc import Collection, Iterator, Mapping, Sequence

import attrs

from pgreplkit.catalog.logical.publication import Operation, PublicationState
from pgreplkit.catalog.logical.subscription import SubscriptionState
from pgreplkit.plans.cluster.upgrade import NEW, OLD
from pgreplkit.plans.logical.subscription import SubscriptionStatus
from pgreplkit.plans.server.readiness import checked
from pgreplkit.values.finding import Finding
from pgreplkit.values.tablename import TableName, quoted


@attrs.frozen(kw_only=True)
class Direction:
    """The replication from one server of an upgrade to the other one."""

    publisher: str
    publications: Sequence[PublicationState]
    limited: Mapping[str, Sequence[TableName]]
    """By publication, the tables of which it publishes some rows or columns only."""
    groups: Mapping[str, Sequence[str]]
    """The tables of the publications."""
    subscriptions: Sequence[SubscriptionStatus]
    misled: Collection[str] = ()
    """The subscriptions whose workers are connected to another publisher."""
    operations: Sequence[Operation]
    """The kinds of changes that the upgrade publishes."""
    is_running: bool
    """Whether the subscriptions apply what is written now."""

    @property
    def subscriber(self) -> str:
        """The other server."""
        return NEW if self.publisher == OLD else OLD


def published_operations(*, truncates: bool) -> tuple[Operation, ...]:
    """Return the kinds of changes that an upgrade publishes.

    ``truncates``: both servers know TRUNCATE; the apply worker of 10 fails at it.
    """
    every = (Operation.INSERT, Operation.UPDATE, Operation.DELETE, Operation.TRUNCATE)
    return every if truncates else every[:3]


def replication_findings(direction: Direction) -> Iterator[Finding]:
    """Return the findings about publications and subscriptions that are not as created.

    These lose rows without an error.
    """
    yield _publications_finding(direction)
    yield _subscriptions_finding(direction)


def _publications_finding(direction: Direction) -> Finding:
    found, remedies = [], []
    for one in direction.publications:
        alter = f"ALTER PUBLICATION {quoted(one.pubname)} SET"
        if options := _options(one, direction.operations):
            found.append(f"{one.pubname}: {', '.join(options)}")
            remedies.append(f"{alter} ({', '.join(options.values())})")
        if limited := direction.limited.get(one.pubname):
            found.append(f"{one.pubname}: some rows or columns of {', '.join(map(str, limited))}")
            tables = ", ".join(f"ONLY {table}" for table in direction.groups[one.pubname])
            remedies.append(f"{alter} TABLE {tables}")
    return checked(
        f"{direction.publisher}: publications",
        ok=not found,
        observed="; ".join(found) or "as created",
        needed="all changes of all rows and columns, as the upgrade publishes them",
        remedy=f"{'; '.join(remedies)} on the {direction.publisher} server{_then(direction)}",
    )


def _options(one: PublicationState, wanted: Sequence[Operation]) -> dict[str, str]:
    """Return the options that someone has altered, and what they were."""
    found = {}
    if {*one.publish} != {*wanted}:
        found[f"publish = '{', '.join(one.publish)}'"] = f"publish = '{', '.join(wanted)}'"
    if one.pubviaroot:
        root = "publish_via_partition_root = "
        found[f"{root}true"] = f"{root}false"
    return found


def _then(direction: Direction) -> str:
    # What was written until then is missing on the other server.
    return "; then remove the differences that compare() finds" if direction.is_running else ""


def _subscriptions_finding(direction: Direction) -> Finding:
    found = [
        (f"{one.state.subname}: {difference}", remedy)
        for one in direction.subscriptions
        for difference, remedy in _differences(one.state, direction)
    ]
    return checked(
        f"{direction.subscriber}: subscriptions",
        ok=not found,
        observed="; ".join(difference for difference, _ in found) or "as created",
        needed=f"the slot and the publication of the same name on the {direction.publisher} server",
        remedy="; ".join(dict.fromkeys(remedy for _, remedy in found)),
    )


def _differences(one: SubscriptionState, direction: Direction) -> Iterator[tuple[str, str]]:
    """Yield each difference of a subscription, and its remedy."""
    alter = f"ALTER SUBSCRIPTION {quoted(one.subname)} SET"
    then = f" on the {direction.subscriber} server{_then(direction)}"
    if one.subname in direction.misled:
        yield (
            f"connected to another server than the {direction.publisher} one",
            "give the upgrade up with plan_finish(), and prepare it again"
            if direction.publisher == OLD
            else "there is no way back any longer: the old server has applied other changes",
        )
    if one.subslotname != one.subname:
        slot = f"slot_name = {one.subslotname or 'NONE'}"
        yield slot, f"{alter} (slot_name = '{one.subname}'){then}"
    if one.subpublications != (one.subname,):
        yield (
            f"publications {', '.join(one.subpublications)}",
            f"{alter} PUBLICATION {quoted(one.subname)} WITH (refresh = false){then}",
        )
    if one.suborigin not in (None, "any"):
        yield f"origin = {one.suborigin}", f"{alter} (origin = any){then}"
