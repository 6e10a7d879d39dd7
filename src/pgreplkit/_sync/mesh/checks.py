# Generated from pgreplkit/_async/mesh/checks.py by `nox -s sync`. Do not edit.
"""The facts that decide whether servers can form a mesh."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime

import attrs
from psycopg.rows import DictRow

from pgreplkit._sync.cluster.site import Site
from pgreplkit._sync.logical.applyshapes import read_targets
from pgreplkit._sync.logical.drift import other_relations
from pgreplkit._sync.logical.rowcopy import has_rows
from pgreplkit._sync.logical.tombstones import final_tables
from pgreplkit._sync.mesh.members import (
    has_publication,
    mesh_tables,
    read_members,
    read_other_meshes,
    sending_slots,
)
from pgreplkit._sync.mesh.rights import (
    foreign_objects,
    read_member_rights,
    read_mesh_rights,
)
from pgreplkit._sync.mesh.sequences import read_sequences_of, sequences_of
from pgreplkit._sync.mesh.status import read_stream
from pgreplkit._sync.mesh.streams import stream_target
from pgreplkit._sync.server.settings import read_settings
from pgreplkit._sync.wire.link import Link
from pgreplkit.apply.policies import Policy, clock_limit, deltas_of, policy_text
from pgreplkit.catalog.logical import applying
from pgreplkit.catalog.mesh import facts as sql
from pgreplkit.catalog.mesh.members import OWNS_TABLES
from pgreplkit.errors import ConnectionFailed
from pgreplkit.plans.mesh.facts import MeshFacts, MeshNodeFacts
from pgreplkit.plans.mesh.layout import (
    Members,
    publication_name,
    slot_name,
    without,
)
from pgreplkit.plans.mesh.leaving import forget_findings, leave_findings, remove_findings
from pgreplkit.plans.mesh.membership import PolicyFacts, change_findings, convergence_found
from pgreplkit.plans.mesh.readiness import mesh_findings
from pgreplkit.plans.mesh.status import StreamState
from pgreplkit.values.finding import Finding
from pgreplkit.values.lsn import LSN
from pgreplkit.values.tablename import TableName, schemas_and_names

_OPERATION = "read the state of a node"


def read_node(
    link: Link, mesh: str, name: str, tables: Sequence[TableName], peers: Sequence[str]
) -> MeshNodeFacts:
    """Read the state of a server, whose streams go to ``peers``."""
    record = link.one(_OPERATION, sql.NODE)
    # At once: the time of the other queries would count as a difference of clocks.
    skew = record["clock"] - datetime.now(UTC)
    found = read_targets(link, tables)
    with_rows = []
    for table, own in found.items():
        # Without the privilege, which is a finding of its own, nothing can be seen.
        is_readable = not own.is_out_of_reach and "SELECT" not in own.lacks
        if is_readable and has_rows(link, _OPERATION, table):
            with_rows.append(table)
    asked = [*schemas_and_names(tables)]
    traits = link.all(_OPERATION, sql.TRAITS, asked)
    rights = read_mesh_rights(link, _OPERATION)
    there = link.one(_OPERATION, applying.PUBLISHER, [publication_name(mesh)])
    owns = link.one(_OPERATION, OWNS_TABLES, [rights.role, *asked])
    is_published = has_publication(link, mesh)
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
        foreign_slots=_foreign_slots(link, [slot_name(mesh, name, peer) for peer in peers]),
        senders=record["senders"],
        origins=record["origins"],
        settings=read_settings(link),
        tables={table: found.get(table) for table in tables},
        no_tables=other_relations(link, {*tables} - {*found}),
        with_rows=tuple(with_rows),
        without_full=_texts(traits, "not_full"),
        with_large=_tables(traits, lambda row: row["has_large"]),
        with_virtual=_tables(traits, lambda row: row["virtual"] and not row["not_full"]),
        with_foreign_keys=_tables(traits, lambda row: row["has_foreign_keys"]),
        children=_children(traits, tables),
        firing=_texts(traits, "firing"),
        sequences=read_sequences_of(link, tables),
        hidden=tuple(
            name for name, is_readable in (sequences_of(link, tables)).items() if not is_readable
        ),
        members=read_members(link, mesh),
        others=read_other_meshes(link, mesh, tables),
        published=tuple(mesh_tables(link, mesh)) if is_published else None,
        owns_tables=owns["owns_all"],
        may_replicate=there["may_replicate"],
        rights=rights,
        foreign=foreign_objects(link, mesh, name, tables, peers),
    )


def _foreign_slots(link: Link, names: Sequence[str]) -> tuple[str, ...]:
    records = link.all(_OPERATION, sql.FOREIGN_SLOTS, [names])
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


@attrs.frozen
class MeshChecks:
    """The checks of a mesh that is created or joined."""

    site: Site
    mesh: str
    nodes: tuple[str, ...]
    new: tuple[str, ...]
    first: str
    tables: tuple[TableName, ...]
    planned: Members
    policy: Policy

    def findings(self) -> list[Finding]:
        """Return one finding for each check."""
        # One after the other is enough: each clock is compared with this machine's.
        nodes = []
        for name in self.nodes:
            with self.site.server(name) as server:
                peers = without(self.nodes, name)
                nodes.append(read_node(server._link, self.mesh, name, self.tables, peers))
        servers, first = self.site.servers, self.first
        # Of a mesh that is created, none exists.
        sources = () if first in self.new else without(self.nodes, first, *self.new)
        return mesh_findings(
            MeshFacts(
                mesh=self.mesh,
                nodes=tuple(nodes),
                first=self.first,
                new=self.new,
                policy=convergence_found(self.policy, len(nodes)),
                policy_text=policy_text(self.policy),
                planned=self.planned,
                deltas=deltas_of(self.policy),
                max_clock_skew=clock_limit(self.policy),
                streams=tuple(
                    [read_stream(servers, self.mesh, one, first, None) for one in sources]
                ),
            )
        )


@attrs.frozen
class PolicyChecks:
    """The checks of a mesh that gets another policy."""

    site: Site
    mesh: str
    planned: Members
    policy: Policy

    def findings(self) -> list[Finding]:
        """Return one finding for each check."""
        members, deltas = self.planned.present, deltas_of(self.policy)
        nodes, running = {}, []
        for node in members:
            with self.site.server(node) as server:
                link = server._link
                tables = mesh_tables(link, self.mesh)
                nodes[node] = PolicyFacts(
                    members=read_members(link, self.mesh),
                    final=final_tables(link) & {*tables},
                    tables=read_targets(link, [*deltas]),
                )
            for source in without(members, node):
                stream = read_stream(self.site.servers, self.mesh, source, node, None)
                if stream.state is StreamState.STREAMING:
                    running.append(f"{source} to {node}")
        return [
            convergence_found(self.policy, len(members)),
            *change_findings(nodes, self.planned, deltas, running),
        ]


@attrs.frozen
class LeaveChecks:
    """The checks of a node that leaves."""

    site: Site
    mesh: str
    node: str
    others: tuple[str, ...]
    planned: Members

    def findings(self) -> list[Finding]:
        """Return one finding for each check."""
        stored, rights = {}, {}
        for node in (self.node, *self.others):
            # The finding on its stream says that it cannot be reached.
            with suppress(ConnectionFailed):
                with self.site.server(node) as server:
                    rights[node] = read_member_rights(
                        server._link, self.mesh, node, self.planned, drops_all=node == self.node
                    )
                    stored[node] = read_members(server._link, self.mesh)
        return leave_findings(
            [
                read_stream(self.site.servers, self.mesh, self.node, other, None)
                for other in self.others
            ],
            stored,
            self.planned,
            rights,
        )


@attrs.frozen
class ForgetChecks:
    """The checks of a node that forgets a mesh."""

    site: Site
    mesh: str
    node: str
    others: tuple[str, ...]
    planned: Members
    """The members, as the node itself has them stored."""

    def findings(self) -> list[Finding]:
        """Return one finding for each check.

        Raises: ConnectionFailed if the node itself cannot be reached.
        """
        with self.site.server(self.node) as server:
            link = server._link
            slots = sending_slots(link, self.mesh, self.node, self.others)
            own = read_members(link, self.mesh)
            rights = read_member_rights(link, self.mesh, self.node, self.planned, drops_all=True)
        # Of those that left before, only known ones are asked: their servers may not exist.
        asked = {*self.planned.present, *self.site.servers}
        stored = dict[str, Members | None].fromkeys(one for one in self.others if one in asked)
        for other in stored.keys() & self.site.servers.keys():
            with suppress(ConnectionFailed):
                with self.site.server(other) as server:
                    stored[other] = read_members(server._link, self.mesh)
        return forget_findings(
            self.node, {self.node: own}, self.planned, stored, self.site.servers, slots, rights
        )


@attrs.frozen
class RemoveChecks:
    """The checks of a node that is lost."""

    site: Site
    mesh: str
    lost: str
    others: tuple[str, ...]
    planned: Members

    def findings(self) -> list[Finding]:
        """Return one finding for each check.

        Raises: ConnectionFailed if one of the others cannot be reached.
        """
        stored, positions, rights = {}, {}, {}
        for node in self.others:
            with self.site.server(node) as server:
                rights[node] = read_member_rights(
                    server._link, self.mesh, node, self.planned, drops_all=False
                )
            with stream_target(self.site, self.mesh, self.lost, node) as target:
                stored[node] = read_members(target.link, self.mesh)
                state = target.read_state()
                # A node without the stream has none of the changes, and is behind all others.
                positions[node] = LSN.INVALID if state is None else state.position
        answers = is_reachable(self.site, self.lost)
        return remove_findings(self.lost, answers, stored, self.planned, positions, rights)


def is_reachable(site: Site, node: str) -> bool:
    """Return whether a node accepts connections."""
    try:
        with site.server(node):
            return True
    # Any other error is an answer of the server, which then is not lost.
    except ConnectionFailed:
        return False
