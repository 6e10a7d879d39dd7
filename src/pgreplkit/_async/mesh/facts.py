"""The facts about a server that is, or becomes, a node of a mesh."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from psycopg.rows import DictRow

from pgreplkit._async.logical.applyshapes import read_targets
from pgreplkit._async.logical.drift import other_relations
from pgreplkit._async.logical.rowcopy import has_rows
from pgreplkit._async.mesh.members import (
    has_publication,
    mesh_tables,
    read_members,
    read_other_meshes,
)
from pgreplkit._async.mesh.rights import foreign_objects, read_mesh_rights
from pgreplkit._async.mesh.sequences import read_sequences_of, sequences_of
from pgreplkit._async.server.settings import read_settings
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.catalog.logical import applying
from pgreplkit.catalog.mesh import facts as sql
from pgreplkit.catalog.mesh.members import OWNS_TABLES
from pgreplkit.plans.mesh.facts import MeshNodeFacts
from pgreplkit.plans.mesh.layout import publication_name, slot_name
from pgreplkit.values.tablename import TableName, schemas_and_names

_OPERATION = "read the state of a node"


async def read_node(
    link: AsyncLink, mesh: str, name: str, tables: Sequence[TableName], peers: Sequence[str]
) -> MeshNodeFacts:
    """Read the state of a server, whose streams go to ``peers``."""
    record = await link.one(_OPERATION, sql.NODE)
    # At once: the time of the other queries would count as a difference of clocks.
    skew = record["clock"] - datetime.now(UTC)
    found = await read_targets(link, tables)
    with_rows = []
    for table, own in found.items():
        # Without the privilege, which is a finding of its own, nothing can be seen.
        is_readable = not own.is_out_of_reach and "SELECT" not in own.lacks
        if is_readable and await has_rows(link, _OPERATION, table):
            with_rows.append(table)
    asked = [*schemas_and_names(tables)]
    traits = await link.all(_OPERATION, sql.TRAITS, asked)
    rights = await read_mesh_rights(link, _OPERATION)
    there = await link.one(_OPERATION, applying.PUBLISHER, [publication_name(mesh)])
    owns = await link.one(_OPERATION, OWNS_TABLES, [rights.role, *asked])
    is_published = await has_publication(link, mesh)
    return MeshNodeFacts(
        name=name,
        major=link.version.major,
        system_id=record["system_id"],
        started_at=record["started_at"],
        database=record["database"],
        encoding=record["encoding"],
        in_recovery=record["in_recovery"],
        skew=skew,
        slots=record["slots"],
        foreign_slots=await _foreign_slots(link, [slot_name(mesh, name, peer) for peer in peers]),
        senders=record["senders"],
        origins=record["origins"],
        settings=await read_settings(link),
        tables={table: found.get(table) for table in tables},
        no_tables=await other_relations(link, {*tables} - {*found}),
        with_rows=tuple(with_rows),
        without_full=_texts(traits, "not_full"),
        with_large=_tables(traits, lambda row: row["has_large"]),
        with_virtual=_tables(traits, lambda row: row["virtual"] and not row["not_full"]),
        with_foreign_keys=_tables(traits, lambda row: row["has_foreign_keys"]),
        children=_children(traits, tables),
        firing=_texts(traits, "firing"),
        sequences=await read_sequences_of(link, tables),
        hidden=tuple(
            name
            for name, is_readable in (await sequences_of(link, tables)).items()
            if not is_readable
        ),
        members=await read_members(link, mesh),
        others=await read_other_meshes(link, mesh, tables),
        published=tuple(await mesh_tables(link, mesh)) if is_published else None,
        owns_tables=owns["owns_all"],
        may_replicate=there["may_replicate"],
        rights=rights,
        foreign=await foreign_objects(link, mesh, name, tables, peers),
    )


async def _foreign_slots(link: AsyncLink, names: Sequence[str]) -> tuple[str, ...]:
    records = await link.all(_OPERATION, sql.FOREIGN_SLOTS, [names])
    return tuple(record["name"] for record in records)


def _texts(records: Sequence[DictRow], column: str) -> dict[TableName, tuple[str, ...]]:
    """Return what the tables have in a column of arrays, without those that have nothing."""
    found = {TableName(row["schema"], row["name"]): tuple(row[column]) for row in records}
    return {table: texts for table, texts in found.items() if texts}


def _children(
    records: Sequence[DictRow], tables: Sequence[TableName]
) -> dict[TableName, tuple[TableName, ...]]:
    """Return the tables that inherit from others, without those of the mesh."""
    found = {}
    for row in records:
        children = (TableName(schema, name) for schema, name in row["children"])
        if left_out := tuple(child for child in children if child not in tables):
            found[TableName(row["schema"], row["name"])] = left_out
    return found


def _tables(records: Sequence[DictRow], holds: Callable[[DictRow], bool]) -> tuple[TableName, ...]:
    return tuple(TableName(row["schema"], row["name"]) for row in records if holds(row))
