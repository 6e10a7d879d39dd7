# Generated from pgreplkit/_async/cluster/upgradeprivileges.py by `nox -s sync`. Do not edit.
"""The owners and privileges of the databases of an upgrade."""

from __future__ import annotations

from collections.abc import Sequence

from pgreplkit._sync.wire.link import Link
from pgreplkit.catalog.cluster.upgradeprivileges import ROLES, Privilege, privileges
from pgreplkit.plans.cluster.upgradeprivileges import (
    left_out_roles,
    missing_privileges,
    uncopied_privileges,
)

_OPERATION = "read the privileges"


def read_missing_privileges(old: Link, new: Link, *, database: str) -> list[str]:
    """Return the owners and grants that only the old server has, of roles that both have."""
    roles = {record["name"] for record in new.all(_OPERATION, ROLES)}
    return missing_privileges(_privileges(old), _privileges(new), roles=roles, database=database)


def read_left_out(
    old: Link, new: Link, *, database: str, owners: bool
) -> tuple[Sequence[str], Sequence[str]]:
    """Return what a copy of the schema leaves out.

    First the roles whose objects and privileges it leaves out without ``owners``, then the
    statements for missing privileges that no copy brings along.
    """
    roles = {record["name"] for record in new.all(_OPERATION, ROLES)}
    here, there = _privileges(old), _privileges(new)
    return (
        () if owners else left_out_roles(here, there, role=new.role),
        uncopied_privileges(here, there, roles=roles, database=database),
    )


def _privileges(link: Link) -> list[Privilege]:
    statement = privileges(link.version.major)
    # The search_paths of the two servers may differ.
    with link.qualified(_OPERATION) as within:
        return [Privilege(**record) for record in within.all(_OPERATION, statement)]
