"""The owners and privileges of the databases of an upgrade."""

from __future__ import annotations

from collections.abc import Sequence

from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.catalog.cluster.upgradeprivileges import ROLES, Privilege, privileges
from pgreplkit.plans.cluster.upgradeprivileges import (
    left_out_roles,
    missing_privileges,
    uncopied_privileges,
)

_OPERATION = "read the privileges"


async def read_missing_privileges(old: AsyncLink, new: AsyncLink, *, database: str) -> list[str]:
    """Return the owners and grants that only the old server has, of roles that both have."""
    roles = {record["name"] for record in await new.all(_OPERATION, ROLES)}
    return missing_privileges(
        await _privileges(old), await _privileges(new), roles=roles, database=database
    )


async def read_left_out(
    old: AsyncLink, new: AsyncLink, *, database: str, owners: bool
) -> tuple[Sequence[str], Sequence[str]]:
    """Return what a copy of the schema leaves out.

    First the roles whose objects and privileges it leaves out without ``owners``, then the
    statements for missing privileges that no copy brings along.
    """
    roles = {record["name"] for record in await new.all(_OPERATION, ROLES)}
    here, there = await _privileges(old), await _privileges(new)
    return (
        () if owners else left_out_roles(here, there, role=new.role),
        uncopied_privileges(here, there, roles=roles, database=database),
    )


async def _privileges(link: AsyncLink) -> list[Privilege]:
    statement = privileges(link.version.major)
    # The search_paths of the two servers may differ.
    async with link.qualified(_OPERATION) as within:
        return [Privilege(**record) for record in await within.all(_OPERATION, statement)]
