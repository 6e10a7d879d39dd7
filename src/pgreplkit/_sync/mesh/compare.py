# Generated from pgreplkit/_async/mesh/compare.py by `nox -s sync`. Do not edit.
"""Compare the rows of all nodes of a mesh, while all of them are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from psycopg.rows import DictRow
from psycopg.sql import Composed

from pgreplkit._sync.logical.compare import float_types
from pgreplkit._sync.logical.drift import other_relations
from pgreplkit._sync.wire.link import Link
from pgreplkit.catalog.logical.compare import ColumnShape, columns_of, key_of
from pgreplkit.driver.encodings import common_encoding
from pgreplkit.driver.failures import read_grant
from pgreplkit.driver.tablescan import TableScan, columns_named
from pgreplkit.errors import KeyMissing, ServerError, TableNotFound
from pgreplkit.plans.logical.compare import Digest, Key, KeyRange
from pgreplkit.plans.mesh.status import Look, MeshComparison, MeshDifference, MeshVerdict
from pgreplkit.values.tablename import TableName

_LOOKS = 8
"""How often rows that change at each look are read again; then they are reported as undecided."""
_KEYS_AT_ONCE = 200
"""Keys that are read one by one; a longer list costs more than reading the whole range again."""


class CatchUp(Protocol):
    """Waits until each node has applied what was committed on any other one before."""

    def __call__(self) -> None: ...


class MeshCompare:
    """Compares tables range by range; ``catch_up`` waits until all nodes have all changes."""

    def __init__(
        self,
        links: Mapping[str, Link],
        catch_up: CatchUp,
        range_rows: int,
        timeout: float,
    ) -> None:
        self._links, self._catch_up = links, catch_up
        self._range_rows, self._timeout = range_rows, timeout
        self._first = next(iter(links.values()))

    def run(self, tables: Sequence[TableName]) -> MeshComparison:
        """Compare the tables.

        Raises: TableNotFound; ServerError if a node lacks a column; KeyMissing; WaitTimeout;
        StatementTimeout.
        """
        rows, differences, undecided = 0, list[MeshDifference](), list[str]()
        # Before the first look: each node has what the others had written until now.
        self._catch_up()
        for table in tables:
            scan = self._scan(table)
            low: Key | None = None
            while True:
                high = self._last_key(scan, KeyRange(low, None))
                within = KeyRange(low, high)
                digests = [self._digest(link, scan, within) for link in self._links.values()]
                rows += digests[0].rows
                # Only a suspicion: the nodes are written while one is read after the other.
                if any(digest != digests[0] for digest in digests):
                    verdict = self._looked_at(scan, within)
                    differences += [self._difference(scan, key) for key in verdict.differing]
                    undecided += [f"{table} {scan.named(key)}" for key in verdict.doubtful]
                # The last range has no end: another node may have rows after the first one's last.
                if high is None:
                    break
                low = high
        return MeshComparison(
            nodes=tuple(self._links),
            tables=tuple(tables),
            rows=rows,
            differences=tuple(differences),
            undecided=tuple(undecided),
        )

    def _scan(self, table: TableName) -> TableScan:
        operation = f"compare {table}"
        shapes = [self._shapes(link, table) for link in self._links.values()]
        by_node = dict(zip(self._links, shapes, strict=True))
        self._insist_on_table(table, [node for node, own in by_node.items() if not own])
        _insist_on_columns(table, by_node)
        keys = self._first.all(
            operation, key_of(self._first.version.major), [table.schema, table.name]
        )
        if not keys:
            raise KeyMissing(operation, "it has no unique key of columns that are NOT NULL")
        # Generated columns are not replicated: each server computes its own.
        names = [shape.name for shape in shapes[0] if not shape.is_generated]
        # The first node's order of the columns, for all nodes: theirs may differ, and the texts
        # would too.
        key = columns_named(shapes[0], keys[0]["columns"])
        collations = [{shape.name: shape.collation for shape in of_node} for of_node in shapes]
        return TableScan(
            table=table,
            columns=columns_named(shapes[0], names),
            key=key,
            where=None,
            is_ordered_alike=all(
                of_node[one.name] == one.collation for of_node in collations for one in key
            ),
            has_hash64=all(link.has("function.hash64") for link in self._links.values()),
            encoding=common_encoding(link.connection for link in self._links.values()),
            types=float_types([*self._links.values()], table),
        )

    def _insist_on_table(self, table: TableName, missing: Sequence[str]) -> None:
        """Raise TableNotFound if nodes lack the table."""
        kinds = {
            node: kind
            for node in missing
            for kind in (other_relations(self._links[node], [table])).values()
        }
        found = [f"on {node} it is a {kind}" for node, kind in kinds.items()]
        if lacking := [node for node in missing if node not in kinds]:
            found.append(f"there is no such table on {', '.join(lacking)}")
        if found:
            raise TableNotFound(f"compare {table}", "; ".join(found))

    def _shapes(self, link: Link, table: TableName) -> list[ColumnShape]:
        operation = f"compare {table}"
        with link.qualified(operation) as within:
            records = within.all(
                operation, columns_of(link.version.major), [table.schema, table.name]
            )
        return [ColumnShape(**record) for record in records]

    def _looked_at(self, scan: TableScan, within: KeyRange) -> MeshVerdict:
        """Look at the rows of a range until it is known which differ."""
        verdict = MeshVerdict()
        for _ in range(_LOOKS):
            few = len(verdict.doubtful) <= _KEYS_AT_ONCE
            statement = scan.hashes(within, verdict.doubtful if few else ())
            looks: list[Look] = []
            for link in self._links.values():
                records = self._read(link, scan, statement)
                looks.append({scan.key_in(r): (r["hash"], r["version"]) for r in records})
            verdict.add(looks)
            if not verdict.doubtful:
                break
            # The next look sees on each node what any other one had at this look.
            self._catch_up()
        return verdict

    def _difference(self, scan: TableScan, key: Key) -> MeshDifference:
        found: dict[str, dict[str, str | None] | None] = {}
        for name, link in self._links.items():
            records = self._read(link, scan, scan.rows([key]))
            found[name] = scan.values_in(records[0]) if records else None
        return MeshDifference(table=scan.table, key=scan.named(key), rows=found)

    def _last_key(self, scan: TableScan, within: KeyRange) -> Key | None:
        records = self._read(self._first, scan, scan.last_key(within, self._range_rows))
        return scan.key_in(records[0]) if records else None

    def _digest(self, link: Link, scan: TableScan, within: KeyRange) -> Digest:
        [record] = self._read(link, scan, scan.digest(within))
        return Digest(record["rows"], record["hash"])

    def _read(self, link: Link, scan: TableScan, statement: Composed) -> list[DictRow]:
        operation = f"compare {scan.table}"
        with link.transaction(operation, timeout=self._timeout, hides_values=True) as within:
            # Texts depend on settings of the session, which may differ between the servers.
            within.one(operation, scan.settings)
            return within.all(operation, statement, grant=read_grant(scan.table))


def _insist_on_columns(table: TableName, shapes: Mapping[str, Sequence[ColumnShape]]) -> None:
    """Raise an error if a node lacks a column that the first node has."""
    operation = f"compare {table}"
    columns = {node: {shape.name for shape in of_node} for node, of_node in shapes.items()}
    first, model = next(iter(columns.items()))
    for node, own in columns.items():
        if lacking := sorted(model - own):
            raise ServerError(
                operation,
                f"{node} lacks the columns {', '.join(lacking)}, which {first} has",
                remedy="align the tables, as with schema_drift()",
            )
