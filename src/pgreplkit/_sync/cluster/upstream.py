# Generated from pgreplkit/_async/cluster/upstream.py by `nox -s sync`. Do not edit.
"""Upstream: read whether a server can serve further standbys, without changing anything."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from ipaddress import ip_address

import attrs

from pgreplkit._sync.cluster.site import Site
from pgreplkit._sync.server.server import Server
from pgreplkit.errors import Error
from pgreplkit.plans.cluster.topology import ClusterNode
from pgreplkit.plans.cluster.upstream import (
    UpstreamFacts,
    best_verdict,
    encryptions,
    upstream_findings,
)
from pgreplkit.plans.server.access import AccessVerdict
from pgreplkit.plans.server.readiness import value_of
from pgreplkit.values.conninfosyntax import parse_conninfo
from pgreplkit.values.finding import Finding

_UNKNOWN_ADDRESS = "the address from which it connects is unknown"


@attrs.frozen
class Joining:
    """A standby that will stream from another upstream."""

    name: str
    application_name: str | None
    address: str | None
    """The IP address from which it connects; None if that is unknown."""


def read_again(node: ClusterNode, server: Server) -> ClusterNode:
    """Return the node with the walsenders and slots that it has now."""
    slots = tuple([slot.state for slot in server.slots()])
    return attrs.evolve(node, senders=tuple(server.replicas()), slots=slots)


def client_address(node: ClusterNode | None, application_name: str | None) -> str | None:
    """Return the address from which a standby connects to its present upstream."""
    addresses = {
        str(sender.client_addr)
        for sender in (() if node is None else node.senders)
        if sender.application_name == application_name and sender.client_addr
    }
    # Several standbys may share a name.
    return addresses.pop() if len(addresses) == 1 else None


def ip_of(host: str | None) -> str | None:
    """Return a host that is an IP address; None for a name, whose address may be another there."""
    try:
        return str(ip_address(host or ""))
    except ValueError:
        return None


def serving_findings(
    site: Site,
    upstream: ClusterNode,
    joining: Sequence[Joining],
    slots: Collection[str | None],
) -> list[Finding]:
    """Check that ``upstream`` can serve further standbys, which will use ``slots``."""
    verdicts: dict[str, AccessVerdict | str] = {}
    unconnected: dict[str, str] = {}
    with site.server(upstream.name) as server:
        settings = server.settings()
        # A line hostssl of pg_hba.conf matches only if the server offers encryption.
        has_ssl = value_of(settings, "ssl") is True
        for standby in joining:
            try:
                conninfo = site.conninfo_for(standby.name, upstream.name, standby.application_name)
            # It becomes a finding: the other standbys are checked all the same.
            except Error as error:
                unconnected[standby.name] = str(error)
                continue
            verdicts[standby.name] = _verdict(server, standby, conninfo, has_ssl=has_ssl)
        facts = UpstreamFacts(
            node=read_again(upstream, server),
            settings=settings,
            joining=verdicts,
            unconnected=unconnected,
            slots=frozenset(slot for slot in slots if slot),
        )
    return [*upstream_findings(facts)]


def _verdict(
    server: Server, standby: Joining, conninfo: str, *, has_ssl: bool
) -> AccessVerdict | str:
    """Return whether pg_hba.conf admits a standby, or why that is unknown."""
    parts = parse_conninfo(conninfo)
    role, host = parts.get("user"), parts.get("hostaddr") or parts.get("host") or ""
    if role is None:
        return "its replication role is unknown"
    # As libpq: a path is the directory of a socket, and @ stands for an abstract one.
    is_socket = host.startswith(("/", "@"))
    if not is_socket and standby.address is None:
        return _UNKNOWN_ADDRESS
    address = None if is_socket else standby.address
    attempts = (False,) if is_socket else encryptions(parts, has_ssl=has_ssl)
    try:
        return best_verdict(
            [server.check_access(role, address=address, ssl=each) for each in attempts]
        )
    except (Error, ValueError) as error:
        return str(error)
