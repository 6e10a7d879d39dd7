"""aorphans: what no living subscription owns, over a set of servers."""

from __future__ import annotations

from collections.abc import Iterable

from pgreplkit._async.server.server import AsyncServer, insist_on_servers
from pgreplkit.catalog.logical.subscription import ALL_SUBSCRIPTIONS, ORIGINS
from pgreplkit.catalog.server.identity import STARTED
from pgreplkit.plans.logical.orphans import Orphan, Subscriber, find_orphans
from pgreplkit.values.several import several


async def aorphans(servers: Iterable[AsyncServer]) -> list[Orphan]:
    """Slots, slots of copies and origins that no living subscription of the servers owns.

    Give all servers that publish or subscribe: what belongs to one that is not among them is not
    certain to be an orphan. A server may be given more than once, and standbys beside their
    primary. A slot that is in use is none, nor are those of other plugins. The
    ones that keep the most WAL come first; nothing is removed.

    Raises: InsufficientPrivilege; ValueError without a server.
    Needs: before 14 superuser, or SELECT on pg_subscription.
    Source: pg_subscription, pg_replication_slots, pg_replication_origin.
    """
    given = several(servers, "servers", at_least=1)
    for server in given:
        insist_on_servers(server=server)
    return find_orphans([await _asked(server) for server in given])


async def _asked(server: AsyncServer) -> Subscriber:
    info = server.connection.info
    tried, grant = "read the subscriptions", "SELECT ON pg_subscription"
    subscriptions = await server._link.all(tried, ALL_SUBSCRIPTIONS, grant=grant)
    origins = await server._link.all("read the origins", ORIGINS)
    slots = await server.slots()
    identity = await server.identity()
    started = await server._link.one("ask when the server was started", STARTED)
    return Subscriber(
        where=f"{info.host}:{info.port}",
        system_id=identity.system_id,
        started=started["started"],
        in_recovery=await server.is_in_recovery(),
        subscriptions={record["oid"]: record["slot"] for record in subscriptions},
        slots=tuple(slot.state for slot in slots),
        origins=tuple(record["name"] for record in origins),
    )
