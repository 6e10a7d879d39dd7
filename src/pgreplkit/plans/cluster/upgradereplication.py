"""The publications and subscriptions of an upgrade that someone has altered."""

from collections.abc import Collection, Iterator, Mapping, Sequence

import attrs

from pgreplkit.catalog.logical.publication import Operation, PublicationState
from pgreplkit.catalog.logical.subscription import SubscriptionState
from pgreplkit.plans.cluster.upgrade import NEW, OLD
from pgreplkit.plans.cluster.upgradefindings import listed
from pgreplkit.plans.logical.subscription import SubscriptionStatus
from pgreplkit.plans.server.readiness import checked
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.tablename import TableName, quoted

_DELETE = "DELETE FROM ONLY {}".format


@attrs.frozen(kw_only=True)
class FiringTrigger:
    """A trigger of the subscriber that fires for replicated changes."""

    table: TableName
    trigger: str
    """Its name, quoted for SQL."""
    is_kept: bool
    """Whether it fired for them at the preparation already."""


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
    uncopied: Mapping[str, Sequence[TableName]] = attrs.field(factory=dict)
    """By publication, the tables that were added to it again, and not copied since."""
    unlogged: Sequence[TableName] = ()
    """The tables of the subscriber that a crash would empty."""
    firing: Sequence[FiringTrigger] = ()
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
    yield (publications := _publications_finding(direction))
    yield _subscriptions_finding(direction)
    # Rows that are copied before it is mended may be lost again.
    if publications.severity is Severity.OK:
        yield _copies_finding(direction)
    yield _unlogged_finding(direction)
    yield _triggers_finding(direction)


def copied_again(
    name: str, tables: Sequence[object], *, publisher: str, refresh: str = "REFRESH PUBLICATION"
) -> str:
    """Return the statements with which a subscription copies tables again that are published.

    ``refresh`` is its first change, with which it forgets them: it copies only tables that it does
    not have.
    """
    listed = ", ".join(f"ONLY {table}" for table in tables)
    removed = f"ALTER PUBLICATION {quoted(name)} DROP TABLE {listed} on the {publisher} server"
    return f"{removed}; then {copied(name, tables, publisher=publisher, refresh=refresh)}"


def copied(
    name: str, tables: Sequence[object], *, publisher: str, refresh: str = "REFRESH PUBLICATION"
) -> str:
    """Return the statements with which a subscription copies tables that are not published."""
    subscriber = NEW if publisher == OLD else OLD
    alter, listed = f"ALTER SUBSCRIPTION {quoted(name)}", ", ".join(f"ONLY {t}" for t in tables)
    parts = [
        f"{alter} {refresh} on the {subscriber} server",
        emptied(tables, subscriber),
        f"ALTER PUBLICATION {quoted(name)} ADD TABLE {listed} on the {publisher} server",
        f"{alter} REFRESH PUBLICATION on the {subscriber} server",
    ]
    return "; then ".join(parts)


def emptied(tables: Sequence[object], node: str) -> str:
    """Return the statements that empty tables of a server in spite of fences and foreign keys."""
    deleted = "; ".join(map(_DELETE, tables))
    role = "session_replication_role"
    return f"SET {role} = replica; {deleted}; RESET {role} on the {node} server"


def _copies_finding(direction: Direction) -> Finding:
    tables = [str(table) for group in direction.uncopied.values() for table in group]
    remedies = [
        copied_again(name, group, publisher=direction.publisher)
        for name, group in direction.uncopied.items()
    ]
    return checked(
        f"{direction.subscriber}: copied rows",
        ok=not tables,
        observed=f"older than the publication of {', '.join(tables)}" if tables else "complete",
        needed="rows that were copied since their table was published",
        remedy="; then ".join(remedies)
        + "; if compare() finds no difference, run the plan with force=True instead",
    )


def _unlogged_finding(direction: Direction) -> Finding:
    here = f"on the {direction.subscriber} server"
    return listed(
        f"{direction.subscriber}: unlogged tables",
        {table: f"ALTER TABLE {table} SET LOGGED {here}" for table in direction.unlogged},
        needed="none that are replicated: a crash of the server empties them, without an error",
    )


def _triggers_finding(direction: Direction) -> Finding:
    new = [one for one in direction.firing if not one.is_kept]
    statements = [
        f"ALTER TABLE {one.table} ENABLE TRIGGER {one.trigger} on the {direction.subscriber} server"
        for one in new or direction.firing
    ]
    return checked(
        f"{direction.subscriber}: triggers that fire on apply",
        ok=not direction.firing,
        observed=", ".join(f"{one.trigger} of {one.table}" for one in new or direction.firing)
        or "none",
        needed="none since the preparation: they may change or discard replicated rows",
        remedy=f"{'; '.join(statements)}; then remove the differences that compare() finds"
        if new
        else f"none if they are meant, such as for an audit; otherwise {'; '.join(statements)}",
        otherwise=Severity.CRITICAL if new else Severity.WARNING,
    )


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
        # What was written until then is missing on the other server: a finding of its own.
        remedy=f"{'; '.join(remedies)} on the {direction.publisher} server; then check again",
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
    name, tables = one.subname, direction.groups.get(one.subname, ())
    alter, here = f"ALTER SUBSCRIPTION {quoted(name)} SET", f" on the {direction.subscriber} server"
    if name in direction.misled:
        yield (
            f"connected to another server than the {direction.publisher} one",
            "give the upgrade up with plan_finish(), and prepare it again"
            if direction.publisher == OLD
            else "there is no way back any longer: the old server has applied other changes",
        )
    if one.subslotname != name:
        slot = f"slot_name = {one.subslotname or 'NONE'}"
        yield slot, f"{alter} (slot_name = '{name}'){here}"
    if one.suborigin not in (None, "any"):
        again = f"; then {copied_again(name, tables, publisher=direction.publisher)}"
        remedy = f"{alter} (origin = any){here}{again if direction.is_running else ''}"
        yield f"origin = {one.suborigin}", remedy
    if one.subpublications != (name,):
        publish = f"SET PUBLICATION {quoted(name)}"
        yield (
            f"publications {', '.join(one.subpublications)}",
            copied_again(name, tables, publisher=direction.publisher, refresh=publish)
            if direction.is_running
            # It continues after all that both servers have.
            else f"ALTER SUBSCRIPTION {quoted(name)} {publish} WITH (refresh = false){here}",
        )
