"""Checks that servers can start, and replay, as standbys of another one."""

from __future__ import annotations

from pgreplkit._async.cluster.site import AsyncSite
from pgreplkit._async.server.server import AsyncServer
from pgreplkit.catalog.cluster.standbylimits import FILE_ERRORS, HBA_ERRORS, LIMITS
from pgreplkit.errors import Error, InsufficientPrivilege, ServerError
from pgreplkit.host.configuration import read_configuration
from pgreplkit.plans.cluster.standbylimits import limits_finding, next_start_finding
from pgreplkit.plans.server.standbyreadiness import NOT_BELOW_PRIMARY
from pgreplkit.values.finding import Finding, Severity

_OPERATION = "read the limits of standbys"


async def read_next_start(server: AsyncServer, node: str) -> Finding:
    """Check the configuration files of a running server that will be started again."""
    try:
        # Twice: see there.
        await server._link.all(_OPERATION, FILE_ERRORS)
        rows = await server._link.all(_OPERATION, FILE_ERRORS)
        rows += await server._link.all(_OPERATION, HBA_ERRORS)
    except InsufficientPrivilege:
        return next_start_finding(node, None)
    texts = [": ".join(filter(None, (row["place"], row["name"], row["error"]))) for row in rows]
    return next_start_finding(node, texts)


async def limits_findings(
    site: AsyncSite,
    upstream: str,
    *,
    running: tuple[str, ...] = (),
    starting: str | None = None,
    otherwise: Severity = Severity.CRITICAL,
) -> list[Finding]:
    """Compare the limits of standbys with those of the server that they will follow.

    A server that will start has the limits of its configuration files.
    """
    async with await site.server(upstream) as server:
        asked = [n for n, since in NOT_BELOW_PRIMARY.items() if server.version.major >= since]
        rows = await server._link.all(_OPERATION, LIMITS, [asked])
    theirs = {row["name"]: row["value"] for row in rows}
    initial = {row["name"]: row["initial"] for row in rows}
    found = []
    for node in running:
        try:
            own = await _current(site, node, asked)
        except ServerError:
            continue  # A standby that does not answer has a finding of its own.
        found.append(limits_finding(node, own, upstream, theirs, otherwise=otherwise))
    if starting is not None:
        own = await _at_next_start(site, starting, asked, initial)
        found.append(limits_finding(starting, own, upstream, theirs, otherwise=otherwise))
    return found


async def _current(site: AsyncSite, node: str, names: list[str]) -> dict[str, int]:
    async with await site.server(node) as server:
        rows = await server._link.all(_OPERATION, LIMITS, [names])
    return {row["name"]: row["value"] for row in rows}


async def _at_next_start(
    site: AsyncSite, node: str, names: list[str], initial: dict[str, int]
) -> dict[str, int]:
    """Return the limits with which a server will start; one that is not known is left out."""
    try:
        own = await _current(site, node, names)
    except ServerError:
        own = {}
    try:
        configuration = await site.controlled(node, read_configuration)
    except Error:
        return own  # Another finding says that the control is missing, or does not work.
    if configuration.is_found and not own:
        own = initial  # What the files of a server that is down do not set.
    written = {name: configuration.get(name) or "" for name in names}
    return {**own, **{name: int(text) for name, text in written.items() if text.isdecimal()}}
