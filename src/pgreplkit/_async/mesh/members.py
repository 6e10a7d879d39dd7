"""The members of a mesh, as a node has them stored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from psycopg.sql import SQL

from pgreplkit._async.cluster.site import AsyncSite
from pgreplkit._async.logical.publication import read_published
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.catalog.logical import applying
from pgreplkit.catalog.mesh import members as sql
from pgreplkit.catalog.view import table_in
from pgreplkit.errors import ConnectionFailed, ServerError
from pgreplkit.plans.mesh.layout import (
    Members,
    MeshMember,
    TableChoice,
    publication_name,
    slot_name,
)
from pgreplkit.values.tablename import TableName, schemas_and_names

_OPERATION = "read the members of the mesh"
_STORED_WITHIN = 60.0
"""Seconds for the lock of the schema, which appliers take when they create their tables."""


async def read_members(link: AsyncLink, mesh: str) -> Members:
    """Return the members that a node has stored; none if it never was in the mesh."""
    exists = await link.one(_OPERATION, sql.HAS_MEMBERS, grant=applying.STATE_GRANT)
    records = (
        await link.all(_OPERATION, sql.MEMBERS, [mesh], grant=applying.STATE_GRANT)
        if exists["has_members"]
        else []
    )
    policies = (
        await link.all(_OPERATION, sql.POLICY, [mesh], grant=applying.STATE_GRANT)
        if exists["has_policies"]
        else []
    )
    members = [
        MeshMember(node=record["node"], rank=record["rank"], state=record["state"])
        for record in records
    ]
    return Members(
        all=tuple(members),
        ties=records[0]["ties"] if records else "rank",
        policy=policies[0]["policy"] if policies else None,
    )


async def find_members(site: AsyncSite, mesh: str, nodes: Iterable[str]) -> Members:
    """Return the members, as the first of the nodes that is active has stored them.

    Raises: ConnectionFailed if none of those that can be reached is active; ServerError if all
    were reached.
    """
    unreachable: ConnectionFailed | None = None
    asked = [*nodes]
    for node in asked:
        try:
            async with await site.server(node) as server:
                members = await read_members(server._link, mesh)
        except ConnectionFailed as error:
            # Another one has the same members. What needs this node fails by itself.
            unreachable = unreachable or error
            continue
        # A node that joins, or has left, may have old members stored.
        if node in members.active:
            return members
    if unreachable is not None:
        raise unreachable
    raise ServerError(
        f"find the members of the mesh {mesh!r}",
        f"there is no active member among {', '.join(asked)}",
        remedy="create the mesh with plan_create(), or let a node join it with plan_join()",
    )


async def read_other_meshes(
    link: AsyncLink, mesh: str, tables: Sequence[TableName]
) -> dict[str, tuple[TableName, ...]]:
    """Return the tables that a node has in other meshes, by the name of the mesh.

    They are tables that share rows with one of ``tables``.
    """
    if not (await link.one(_OPERATION, sql.HAS_MEMBERS))["has_members"]:
        return {}
    records = await link.all(
        _OPERATION, sql.OTHER_MESHES, [*schemas_and_names(tables), mesh, applying.PREFIX]
    )
    meshes = dict.fromkeys(record["mesh"] for record in records)
    return {
        name: tuple(table_in(record) for record in records if record["mesh"] == name)
        for name in meshes
    }


async def store_members(
    link: AsyncLink, mesh: str, ties: str, members: Sequence[MeshMember]
) -> None:
    """Store the members in place of those that are stored.

    ``ties`` is "rank" or "row": it decides between changes with equal commit times.
    """
    operation = "store the members of the mesh"
    async with link.transaction(operation, timeout=_STORED_WITHIN) as within:
        await within.all(operation, applying.LOCK_SCHEMA)
        for statement in (sql.CREATE_MEMBERS, sql.CREATE_STREAMS):
            await within.run(operation, SQL(statement).format())
        names = [member.node for member in members]
        await within.all(operation, sql.REMOVE_OTHERS, [mesh, names])
        for member in members:
            row = [mesh, member.node, member.rank, member.state.value, ties]
            await within.all(operation, sql.SET_MEMBER, row)


async def store_policy(link: AsyncLink, mesh: str, policy: str | None) -> None:
    """Record the policy of the mesh; None removes the record."""
    operation = "record the policy of the mesh"
    async with link.transaction(operation, timeout=_STORED_WITHIN) as within:
        await within.all(operation, applying.LOCK_SCHEMA)
        await within.run(operation, SQL(sql.CREATE_POLICIES).format())
        if policy is None:
            await within.all(operation, sql.DROP_POLICY, [mesh])
        else:
            await within.all(operation, sql.SET_POLICY, [mesh, policy])


async def has_publication(link: AsyncLink, mesh: str) -> bool:
    """Return whether a node has the publication of the mesh."""
    name = publication_name(mesh)
    return bool(await link.all(f"look for the publication {name!r}", sql.HAS_PUBLICATION, [name]))


async def sending_slots(
    link: AsyncLink, mesh: str, node: str, targets: Iterable[str]
) -> dict[str, bool]:
    """Return the slots of the streams from a node, and whether each is in use."""
    names = [slot_name(mesh, node, target) for target in targets]
    records = await link.all("look for the slots of the mesh", sql.OWN_SLOTS, [names])
    return {record["name"]: record["active"] for record in records}


async def mesh_tables(link: AsyncLink, mesh: str) -> list[TableName]:
    """Return the tables that a node publishes in the mesh."""
    return [one.table for one in await read_published(link, [publication_name(mesh)])]


async def chosen_tables(link: AsyncLink, choice: TableChoice) -> tuple[TableName, ...]:
    """Return the tables of a choice, as a node has them."""
    records = await link.all("read the tables", sql.TABLES, [[*choice.schemas]])
    return choice.resolve(map(table_in, records))
