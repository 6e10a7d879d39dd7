# Generated from pgreplkit/_async/logical/applyloops.py by `nox -s sync`. Do not edit.
"""Find appliers and subscriptions that send an applier's changes back."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from psycopg.conninfo import make_conninfo
from psycopg.rows import DictRow

from pgreplkit._sync.server.identity import read_database
from pgreplkit._sync.wire.link import Link
from pgreplkit._sync.wire.sidelink import side_link
from pgreplkit.apply.settings import ApplySettings
from pgreplkit.catalog.logical import applyloops as sql
from pgreplkit.catalog.logical.applying import PREFIX
from pgreplkit.catalog.server.identity import RunningDatabase
from pgreplkit.driver.conninfo import is_same_address_on
from pgreplkit.errors import OriginLoop, ServerError
from pgreplkit.plans.logical.applyloops import Direction, Loop, find_loops, flow_in
from pgreplkit.plans.logical.snapshot import TableCopy
from pgreplkit.plans.server.identity import is_one_database
from pgreplkit.values.tablename import TableName

_OPERATION = "read the appliers of the other direction"
_CONNECT_TIMEOUT = 5
"""Seconds; the address may be one that only the publisher reaches."""


@attrs.frozen
class Opposing:
    """The appliers from the subscriber's cluster to the publisher."""

    here: RunningDatabase
    """The subscriber's database."""
    appliers: Sequence[DictRow]
    unread: str
    """Why they could not be read; empty if they could."""

    def may_have(self, name: str) -> bool:
        """Return whether one of them has a name; True if that is unknown.

        In a chain of servers, the appliers may have one name.
        """
        return bool(self.unread) or any(one["name"] == name for one in self.appliers)


def read_opposing(publisher: Link, here: RunningDatabase) -> Opposing:
    """Return the appliers of the other direction; ``here`` is the subscriber's database."""
    may = publisher.one(_OPERATION, sql.READABLE)
    if may["is_readable"] is None:
        return Opposing(here, [], "")
    if not may["is_readable"]:
        return Opposing(here, [], "the publisher's role may not read pgreplkit.applier there")
    asked = [str(int(here.system_id))]
    return Opposing(here, publisher.all(_OPERATION, sql.APPLIERS, asked), "")


def read_loops(
    publisher: Link, subscriber: Link, opposing: Opposing, own: Direction
) -> tuple[list[Loop], str]:
    """Return the loops with appliers and subscriptions, and what could not be read."""
    appliers = opposing.appliers
    subscriptions, unreadable = _subscriptions(publisher)
    slots = [PREFIX + str(one["name"]) for one in appliers]
    slots += [str(one["slot"]) for one in subscriptions]
    records = subscriber.all(_OPERATION, sql.SENDERS, [slots])
    senders = {str(record["slot"]): bool(record["is_active"]) for record in records}
    others = [
        Direction(
            name=f"the applier {one['name']!r}",
            flow=flow_in(one["flow"]),
            takes_all=one["takes_all"],
            origin=PREFIX + one["name"] if one["has_origin"] else None,
            # One that is stopped may be of a time before the directions were exchanged.
            is_certain=senders[PREFIX + one["name"]],
        )
        for one in appliers
        if PREFIX + one["name"] in senders
    ]
    for one in subscriptions:
        # Servers may have slots of one name.
        leads_here = one["slot"] in senders and _leads_to(opposing.here, publisher, one["conninfo"])
        if leads_here is not False:
            others.append(
                Direction(
                    name=f"the subscription {one['name']!r}",
                    flow={TableName(*table): TableName(*table) for table in one["tables"]},
                    takes_all=one["takes_all"],
                    origin=f"pg_{one['id']}",
                    is_certain=bool(leads_here) and senders[one["slot"]],
                )
            )
    return [*find_loops(own, others)], "; ".join(filter(None, [opposing.unread, unreadable]))


def insist_on_no_loop(
    operation: str,
    publisher: Link,
    subscriber: Link,
    opposing: Opposing,
    own: Direction,
) -> None:
    """Refuse an applier whose changes come back.

    Raises: OriginLoop.
    """
    loops, _ = read_loops(publisher, subscriber, opposing, own)
    for loop in loops:
        if loop.other.is_certain:
            raise OriginLoop(operation, loop.origin, loop.found)


def direction_of(copies: Sequence[TableCopy], settings: ApplySettings) -> Direction:
    """Return an applier as others see it, with the tables of which every row is applied."""
    tables = [copy.table.table_name for copy in copies if copy.where is None]
    rules = settings.rules
    return Direction(
        name=f"the applier {settings.name!r}",
        flow={
            table: settings.target_of(table)
            for table in tables
            if table not in rules or not rules[table].needs_rows
        },
        takes_all=not settings.takes_own_only,
        origin=settings.slot if settings.uses_origin else None,
    )


def _subscriptions(publisher: Link) -> tuple[list[DictRow], str]:
    may = publisher.one(_OPERATION, sql.SUBSCRIPTIONS_READABLE)
    if not may["is_readable"]:
        return [], "the publisher's role may not read pg_subscription there"
    query = sql.subscriptions(publisher.version.major, shows_connection=may["shows_connection"])
    return publisher.all(_OPERATION, query), ""


def _leads_to(here: RunningDatabase, publisher: Link, conninfo: str | None) -> bool | None:
    """Return whether a subscription of the publisher gets the subscriber's changes.

    None if that cannot be found out.
    """
    if conninfo is None or not is_same_address_on(conninfo, publisher.connection):
        return None
    try:
        whole = make_conninfo(conninfo, connect_timeout=_CONNECT_TIMEOUT)
        with side_link(whole) as there:
            return is_one_database(read_database(there), here)
    except ServerError:
        return None
