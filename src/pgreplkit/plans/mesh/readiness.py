"""The findings on servers that are to form a mesh, or to join one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import combinations

import attrs

from pgreplkit._text import counted
from pgreplkit.catalog.features import has
from pgreplkit.catalog.logical.applytables import TargetTable
from pgreplkit.catalog.logical.sequences import SequenceState
from pgreplkit.plans.logical.applyreadiness import (
    ApplyRights,
    privileges_missing,
    replication_found,
    rights_findings,
    unique_beside_key,
)
from pgreplkit.plans.logical.deltacolumns import delta_problems
from pgreplkit.plans.mesh.layout import Members, disagreement, fits_ties
from pgreplkit.plans.mesh.sequences import collisions
from pgreplkit.plans.mesh.status import MeshStream, StreamState
from pgreplkit.plans.server.readiness import Settings, checked, free_places, setting_found, value_of
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.lsn import LSN
from pgreplkit.values.tablename import TableName

_PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "TRIGGER")
"""TRIGGER, as deletions leave tombstones; TRUNCATE, as an interrupted copy is repeated."""
_SKEW = timedelta(seconds=1)
"""Above it, commits of one node often wait for the clock of another one."""


@attrs.frozen(kw_only=True)
class MeshNodeFacts:
    """The state of one server."""

    name: str
    major: int
    system_id: str
    database: str
    encoding: str
    in_recovery: bool
    skew: timedelta
    """The time by which its clock is ahead of this machine's."""
    slots: int
    senders: int
    origins: int
    settings: Settings
    tables: Mapping[TableName, TargetTable | None]
    with_rows: tuple[TableName, ...]
    """Tables that have rows."""
    without_full: tuple[TableName, ...]
    """Tables without the replica identity FULL."""
    without_old_values: tuple[TableName, ...]
    """Tables with values that can be large, and without the replica identity FULL."""
    with_foreign_keys: tuple[TableName, ...]
    sequences: tuple[SequenceState, ...]
    """Sequences that a column of the tables owns."""
    hidden: tuple[TableName, ...]
    """Those that the role may not read."""
    members: Members
    """As the server has them stored; none if it is not in the mesh."""
    published: tuple[TableName, ...] | None
    """The tables of the publication; None if it does not exist."""
    owns_tables: bool
    """Whether the role owns the tables, and can publish them."""
    may_replicate: bool
    rights: ApplyRights


@attrs.frozen(kw_only=True)
class MeshFacts:
    """The state of all servers of a mesh that is created, or joined."""

    mesh: str
    nodes: tuple[MeshNodeFacts, ...]
    first: str
    """The node whose rows the others get."""
    new: tuple[str, ...]
    """The nodes that become members."""
    policy: Finding
    ties: str
    deltas: Mapping[TableName, tuple[str, ...]] = {}
    """Columns to which differences are added."""


def mesh_findings(facts: MeshFacts) -> list[Finding]:
    """Return the findings of all checks that compare nodes, or count their resources."""
    return [
        facts.policy,
        *_identities(facts),
        *_members(facts),
        *(finding for node in facts.nodes for finding in _node(node, facts)),
        *_tables(facts),
        *_deltas(facts),
        *_sequences(facts),
    ]


def leave_findings(streams: Sequence[MeshStream]) -> list[Finding]:
    """Return the findings on the streams by which the others get the changes of a node."""
    return [
        checked(
            f"stream to {stream.target}",
            ok=stream.state is StreamState.STREAMING,
            observed=stream.state.value,
            needed=f"{StreamState.STREAMING}: the node leaves when its changes are applied there",
            remedy="run the mesh while the node leaves",
            # A stream that stands may have ended just now, and start again.
            otherwise=Severity.WARNING
            if stream.state is StreamState.STOPPED
            else Severity.CRITICAL,
        )
        for stream in streams
    ]


