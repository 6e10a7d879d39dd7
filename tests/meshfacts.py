"""Sample members and a table of a mesh."""

from __future__ import annotations

from pgreplkit.plans.mesh.layout import Members, MemberState, new_members
from pgreplkit.values.tablename import TableName

USERS = TableName("public", "users")


def members(*nodes: str) -> Members:
    return new_members(nodes, [18] * len(nodes), MemberState.ACTIVE)
