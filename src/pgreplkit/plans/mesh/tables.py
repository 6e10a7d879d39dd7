"""The findings on the tables of a mesh: equal on all nodes, and such that their rows converge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pgreplkit._text import counted, quote_identifier
from pgreplkit.catalog.features import has
from pgreplkit.catalog.logical.applytables import TargetTable
from pgreplkit.catalog.logical.keytypes import ambiguous_key_columns
from pgreplkit.plans.logical.applytables import (
    KEY_NEEDED,
    KEY_REMEDY,
    NO_RULES,
    identities_found,
    unique_besides_key,
    unset_identities,
)
from pgreplkit.plans.logical.deltacolumns import delta_problems
from pgreplkit.plans.mesh.facts import MeshFacts
from pgreplkit.plans.server.readiness import checked
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.tablename import TableName


def table_findings(facts: MeshFacts) -> Iterator[Finding]:
    """Return the findings on the tables, their keys and their delta columns."""
    yield from _tables(facts)
    yield from _deltas(facts)


def _tables(facts: MeshFacts) -> Iterator[Finding]:
    tables = sorted({table for node in facts.nodes for table in node.tables})
    yield checked(
        "tables",
        ok=bool(tables),
        observed=counted(len(tables), "table"),
        needed="at least one table",
        remedy="create the tables, or correct tables=",
    )
    by_name = {node.name: node for node in facts.nodes}
    first = by_name[facts.first]
    for table in tables:
        missing = [*_missing(table, facts)]
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
        yield from _virtual(table, facts)
        yield from _partitioned(table, facts)
        yield from _unlogged(table, facts)
        yield from _inherited(table, facts)
        yield from _rules(table, facts)
        yield from _triggers(table, facts)
        yield checked(
            f"table {table}",
            ok=not missing and not differing,
            observed="; ".join(missing or differing) or "the same on all nodes",
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


def _missing(table: TableName, facts: MeshFacts) -> Iterator[str]:
    """Yield the nodes without a table, grouped by the kind of relation of that name."""
    nodes: dict[str, list[str]] = {}
    for node in facts.nodes:
        if node.tables.get(table) is None:
            kind = node.no_tables.get(table)
            nodes.setdefault(f"a {kind}" if kind else "missing", []).append(node.name)
    for what, names in nodes.items():
        yield f"it is {what} on {', '.join(names)}"


def _converging(table: TableName, facts: MeshFacts) -> Iterator[Finding]:
    """Check for what would let the rows of a table differ in the end, and say what is unchecked."""
    held = {node.name: node.tables.get(table) for node in facts.nodes}
    besides = {
        name: others
        for name, own in held.items()
        if own is not None and (others := unique_besides_key(own))
    }
    yield checked(
        f"unique columns of {table}",
        ok=not besides,
        observed="; ".join(f"{', '.join(others)} on {name}" for name, others in besides.items())
        or "none except for the key",
        needed="no unique index or exclusion constraint but the key: two nodes can insert rows of"
        " which each refuses the other's",
        remedy="drop the index, or add a column for the node to it",
    )
    keyless = [name for name, own in held.items() if own is not None and not own.primary_key]
    yield checked(
        f"key of {table}",
        ok=not keyless,
        observed=f"it has no key on {', '.join(keyless)}" if keyless else "it has a key",
        needed="a primary key",
        remedy=f"ALTER TABLE {table} ADD PRIMARY KEY …",
    )
    lost = {
        name: columns
        for name, own in held.items()
        if own is not None and (columns := [*ambiguous_key_columns(own)])
    }
    yield checked(
        f"deletions in {table}",
        ok=not lost,
        observed="; ".join(
            f"the key has {', '.join(columns)}, on {n}" for n, columns in lost.items()
        )
        or "they are found again by the key",
        needed=KEY_NEEDED,
        remedy=KEY_REMEDY,
    )
    unset = {
        name: columns
        for name, own in held.items()
        if own is not None and (columns := unset_identities(own))
    }
    yield identities_found(f"identity columns of {table}", unset, table)
    yield _identity(table, facts)
    # No problem by itself, as most schemas have them: a fact to know.
    if any(table in node.with_foreign_keys for node in facts.nodes):
        yield Finding(
            check=f"foreign keys of {table}",
            severity=Severity.INFO,
            found="they are checked on the node that writes, and not when changes are applied",
            needed="no deletion of a row to which another node adds a reference at the same time",
        )


def _identity(table: TableName, facts: MeshFacts) -> Finding:
    # Before a row can be inserted where it is missing, all of its values must be known.
    partial = {
        node.name: node.without_full[table]
        for node in facts.nodes
        if table in node.with_large and table in node.without_full
    }
    # An update writes the old row as the identity of its partition says.
    tables = sorted({one for found in partial.values() for one in found})
    return checked(
        f"replica identity of {table}",
        ok=not partial,
        observed=f"not FULL on {', '.join(partial)}" if partial else "it suffices",
        needed="FULL, for a table with values that can be large: an update does not send those"
        " that it leaves, and another node may lack them",
        remedy="; ".join(f"ALTER TABLE {one} REPLICA IDENTITY FULL" for one in tables),
    )


def _virtual(table: TableName, facts: MeshFacts) -> Iterator[Finding]:
    refusing = [node.name for node in facts.nodes if table in node.with_virtual]
    if refusing:
        yield checked(
            f"virtual columns of {table}",
            ok=False,
            observed=f"it has some and REPLICA IDENTITY FULL on {', '.join(refusing)}, which then"
            " refuses UPDATE and DELETE: they cannot be published",
            needed="stored generated columns, or a replica identity without them",
            remedy="make these columns STORED, or drop them",
        )


def _partitioned(table: TableName, facts: MeshFacts) -> Iterator[Finding]:
    refusing = [
        node.name
        for node in facts.nodes
        for own in [node.tables.get(table)]
        if own is not None and own.is_partitioned and not has("publication.via_root", node.major)
    ]
    if refusing:
        yield checked(
            f"partitions of {table}",
            ok=False,
            observed=f"{', '.join(refusing)} cannot publish a partitioned table",
            needed="PostgreSQL 13 or newer, or tables that are not partitioned",
            remedy="leave the table out",
        )


def _unlogged(table: TableName, facts: MeshFacts) -> Iterator[Finding]:
    unlogged = {
        node.name: own.unlogged
        for node in facts.nodes
        for own in [node.tables.get(table)]
        if own is not None and own.unlogged
    }
    if unlogged:
        tables = dict.fromkeys(one for found in unlogged.values() for one in found)
        yield checked(
            f"persistence of {table}",
            ok=False,
            observed="; ".join(
                f"{', '.join(found)} on {name}: not logged" for name, found in unlogged.items()
            ),
            needed="tables whose changes are in the WAL: others cannot be published, and are empty"
            " after a crash",
            remedy="; ".join(f"ALTER TABLE {one} SET LOGGED" for one in tables),
        )


def _inherited(table: TableName, facts: MeshFacts) -> Iterator[Finding]:
    children = {node.name: node.children[table] for node in facts.nodes if table in node.children}
    if children:
        listed = sorted({str(one) for found in children.values() for one in found})
        yield checked(
            f"inheritance of {table}",
            ok=False,
            observed=f"{', '.join(listed)} inherits from it on {', '.join(children)}",
            needed="a mesh with all tables that inherit: their rows are rows of the table, and are"
            " neither copied nor sent otherwise",
            remedy=f"add {', '.join(listed)} to tables=",
        )


def _rules(table: TableName, facts: MeshFacts) -> Iterator[Finding]:
    held = {node.name: node.tables.get(table) for node in facts.nodes}
    ruled = {name: own for name, own in held.items() if own is not None and own.rules}
    if ruled:
        yield checked(
            f"rules of {table}",
            ok=False,
            observed="; ".join(f"{', '.join(own.rules)} on {name}" for name, own in ruled.items()),
            needed=NO_RULES,
            remedy="; ".join(
                dict.fromkeys(
                    statement
                    for own in ruled.values()
                    for statement in own.without_rules(replaces=True)
                )
            ),
        )


def _triggers(table: TableName, facts: MeshFacts) -> Iterator[Finding]:
    firing = {node.name: node.firing[table] for node in facts.nodes if table in node.firing}
    if firing:
        names = sorted({name for found in firing.values() for name in found})
        yield checked(
            f"triggers of {table}",
            ok=False,
            observed="; ".join(
                f"{', '.join(found)} fires for the changes of other nodes, too, on {name}"
                for name, found in firing.items()
            ),
            needed="triggers that fire where a client writes: one that changes a row, or leaves it"
            " out, lets the nodes differ",
            remedy="; ".join(
                f"ALTER TABLE {table} ENABLE TRIGGER {quote_identifier(name)}" for name in names
            ),
            # It may only write a log of the node's own.
            otherwise=Severity.WARNING,
        )


def _deltas(facts: MeshFacts) -> Iterator[Finding]:
    for table, names in facts.deltas.items():
        problems = []
        for node in facts.nodes:
            own = node.tables.get(table)
            if own is None:
                problems.append(f"it is not a table of the mesh on {node.name}")
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