def remove_findings(
    lost: str, answers: bool, stored: Mapping[str, Members], positions: Mapping[str, LSN]
) -> list[Finding]:
    """Return the findings on a lost node, and on its transactions that the others have.

    ``positions`` are the ends of its last transactions that each of the others has applied.
    """
    differing = disagreement(stored)
    # The streams have the lost node's own positions, so these compare.
    furthest = max(positions.values(), default=LSN.INVALID)
    behind = [node for node, position in positions.items() if position < furthest]
    ahead = [node for node in positions if node not in behind]
    return [
        checked(
            f"node {lost}",
            ok=not answers,
            observed="it can be reached" if answers else "it cannot be reached",
            needed="a node that is lost: another one should leave, so that no change is lost",
            remedy=f"plan_leave({lost!r})",
        ),
        checked(
            "members",
            ok=not differing,
            observed=differing or "all others have the same members and ranks stored",
            needed="the same members and ranks on each node",
            remedy="resume or undo the operation that was interrupted",
        ),
        checked(
            f"changes of {lost}",
            ok=not behind,
            observed=", ".join(
                f"{node} has applied them up to {position}" for node, position in positions.items()
            ),
            needed="the same changes on all nodes: rows that it changed later can differ",
            remedy=f"after the removal, update on {' or '.join(ahead)} the rows that compare()"
            " returns",
            otherwise=Severity.WARNING,
        ),
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
        f"{a.name} and {b.name} are database {a.database} of the cluster {a.system_id}"
        for a, b in combinations(nodes, 2)
        if (a.system_id, a.database) == (b.system_id, b.database)
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
    # Only differences between nodes count: this machine's own clock may be wrong.
    skew = max((node.skew for node in nodes), default=timedelta()) - min(
        (node.skew for node in nodes), default=timedelta()
    )
    yield checked(
        "clocks",
        ok=skew <= _SKEW,
        observed=f"they differ by {skew.total_seconds():.3f} s",
        needed=f"at most {_SKEW.total_seconds():g} s: a change waits until the clock of the node"
        " that applies it has passed its commit time",
        remedy="synchronize the clocks",
        otherwise=Severity.WARNING,
    )


def _members(facts: MeshFacts) -> Iterator[Finding]:
    """Check that new nodes are not members, and that the others agree."""
    # A node that has left may join again.
    already = [node.name for node in facts.nodes if node.name in facts.new and node.members.present]
    yield checked(
        "membership",
        ok=not already,
        observed=f"{', '.join(already)} already belongs to a mesh {facts.mesh!r}"
        if already
        else f"{', '.join(facts.new)} belongs to no mesh {facts.mesh!r}",
        needed="nodes that are not members",
        remedy="choose another name=, or let the node leave with plan_leave()",
    )
    # New nodes have nothing stored, which is no disagreement.
    stored = {node.name: node.members for node in facts.nodes if node.name not in facts.new}
    differing = disagreement(stored)
    yield checked(
        "members",
        ok=not differing,
        observed=differing or "all members have the same members and ranks stored",
        needed="the same members and ranks on each node",
        remedy="resume or undo the operation that was interrupted",
    )
    older = [
        f"{node.name} is {node.major}"
        for node in facts.nodes
        if not fits_ties(facts.ties, node.major)
    ]
    yield checked(
        "ties",
        ok=not older,
        observed=", ".join(older) or f"decided by {facts.ties} on all nodes",
        needed="PostgreSQL 14 or newer, as on the nodes with which the mesh was created: older"
        " servers do not store the origin of a commit",
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
    setup = f"run what setup_sql({role!r}) prints for {node.name}"
    yield replication_found("replication", role, setup, ok=node.may_replicate)
    yield from rights_findings(node.rights, node.major, setup, uses_origin=True)
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
    # Members have a publication already, which other nodes use.
    if node.name in facts.new:
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


def _tables(facts: MeshFacts) -> Iterator[Finding]:
    tables = sorted({table for node in facts.nodes for table in node.tables})
    yield checked(
        "tables",
        ok=bool(tables),
        observed=counted(len(tables), "table"),
        needed="at least one table",
    )
    by_name = {node.name: node for node in facts.nodes}
    first = by_name[facts.first]
    for table in tables:
        missing = [node.name for node in facts.nodes if node.tables.get(table) is None]
        model = first.tables.get(table)
        differing = [
            f"{node.name}: {difference}"
            for node in facts.nodes
            for own in [node.tables.get(table)]
            if own is not None and model is not None
            for difference in [_difference(model, own)]
            if difference
        ]
        yield from _converging(table, facts)
        yield checked(
            f"table {table}",
            ok=not missing and not differing,
            observed=f"{', '.join(missing)} lacks it"
            if missing
            else "; ".join(differing) or "the same on all nodes",
            needed=f"the same columns, types and keys as on {facts.first}",
            remedy="align the tables, as with copy_schema() or schema_drift()",
        )
    filled = [
        f"{node.name} has rows in {', '.join(map(str, node.with_rows))}"
        for node in facts.nodes
        # The rows of the first node are those that are copied.
        if node.name in facts.new and node.name != facts.first and node.with_rows
    ]
    yield checked(
        "rows",
        ok=not filled,
        observed="; ".join(filled) or "the tables of the new nodes are empty",
        needed=f"empty tables, to which the rows of {facts.first} are copied",
        remedy="remove these rows, or begin with the node that has them",
    )


def _converging(table: TableName, facts: MeshFacts) -> Iterator[Finding]:
    """Check for what would let the rows of a table differ in the end, and say what is unchecked."""
    held = {node.name: node.tables.get(table) for node in facts.nodes}
    beside = {
        name: others
        for name, own in held.items()
        if own is not None and (others := unique_beside_key(own))
    }
    yield checked(
        f"unique columns of {table}",
        ok=not beside,
        observed="; ".join(f"{', '.join(others)} on {name}" for name, others in beside.items())
        or "none beside the key",
        needed="no unique index or exclusion constraint but the key: two nodes can insert rows of"
        " which each refuses the other's",
        remedy="drop the index, or add a column for the node to it",
    )
    keyless = [name for name, own in held.items() if own is not None and not own.primary_key]
    yield checked(
        f"key of {table}",
        ok=not keyless,
        observed=f"{', '.join(keyless)} has no key" if keyless else "it has a key",
        needed="a primary key",
        remedy=f"ALTER TABLE {table} ADD PRIMARY KEY …",
    )
    # Before a row can be inserted where it is missing, all of its values must be known.
    partial = [node.name for node in facts.nodes if table in node.without_old_values]
    yield checked(
        f"replica identity of {table}",
        ok=not partial,
        observed=f"not FULL on {', '.join(partial)}" if partial else "it suffices",
        needed="FULL, for a table with values that can be large: an update does not send those"
        " that it leaves, and another node may lack them",
        remedy=f"ALTER TABLE {table} REPLICA IDENTITY FULL",
    )
    # No problem by itself, as most schemas have them: a fact to know.
    if any(table in node.with_foreign_keys for node in facts.nodes):
        yield Finding(
            check=f"foreign keys of {table}",
            severity=Severity.INFO,
            found="they are checked on the node that writes, and not when changes are applied",
            needed="no deletion of a row to which another node adds a reference at the same time",
        )


def _deltas(facts: MeshFacts) -> Iterator[Finding]:
    for table, names in facts.deltas.items():
        problems = []
        for node in facts.nodes:
            own = node.tables.get(table)
            if own is None:
                problems.append(f"it is no table of the mesh on {node.name}")
                continue
            problems += [f"{problem}, on {node.name}" for problem in delta_problems(own, names)]
            if table in node.without_full:
                problems.append(f"its replica identity is not FULL on {node.name}")
        yield checked(
            f"delta columns of {table}",
            ok=not problems,
            observed="; ".join(problems) or f"differences can be added to {', '.join(names)}",
            needed="NOT NULL columns of the type smallint, integer, bigint or numeric(p, s), and"
            " REPLICA IDENTITY FULL",
        )


def _difference(model: TargetTable, own: TargetTable) -> str:
    # Each node computes generated columns, so they may differ. The order of columns does not
    # matter: changes name them.
    theirs = {column.name: column.type for column in model.columns if not column.is_generated}
    ours = {column.name: column.type for column in own.columns if not column.is_generated}
    if lacking := sorted(theirs.keys() - ours.keys()):
        return f"it lacks the column {lacking[0]}"
    if extra := sorted(ours.keys() - theirs.keys()):
        return f"only it has the column {extra[0]}"
    for name, kind in theirs.items():
        if ours[name] != kind:
            return f"{name} is {ours[name]}, not {kind}"
    # The first key is the one by which changes find their row.
    if model.keys[:1] != own.keys[:1]:
        return f"its key is {_key(own.keys)}, not {_key(model.keys)}"
    return ""


def _key(keys: Sequence[tuple[str, ...]]) -> str:
    return f"({', '.join(keys[0])})" if keys else "missing"


def _sequences(facts: MeshFacts) -> Iterator[Finding]:
    colliding = collisions({node.name: node.sequences for node in facts.nodes})
    yield checked(
        "sequences",
        ok=not colliding,
        observed="; ".join(colliding) or "no two nodes can draw the same number",
        needed="numbers of its own for each node: two rows with one key would become one",
        remedy="spread_sequences()",
    )
