# Generated from pgreplkit/_async/mesh/streams.py by `nox -s sync`. Do not edit.
"""The target of a stream between two nodes of a mesh, and the start of the stream."""

from __future__ import annotations

from pgreplkit._sync.cluster.site import Site
from pgreplkit._sync.logical.applytarget import ApplyTarget
from pgreplkit._sync.server.identity import read_database
from pgreplkit._sync.server.server import Server
from pgreplkit.catalog.logical import applying
from pgreplkit.catalog.mesh import members as sql
from pgreplkit.plans.mesh.layout import applier_name
from pgreplkit.values.lsn import LSN


def stream_target(site: Site, mesh: str, source: str, node: str) -> ApplyTarget:
    """Open the session on a node to which a stream's changes are applied.

    Raises: ConnectionFailed; InsufficientPrivilege.
    """
    name = applier_name(mesh, source, node)
    return ApplyTarget.connect(site.servers[node], name, uses_origin=True)


def start_at(target: ApplyTarget, source: Server, position: LSN, *, is_ready: bool) -> None:
    """Store where a stream starts, unless that was done before."""
    operation = target.operation
    records = target.link.all(operation, applying.READ_APPLIER, [target.name])
    if not records:
        target.create(int((read_database(source._link)).system_id))
    # An attempt that was interrupted may have stored no position, or not that the stream can start.
    elif records[0]["state"] != "creating":
        return
    # The origin may be left from an earlier membership of another server.
    advance = sql.ADVANCE_ORIGIN.format(target.origin.functions)
    target.link.all(operation, advance, [target.origin.name, str(position)])
    # From here on the source knows what the node has, and notices if it is restored.
    source._link.all(operation, sql.ADD_STREAM, [target.origin.name, position])
    target.set_state("streaming" if is_ready else "creating")
