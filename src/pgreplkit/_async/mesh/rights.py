"""The rights of the role of a mesh on a node, and the objects that it does not own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from pgreplkit._async.logical.applychecks import read_rights
from pgreplkit._async.logical.applyshapes import read_targets
from pgreplkit._async.mesh.members import mesh_tables
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.catalog.logical import applying
from pgreplkit.catalog.mesh import owners as sql
from pgreplkit.plans.logical.applyrights import ApplyRights
from pgreplkit.plans.mesh.layout import Members, publication_name, slot_name, without
from pgreplkit.plans.mesh.rights import ForeignObject, MemberRights
from pgreplkit.values.tablename import TableName, schemas_and_names


async def read_mesh_rights(link: AsyncLink, operation: str) -> ApplyRights:
    """Return the rights of the role; those to use origins include moving them."""
    rights = await read_rights(link, operation)
    advances = await link.one(operation, applying.advance_rights())
    # A mesh also moves origins before a stream starts, which other appliers never do.
    return attrs.evolve(
        rights,
        has_origin_wrapper=rights.has_origin_wrapper and advances["has_origin_wrapper"],
        may_use_origins=rights.may_use_origins and advances["may_use_origins"],
    )


async def read_member_rights(
    link: AsyncLink, mesh: str, node: str, members: Members, *, drops_all: bool
) -> MemberRights:
    """Return the rights of the role on a member, of which a plan drops the streams.

    With ``drops_all`` it also drops all other objects of the mesh, as the node leaves.
    """
    operation = "read the rights"
    there = await link.one(operation, applying.PUBLISHER, [publication_name(mesh)])
    tables = await mesh_tables(link, mesh) if drops_all else []
    found = await read_targets(link, tables)
    foreign = await foreign_objects(link, mesh, node, tables, members.ranks) if drops_all else ()
    return MemberRights(
        major=link.version.major,
        may_replicate=there["may_replicate"],
        rights=await read_mesh_rights(link, operation),
        foreign=foreign,
        without_trigger=tuple(name for name, one in found.items() if "TRIGGER" in one.lacks),
    )


async def foreign_objects(
    link: AsyncLink, mesh: str, node: str, tables: Sequence[TableName], nodes: Iterable[str]
) -> tuple[ForeignObject, ...]:
    """Return the objects of the mesh on a node that another role owns."""
    origins = [slot_name(mesh, source, node) for source in without(nodes, node)]
    asked = [*schemas_and_names(tables), publication_name(mesh), origins]
    records = await link.all("read the owners", sql.NOT_OWNED, asked)
    return tuple(ForeignObject(**record) for record in records)
