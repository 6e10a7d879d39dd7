# Generated from pgreplkit/_async/mesh/catchup.py by `nox -s sync`. Do not edit.
"""Wait until each node of a mesh has applied the commits of the others."""

from __future__ import annotations

from collections.abc import Mapping

from pgreplkit._sync.server.positions import write_marker
from pgreplkit._sync.server.server import Server
from pgreplkit.errors import WaitTimeout
from pgreplkit.plans.mesh.layout import slot_name, without
from pgreplkit.values.seconds import Timeout


def catch_up(mesh: str, servers: Mapping[str, Server], timeout: Timeout) -> None:
    """Wait until each node has applied what was committed on any other one before.

    Raises: WaitTimeout; SlotNotFound.
    """
    # All markers first: the waits are for commits before them, and end.
    marked = {node: write_marker(server._link) for node, server in servers.items()}
    for source, server in servers.items():
        for target in without(servers, source):
            slot = server.slot(slot_name(mesh, source, target))
            try:
                slot.wait_for_catchup(marked[source], timeout=timeout)
            except WaitTimeout as error:
                raise WaitTimeout(
                    f"{error}; the stream from {source} to {target} must run, here or in"
                    " another process: see status()"
                ) from error
