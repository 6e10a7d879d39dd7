"""The checks of the operations of a mesh: read the facts, and turn them into findings."""

from __future__ import annotations

from contextlib import suppress

import attrs

from pgreplkit._async.cluster.site import AsyncSite
from pgreplkit._async.logical.applyshapes import read_targets
from pgreplkit._async.logical.tombstones import final_tables
from pgreplkit._async.mesh.facts import read_node
from pgreplkit._async.mesh.members import mesh_tables, read_members, sending_slots
from pgreplkit._async.mesh.rights import read_member_rights
from pgreplkit._async.mesh.status import read_stream
from pgreplkit._async.mesh.streams import stream_target
from pgreplkit.apply.policies import Policy, clock_limit, deltas_of, policy_text
from pgreplkit.errors import ConnectionFailed
from pgreplkit.plans.mesh.facts import MeshFacts
from pgreplkit.plans.mesh.layout import Members, without
from pgreplkit.plans.mesh.leaving import forget_findings, leave_findings, remove_findings
from pgreplkit.plans.mesh.membership import PolicyFacts, change_findings, convergence_found
from pgreplkit.plans.mesh.readiness import mesh_findings
from pgreplkit.plans.mesh.status import StreamState
from pgreplkit.values.finding import Finding
from pgreplkit.values.lsn import LSN
from pgreplkit.values.tablename import TableName


@attrs.frozen
class AsyncMeshChecks:
    """The checks of a mesh that is created or joined."""

    site: AsyncSite
    mesh: str
    nodes: tuple[str, ...]
    new: tuple[str, ...]
    first: str
    tables: tuple[TableName, ...]
    planned: Members
    policy: Policy

    async def findings(self) -> list[Finding]:
        """Return one finding for each check."""
        # One after the other is enough: each clock is compared with this machine's.
        nodes = []
        for name in self.nodes:
            async with await self.site.server(name) as server:
                peers = without(self.nodes, name)
                nodes.append(await read_node(server._link, self.mesh, name, self.tables, peers))
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
                    [await read_stream(servers, self.mesh, one, first, None) for one in sources]
                ),
            )
        )


@attrs.frozen
class AsyncPolicyChecks:
    """The checks of a mesh that gets another policy."""

    site: AsyncSite
    mesh: str
    planned: Members
    policy: Policy

    async def findings(self) -> list[Finding]:
        """Return one finding for each check."""
        members, deltas = self.planned.present, deltas_of(self.policy)
        nodes, running = {}, []
        for node in members:
            async with await self.site.server(node) as server:
                link = server._link
                tables = await mesh_tables(link, self.mesh)
                nodes[node] = PolicyFacts(
                    members=await read_members(link, self.mesh),
                    final=await final_tables(link) & {*tables},
                    tables=await read_targets(link, [*deltas]),
                )
            for source in without(members, node):
                stream = await read_stream(self.site.servers, self.mesh, source, node, None)
                if stream.state is StreamState.STREAMING:
                    running.append(f"{source} to {node}")
        return [
            convergence_found(self.policy, len(members)),
            *change_findings(nodes, self.planned, deltas, running),
        ]


@attrs.frozen
class AsyncLeaveChecks:
    """The checks of a node that leaves."""

    site: AsyncSite
    mesh: str
    node: str
    others: tuple[str, ...]
    planned: Members

    async def findings(self) -> list[Finding]:
        """Return one finding for each check."""
        stored, rights = {}, {}
        for node in (self.node, *self.others):
            # The finding on its stream says that it cannot be reached.
            with suppress(ConnectionFailed):
                async with await self.site.server(node) as server:
                    rights[node] = await read_member_rights(
                        server._link, self.mesh, node, self.planned, drops_all=node == self.node
                    )
                    stored[node] = await read_members(server._link, self.mesh)
        return leave_findings(
            [
                await read_stream(self.site.servers, self.mesh, self.node, other, None)
                for other in self.others
            ],
            stored,
            self.planned,
            rights,
        )


@attrs.frozen
class AsyncForgetChecks:
    """The checks of a node that forgets a mesh."""

    site: AsyncSite
    mesh: str
    node: str
    others: tuple[str, ...]
    planned: Members
    """The members, as the node itself has them stored."""

    async def findings(self) -> list[Finding]:
        """Return one finding for each check.

        Raises: ConnectionFailed if the node itself cannot be reached.
        """
        async with await self.site.server(self.node) as server:
            link = server._link
            slots = await sending_slots(link, self.mesh, self.node, self.others)
            own = await read_members(link, self.mesh)
            rights = await read_member_rights(
                link, self.mesh, self.node, self.planned, drops_all=True
            )
        # Of those that left before, only known ones are asked: their servers may not exist.
        asked = {*self.planned.present, *self.site.servers}
        stored = dict[str, Members | None].fromkeys(one for one in self.others if one in asked)
        for other in stored.keys() & self.site.servers.keys():
            with suppress(ConnectionFailed):
                async with await self.site.server(other) as server:
                    stored[other] = await read_members(server._link, self.mesh)
        return forget_findings(
            self.node,
            own={self.node: own},
            planned=self.planned,
            stored=stored,
            known=self.site.servers,
            slots=slots,
            rights=rights,
        )


@attrs.frozen
class AsyncRemoveChecks:
    """The checks of a node that is lost."""

    site: AsyncSite
    mesh: str
    lost: str
    others: tuple[str, ...]
    planned: Members

    async def findings(self) -> list[Finding]:
        """Return one finding for each check.

        Raises: ConnectionFailed if one of the others cannot be reached.
        """
        stored, positions, rights = {}, {}, {}
        for node in self.others:
            async with await self.site.server(node) as server:
                rights[node] = await read_member_rights(
                    server._link, self.mesh, node, self.planned, drops_all=False
                )
            async with await stream_target(self.site, self.mesh, self.lost, node) as target:
                stored[node] = await read_members(target.link, self.mesh)
                state = await target.read_state()
                # A node without the stream has none of the changes, and is behind all others.
                positions[node] = LSN.INVALID if state is None else state.position
        answers = await is_reachable(self.site, self.lost)
        return remove_findings(
            self.lost,
            answers=answers,
            stored=stored,
            planned=self.planned,
            positions=positions,
            rights=rights,
        )


async def is_reachable(site: AsyncSite, node: str) -> bool:
    """Return whether a node accepts connections."""
    try:
        async with await site.server(node):
            return True
    # Any other error is an answer of the server, which then is not lost.
    except ConnectionFailed:
        return False
