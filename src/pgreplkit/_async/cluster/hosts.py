"""Checks of the settings that an operation changes with ALTER SYSTEM."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from posixpath import join

from pgreplkit._async.cluster.site import AsyncSite
from pgreplkit.catalog.cluster.altersystem import ALLOWED, PRIVILEGES
from pgreplkit.catalog.server.identity import POSTMASTER, POSTMASTER_FILE
from pgreplkit.errors import Error, ServerError
from pgreplkit.host.configuration import AUTO_FILE
from pgreplkit.plans.cluster.hosts import (
    AlterSystemFacts,
    alter_system_finding,
    altered_settings,
    recovery_target_finding,
    target_timeline_finding,
    unasked_finding,
)
from pgreplkit.plans.cluster.standbyconfig import RECOVERY_TARGETS
from pgreplkit.plans.cluster.steps import Step
from pgreplkit.plans.server.identity import is_one_postmaster
from pgreplkit.values.finding import Finding, Severity


async def alter_system_findings(
    site: AsyncSite, steps: Iterable[Step], *, changes_timeline: bool = True
) -> list[Finding]:
    """Check that each server lets its settings be changed as the steps do it.

    With ``changes_timeline``, the standbys will have to follow a promotion.
    """
    altered: Mapping[str, tuple[str, ...]] = altered_settings(steps)
    findings: list[Finding] = []
    for node, names in altered.items():
        try:
            facts = await _read(site, node, names)
        except ServerError as error:
            # A finding, so that the other servers are checked too.
            findings.append(unasked_finding(node, names, str(error)))
            continue
        findings.append(alter_system_finding(facts))
        if "primary_conninfo" in names:
            otherwise = Severity.CRITICAL if changes_timeline else Severity.WARNING
            findings.append(target_timeline_finding(facts, otherwise=otherwise))
            findings.append(recovery_target_finding(facts))
    return findings


async def _read(site: AsyncSite, node: str, names: tuple[str, ...]) -> AlterSystemFacts:
    operation = f"read whether {node} permits ALTER SYSTEM"
    denied: tuple[str, ...] = ()
    async with await site.server(node) as server:
        major = server.version.major
        record = await server._link.one(operation, ALLOWED, [[*RECOVERY_TARGETS], [*names]])
        if not record["is_superuser"]:
            denied = names
            # Before 15 only superusers may use ALTER SYSTEM.
            if server._link.has("settings.grantable"):
                rows = await server._link.all(operation, PRIVILEGES, [[*names]])
                denied = tuple(row["name"] for row in rows)
    return AlterSystemFacts(
        node=node,
        major=major,
        names=names,
        is_allowed=record["is_allowed"],
        denied=denied,
        is_writable=await _is_writable(site, node),
        fixed=tuple(record["fixed"]),
        target_timeline=record["target_timeline"],
        targets=tuple(record["targets"]),
        target_action=record["target_action"],
    )


async def _is_writable(site: AsyncSite, node: str) -> bool | None:
    """Return whether postgresql.auto.conf can be replaced; None without a control that works."""
    if node not in site.controls:
        return None
    try:
        return not await site.controlled(
            node, lambda control: control.unwritable(join(control.data_directory, AUTO_FILE))
        )
    except Error:
        # Only a file that is known to be read-only stops the operation.
        return None


async def leads_to(site: AsyncSite, controlled: str, server: str) -> bool | None:
    """Return whether the control of one node acts on the server of a node; None if unknown.

    Two names may lead to one server, and a control be given under the wrong name.
    """
    own = await site.controlled(controlled, lambda control: control.read_file(POSTMASTER_FILE))
    if own is None:
        return False  # It is not running.
    try:
        async with await site.server(server) as there:
            record = await there._link.one(f"identify {server}", POSTMASTER)
    except ServerError:
        return None  # Not reached, or the role may not read the file.
    return is_one_postmaster(own, record["content"])
