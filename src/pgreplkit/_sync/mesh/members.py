# Generated from pgreplkit/_async/mesh/members.py by `nox -s sync`. Do not edit.
"""The members of a mesh, as a node has them stored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from psycopg.sql import SQL

from pgreplkit._sync.cluster.site import Site
from pgreplkit._sync.logical.publication import read_published
from pgreplkit._sync.wire.link import Link
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


def read_members(link: Link, mesh: str) -> Members:
    """Return the members that a node has stored; none if it never was in the mesh."""
    exists = link.one(_OPERATION, sql.HAS_MEMBERS, grant=applying.STATE_GRANT)
    records = (
        link.all(_OPERATION, sql.MEMBERS, [mesh], grant=applying.STATE_GRANT)
        if exists["has_members"]
        else []
    )
    policies = (
        link.all(_OPERATION, sql.POLICY, [mesh], grant=applying.STATE_GRANT)
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


def find_members(site: Site, mesh: str, nodes: Iterable[str]) -> Members:
    """Return the members, as the first of the nodes that is active has stored them.

    Raises: ConnectionFailed if none of those that can be reached is active; ServerError if all
    were reached.
    """
    unreachable: ConnectionFailed | None = None
    asked = [*nodes]
    for node in asked:
        try:
            with site.server(node) as server:
                members = read_members(server._link, mesh)
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


def read_other_meshes(
    link: Link, mesh: str, tables: Sequence[TableName]
) -> dict[str, tuple[TableName, ...]]:
    """Return the tables that a node has in other meshes, by the name of the mesh.

    They are tables that share rows with one of ``tables``.
    """
    if not (link.one(_OPERATION, sql.HAS_MEMBERS))["has_members"]:
        return {}
    records = link.all(
        _OPERATION, sql.OTHER_MESHES, [*schemas_and_names(tables), mesh, applying.PREFIX]
    )
    meshes = dict.fromkeys(record["mesh"] for record in records)
    return {
        name: tuple(table_in(record) for record in records if record["mesh"] == name)
        for name in meshes
    }


def store_members(link: Link, mesh: str, ties: str, members: Sequence[MeshMember]) -> None:
    """Store the members in place of those that are stored.

    ``ties`` is "rank" or "row": it decides between changes with equal commit times.
    """
    operation = "store the members of the mesh"
    with link.transaction(operation, timeout=_STORED_WITHIN) as within:
        within.all(operation, applying.LOCK_SCHEMA)
        for statement in (sql.CREATE_MEMBERS, sql.CREATE_STREAMS):
            within.run(operation, SQL(statement).format())
        names = [member.node for member in members]
        within.all(operation, sql.REMOVE_OTHERS, [mesh, names])
        for member in members:
            row = [mesh, member.node, member.rank, member.state.value, ties]
            within.all(operation, sql.SET_MEMBER, row)


def store_policy(link: Link, mesh: str, policy: str | None) -> None:
    """Record the policy of the mesh; None removes the record."""
    operation = "record the policy of the mesh"
    with link.transaction(operation, timeout=_STORED_WITHIN) as within:
        within.all(operation, applying.LOCK_SCHEMA)
        within.run(operation, SQL(sql.CREATE_POLICIES).format())
        if policy is None:
            within.all(operation, sql.DROP_POLICY, [mesh])
        else:
            within.all(operation, sql.SET_POLICY, [mesh, policy])


def has_publication(link: Link, mesh: str) -> bool:
    """Return whether a node has the publication of the mesh."""
    name = publication_name(mesh)
    return bool(link.all(f"look for the publication {name!r}", sql.HAS_PUBLICATION, [name]))


def sending_slots(link: Link, mesh: str, node: str, targets: Iterable[str]) -> dict[str, bool]:
    """Return the slots of the streams from a node, and whether each is in use."""
    names = [slot_name(mesh, node, target) for target in targets]
    records = link.all("look for the slots of the mesh", sql.OWN_SLOTS, [names])
    return {record["name"]: record["active"] for record in records}


def mesh_tables(link: Link, mesh: str) -> list[TableName]:
    """Return the tables that a node publishes in the mesh."""
    return [one.table for one in read_published(link, [publication_name(mesh)])]


def chosen_tables(link: Link, choice: TableChoice) -> tuple[TableName, ...]:
    """Return the tables of a choice, as a node has them."""
    records = link.all("read the tables", sql.TABLES, [[*choice.schemas]])
    return choice.resolve(map(table_in, records))
