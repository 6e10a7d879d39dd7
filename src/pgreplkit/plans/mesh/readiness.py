"""The findings on servers that are to form a mesh, or to join one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import combinations

import attrs

from pgreplkit._text import counted
from pgreplkit.catalog.features import has
from pgreplkit.plans.logical.applyrights import privileges_missing
from pgreplkit.plans.mesh.facts import MeshFacts, MeshNodeFacts
from pgreplkit.plans.mesh.layout import fits_ties
from pgreplkit.plans.mesh.membership import members_found, policy_found
from pgreplkit.plans.mesh.rights import common_rights, owners_found, setup_of
from pgreplkit.plans.mesh.sequences import collisions
from pgreplkit.plans.mesh.status import MeshStream, StreamState
from pgreplkit.plans.mesh.tables import table_findings
from pgreplkit.plans.server.readiness import checked, free_places, setting_found, value_of
from pgreplkit.values.finding import Finding, Severity

_PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "TRIGGER")
"""TRIGGER, as deletions leave tombstones; TRUNCATE, as an interrupted copy is repeated."""
_SKEW = timedelta(seconds=1)
"""Above it, commits of one node often wait for the clock of another one."""


def mesh_findings(facts: MeshFacts) -> list[Finding]:
    """Return the findings of all checks that compare nodes, or count their resources."""
    return [
        facts.policy,
        *_identities(facts),
        *_members(facts),
        *map(_stream_to_donor, facts.streams),
        *(finding for node in facts.nodes for finding in _node(node, facts)),
        *table_findings(facts),
        *_sequences(facts),
    ]


def _identities(facts: MeshFacts) -> Iterator[Finding]:
    nodes = facts.nodes
    yield checked(
        "nodes",
        ok=len(nodes) > 1,
        observed=f"{len(nodes)}: {', '.join(node.name for node in nodes)}",
        needed="two or more",
    )
    # Two names may lead to one server, as behind a proxy: its changes would go round.
    same = [
        f"{a.name} and {b.name} are the database {a.database} of one server"
        for a, b in combinations(nodes, 2)
        if (a.system_id, a.started_at, a.database) == (b.system_id, b.started_at, b.database)
    ]
    yield checked(
        "databases",
        ok=not same,
        observed="; ".join(same) or "each node is another database",
        needed="another database for each node",
        remedy="correct the connection strings",
    )
    encodings = sorted({f"{node.encoding} on {node.name}" for node in nodes})
    yield checked(
        "encodings",
        ok=len({node.encoding for node in nodes}) < 2,
        observed=", ".join(encodings),
        needed="the same encoding everywhere: not every text exists in another one",
    )
    yield _clocks(facts)


def _clocks(facts: MeshFacts) -> Finding:
    nodes = facts.nodes
    # Only differences between nodes count: this machine's own clock may be wrong.
    skew = max((node.skew for node in nodes), default=timedelta()) - min(
        (node.skew for node in nodes), default=timedelta()
    )
    return checked(
        "clocks",
        ok=skew <= _SKEW,
        observed=f"they differ by {skew.total_seconds():.3f} s",
        needed=f"at most {_SKEW.total_seconds():g} s: a change waits until the clock of the node"
        " that applies it has passed its commit time, and stops its stream if that takes longer"
        f" than max_clock_skew, {facts.max_clock_skew.total_seconds():g} s",
        remedy="synchronize the clocks",
        # Above the limit, a copy would fail at its end, and streams would stand.
        otherwise=Severity.CRITICAL if skew > facts.max_clock_skew else Severity.WARNING,
    )


def _members(facts: MeshFacts) -> Iterator[Finding]:
    """Check that new nodes are not members, and that the others agree."""
    # A node that has left may join again.
    already = [node.name for node in facts.nodes if node.name in facts.new and node.members.present]
    yield checked(
        "membership",
        ok=not already,
        observed=f"a mesh {facts.mesh!r} already has {', '.join(already)}"
        if already
        else f"no mesh {facts.mesh!r} has {', '.join(facts.new)}",
        needed="nodes that are not members",
        remedy="choose another name=, or let the node leave with plan_leave(); plan_forget() takes"
        " a mesh that has ended elsewhere off a node",
    )
    foreign = [f"{slot} on {node.name}" for node in facts.nodes for slot in node.foreign_slots]
    yield checked(
        "slot names",
        ok=not foreign,
        observed=f"other databases have {', '.join(foreign)}"
        if foreign
        else "no other database has slots of these names",
        needed="names for slots and origins that no other mesh of the servers uses",
        remedy="choose another name=",
    )
    shared = [
        f"{', '.join(map(str, tables))} of the mesh {mesh!r} on {node.name}"
        for node in facts.nodes
        for mesh, tables in node.others.items()
    ]
    yield checked(
        "other meshes",
        ok=not shared,
        observed="; ".join(shared) or "no other mesh has these tables",
        needed="tables that are in one mesh: each change would be applied by both",
        remedy="leave these tables out, or let the nodes leave the other mesh by its plan_leave()",
    )
    # New nodes have nothing stored, which is not a disagreement.
    stored = {node.name: node.members for node in facts.nodes if node.name not in facts.new}
    if stored:
        yield members_found(stored, facts.planned)
        yield policy_found(facts.policy_text, stored)
    older = [
        f"{node.name} is {node.major}"
        for node in facts.nodes
        if not fits_ties(facts.planned.ties, node.major)
    ]
    yield checked(
        "ties",
        ok=not older,
        observed=", ".join(older) or f"decided by {facts.planned.ties} on all nodes",
        needed="PostgreSQL 14 or newer, as on the nodes with which the mesh was created: older"
        " servers do not store the origin of a commit",
    )


def _stream_to_donor(stream: MeshStream) -> Finding:
    """Check that the donor gets what another member has committed before the new node's slots."""
    source, donor, behind = stream.source, stream.target, stream.behind_bytes
    return checked(
        f"stream from {source} to {donor}",
        ok=stream.state is StreamState.STREAMING,
        observed=f"{stream.state}"
        + ("" if behind is None else f", {counted(behind, 'byte')} of WAL behind"),
        needed=f"{StreamState.STREAMING}: the rows are copied from {donor} when it has applied what"
        f" {source} has committed",
        remedy={
            StreamState.STOPPED: "run the mesh, here or in another process, until the node has"
            " joined",
            StreamState.LOST: f"choose another donor, and let {donor} leave and join again",
        }.get(stream.state, "choose another donor, or resume the operation that was interrupted"),
        # It may start before the copy.
        otherwise=Severity.WARNING if stream.state is StreamState.STOPPED else Severity.CRITICAL,
    )


