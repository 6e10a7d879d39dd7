"""The target of a stream between two nodes of a mesh, and the start of the stream."""

from __future__ import annotations

from pgreplkit._async.cluster.site import AsyncSite
from pgreplkit._async.logical.applytarget import AsyncApplyTarget
from pgreplkit._async.server.identity import read_database
from pgreplkit._async.server.server import AsyncServer
from pgreplkit.catalog.logical import applying
from pgreplkit.catalog.mesh import members as sql
from pgreplkit.plans.mesh.layout import applier_name
from pgreplkit.values.lsn import LSN


async def stream_target(site: AsyncSite, mesh: str, source: str, node: str) -> AsyncApplyTarget:
    """Open the session on a node to which a stream's changes are applied.

    Raises: ConnectionFailed; InsufficientPrivilege.
    """
    name = applier_name(mesh, source, node)
    return await AsyncApplyTarget.connect(site.servers[node], name, uses_origin=True)


async def start_at(
    target: AsyncApplyTarget, source: AsyncServer, position: LSN, *, is_ready: bool
) -> None:
    """Store where a stream starts, unless that was done before."""
    operation = target.operation
    records = await target.link.all(operation, applying.READ_APPLIER, [target.name])
    if not records:
        await target.create(int((await read_database(source._link)).system_id))
    # An attempt that was interrupted may have stored no position, or not that the stream can start.
    elif records[0]["state"] != "creating":
        return
    # The origin may be left from an earlier membership of another server.
    advance = sql.ADVANCE_ORIGIN.format(target.origin.functions)
    await target.link.all(operation, advance, [target.origin.name, str(position)])
    # From here on the source knows what the node has, and notices if it is restored.
    await source._link.all(operation, sql.ADD_STREAM, [target.origin.name, position])
    await target.set_state("streaming" if is_ready else "creating")
