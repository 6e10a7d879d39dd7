"""Databases of one server as the nodes of a mesh."""

from __future__ import annotations

from collections.abc import Mapping

from databases import Database

from pgreplkit.apply import Policy
from pgreplkit.mesh import Mesh

LEFT = """
    SELECT (SELECT count(*) FROM pg_replication_slots), (SELECT count(*) FROM pg_publication),
        (SELECT count(*) FROM pg_replication_origin), (SELECT count(*) FROM pgreplkit.mesh_node),
        (SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'pgreplkit%'),
        (SELECT count(*) FROM pgreplkit.applier), (SELECT count(*) FROM pgreplkit.mesh_policy),
        (SELECT count(*) FROM pgreplkit.mesh_stream)
"""
"""The numbers of objects of a mesh that a node has."""


def mesh_of(
    databases: Mapping[str, Database],
    *names: str,
    table: str = "t",
    policy: Policy | None = None,
) -> Mesh:
    """The mesh of some of the databases."""
    nodes = {name: databases[name].conninfo for name in names}
    return Mesh(nodes, tables=[table], policy=policy)