def _node(node: MeshNodeFacts, facts: MeshFacts) -> Iterator[Finding]:
    name, settings = node.name, node.settings
    yield checked(
        f"role of {name}",
        ok=not node.in_recovery,
        observed="it is a standby" if node.in_recovery else "it is a primary",
        needed="a primary: every node writes",
    )
    found = [
        setting_found(
            settings,
            "wal_level",
            value_of(settings, "wal_level") == "logical",
            needed="logical",
            value="logical",
        ),
        setting_found(
            settings,
            "track_commit_timestamp",
            value_of(settings, "track_commit_timestamp") is True,
            needed="on, to know which change is the last",
            value="on",
        ),
    ]
    is_new = name in facts.new
    # A new node exchanges streams with all others, a member only with the new ones.
    wanted = len(facts.nodes) - 1 if is_new else len(facts.new)
    has_origin_limit = has("subscription.origin_limit", node.major)
    # Before 18 one setting limits slots and origins, each by itself. There may be more origins than
    # slots: those of nodes that have left stay, because rows refer to them.
    used = node.slots if has_origin_limit else max(node.slots, node.origins)
    found += [
        free_places(settings, "max_replication_slots", used=used, wanted=wanted),
        free_places(settings, "max_wal_senders", used=node.senders, wanted=wanted),
    ]
    if has_origin_limit:
        limit = "max_active_replication_origins"
        found.append(free_places(settings, limit, used=node.origins, wanted=wanted))
    found += _rights(node, facts)
    # The checks of servers know no nodes: their names are completed here.
    yield from (attrs.evolve(one, check=f"{one.check} of {name}") for one in found)


def _rights(node: MeshNodeFacts, facts: MeshFacts) -> Iterator[Finding]:
    """Check what the role needs on a node; nothing needs a superuser."""
    role = node.rights.role
    setup = setup_of(role, node.name)
    yield from common_rights(node.rights, node.major, setup, may_replicate=node.may_replicate)
    if node.name in facts.new:
        # Another role may have created them, and the mesh would run.
        yield owners_found(role, node.foreign, otherwise=Severity.WARNING)
    yield checked(
        "sequences",
        ok=not node.hidden,
        observed=f"{role} may not read {', '.join(map(str, node.hidden))}"
        if node.hidden
        else f"{role} may read those of the tables",
        needed="SELECT, to know which numbers a node draws",
        remedy=setup,
    )
    for table in node.tables.values():
        if table is not None:
            check = f"privileges on {table.table}"
            missing = privileges_missing(check, table, role, _PRIVILEGES, setup)
            yield missing or checked(
                check, ok=True, observed=f"{role} has all", needed=", ".join(_PRIVILEGES)
            )
    # Members have a publication already, which other nodes use. That there is no table is a finding
    # of its own.
    if node.name in facts.new and any(own is not None for own in node.tables.values()):
        listed = ", ".join(map(str, node.published or ()))
        yield checked(
            "publication",
            ok=node.owns_tables if node.published is None else {*node.published} == {*node.tables},
            observed=f"it publishes {listed or 'no table'}"
            if node.published is not None
            else f"it does not exist, and {role} owns the tables"
            if node.owns_tables
            else f"it does not exist, and {role} does not own the tables",
            needed="a publication of the tables, which only the owner of the tables can create",
            remedy=setup if node.published is None else "drop it",
        )


def _sequences(facts: MeshFacts) -> Iterator[Finding]:
    colliding = collisions({node.name: node.sequences for node in facts.nodes})
    # The findings of the nodes say which sequences nobody has looked at.
    if not colliding and any(node.hidden for node in facts.nodes):
        return
    yield checked(
        "sequences",
        ok=not colliding,
        observed="; ".join(colliding) or "no two nodes can draw the same number",
        needed="numbers of its own for each node: two rows with one key would become one",
        remedy="spread_sequences()",
    )
