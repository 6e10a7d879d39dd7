"""The registration of a server by repmgr, found by its address or its name."""

from __future__ import annotations

from collections.abc import Sequence

from pgreplkit.catalog.cluster.repmgr import RepmgrNode
from pgreplkit.catalog.server.receivers import Upstream
from pgreplkit.values.conninfosyntax import parse_conninfo

_PORT = 5432
"""The port of a connection string that has none."""


def repmgr_node(
    nodes: Sequence[RepmgrNode], address: tuple[str, int], source: Upstream | None
) -> RepmgrNode | None:
    """Return the repmgr node of a server, found by its address, else by its name.

    With repmgr a standby connects to its upstream under the node's name.
    """
    for node in nodes:
        try:
            parts = parse_conninfo(node.conninfo)
        except ValueError:
            continue  # repmgr registers strings that libpq may refuse.
        hosts = {parts.get("host"), parts.get("hostaddr")}
        if address[0] in hosts and str(address[1]) == str(parts.get("port") or _PORT):
            return node
    named = [node for node in nodes if source and node.node_name == source.application_name]
    return named[0] if named else None


def registration_of(nodes: Sequence[RepmgrNode], name: str, conninfo: str) -> RepmgrNode | None:
    """Return the repmgr node of a server that does not answer, by its address or its name."""
    try:
        parts = parse_conninfo(conninfo)
        port = int(parts.get("port") or _PORT)
    except ValueError:
        return None  # Malformed, or with a list of ports: nothing answers for a certain server.
    found = repmgr_node(nodes, (parts.get("host") or parts.get("hostaddr") or "", port), None)
    return found or next((node for node in nodes if node.node_name == name), None)
