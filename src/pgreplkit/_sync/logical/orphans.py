# Generated from pgreplkit/_async/logical/orphans.py by `nox -s sync`. Do not edit.
"""find_orphans: find slots and origins that no existing subscription owns."""

from __future__ import annotations

from collections.abc import Iterable

from pgreplkit._sync.server.server import Server, insist_on_servers
from pgreplkit.catalog.logical.subscription import ALL_SUBSCRIPTIONS, ORIGINS
from pgreplkit.catalog.server.identity import STARTED
from pgreplkit.plans.logical.orphans import Orphan, Subscriber, orphans_among
from pgreplkit.values.rows import Rows
from pgreplkit.values.several import several


def find_orphans(servers: Iterable[Server]) -> Rows[Orphan]:
    """Find slots and origins that no existing subscription of the servers owns.

    Pass all servers that publish or subscribe: a slot may belong to a subscription of a server
    that is missing, and is then not a certain orphan. A server may occur more than once, and
    standbys next to their primary. Active slots and slots of other plugins are not considered. The
    orphans that retain the most WAL come first. Nothing is removed.

    Raises: InsufficientPrivilege; ValueError without a server.
    Needs: before 14 superuser, or SELECT on pg_subscription.
    Source: pg_subscription, pg_replication_slots, pg_replication_origin.
    """
    given = several(servers, "servers", at_least=1)
    for server in given:
        insist_on_servers(server=server)
    return Rows(orphans_among([_subscriber(server) for server in given]))


def _subscriber(server: Server) -> Subscriber:
    info = server.connection.info
    operation, grant = "read the subscriptions", "SELECT ON pg_subscription"
    subscriptions = server._link.all(operation, ALL_SUBSCRIPTIONS, grant=grant)
    origins = server._link.all("read the origins", ORIGINS)
    slots = server.slots()
    identity = server.identity()
    # Two standbys of one cluster have the same identifier, but not the same start.
    started = server._link.one("read the start time of the server", STARTED)
    return Subscriber(
        where=f"{info.host}:{info.port}",
        system_id=identity.system_id,
        started=started["started"],
        in_recovery=server.is_in_recovery(),
        subscriptions={record["oid"]: record["slot"] for record in subscriptions},
        slots=tuple(slot.state for slot in slots),
        origins=tuple(record["name"] for record in origins),
    )
