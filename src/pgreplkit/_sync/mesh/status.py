# Generated from pgreplkit/_async/mesh/status.py by `nox -s sync`. Do not edit.
"""The streams and the conflicts of a mesh, as its nodes know them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from pgreplkit._sync.logical.applier import Applier
from pgreplkit._sync.logical.applyopening import session_of
from pgreplkit._sync.wire.link import Link
from pgreplkit.catalog.logical import applying
from pgreplkit.catalog.mesh import members as sql
from pgreplkit.errors import ConnectionFailed
from pgreplkit.plans.logical.applying import ApplyConflict
from pgreplkit.plans.mesh.layout import applier_name, slot_name, without
from pgreplkit.plans.mesh.status import MeshConflict, MeshStream, StreamState

_OPERATION = "read the status of the mesh"


def read_stream(
    servers: Mapping[str, str],
    mesh: str,
    source: str,
    target: str,
    applier: Applier | None,
) -> MeshStream:
    """Return the state of one stream."""
    name, slot = applier_name(mesh, source, target), slot_name(mesh, source, target)
    try:
        with session_of(servers[source]) as link:
            slots = link.all(_OPERATION, applying.SLOT_BEHIND, [slot])
        with session_of(servers[target]) as link:
            exists = _has_tables(link)
            states = link.all(_OPERATION, applying.READ_APPLIER, [name]) if exists else []
            counts = link.one(_OPERATION, sql.CONFLICTS, [name, name]) if states else None
    except ConnectionFailed:
        return MeshStream(source=source, target=target, state=StreamState.UNREACHABLE)
    # A plan that creates the stream may be interrupted between its two halves.
    if counts is None or not slots:
        return MeshStream(source=source, target=target, state=StreamState.MISSING)
    state = StreamState.STREAMING if slots[0]["active"] else StreamState.STOPPED
    if slots[0]["is_lost"]:
        state = StreamState.LOST
    # During the copy the slot is idle, and the stream has not ended.
    if states[0]["state"] != "streaming":
        state = StreamState.COPYING
    return MeshStream(
        source=source,
        target=target,
        state=state,
        behind_bytes=slots[0]["behind"],
        lag=None if applier is None else applier.lag,
        waits_for_clock=timedelta(0) if applier is None else applier.waits_for_clock,
        conflicts=counts["conflicts"],
        parked=counts["parked"],
    )


def _has_tables(link: Link) -> bool:
    """Return whether an applier has ever run on a node."""
    found = link.one(_OPERATION, applying.HAS_TABLES, grant=applying.STATE_GRANT)
    return bool(found["has_tables"])


def read_conflicts(
    servers: Mapping[str, str], mesh: str, since: datetime | None
) -> list[MeshConflict]:
    """Return the conflicts that all nodes have recorded, oldest first."""
    found = []
    for target, conninfo in servers.items():
        with session_of(conninfo) as link:
            if not _has_tables(link):
                # No applier has ever run there.
                continue
            for source in without(servers, target):
                row = [applier_name(mesh, source, target), since]
                records = link.all(_OPERATION, applying.CONFLICTS, row)
                found += [
                    MeshConflict(source=source, target=target, conflict=ApplyConflict(**record))
                    for record in records
                ]
    # By the clocks of the nodes, which the mesh keeps close.
    return sorted(found, key=lambda one: one.conflict.at)
