"""SchemaDrift: where the tables of a subscriber are not made as the publisher's are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import attrs

from pgreplkit.catalog.logical.drift import TableColumn, TableConstraint, TableShape
from pgreplkit.catalog.logical.publication import PublishedTable
from pgreplkit.values.finding import Severity
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.plain import Plain, plain_row
from pgreplkit.values.tablename import TableName, quoted


class DriftKind(OpenEnum):
    """What is not alike."""

    TABLE_MISSING = "table missing"
    COLUMN_MISSING = "column missing"
    COLUMN_EXTRA = "column extra"
    COLUMN_DIFFERS = "column differs"
    INDEX_MISSING = "index missing"
    INDEX_INVALID = "index invalid"
    CONSTRAINT_MISSING = "constraint missing"
    CONSTRAINT_EXTRA = "constraint extra"
    TRIGGER_FIRES = "trigger fires"
    """A trigger of the subscriber that fires for replicated changes too."""
    PARTITION_MISSING = "partition missing"


class SchemaSection(OpenEnum):
    """A part of a schema, as pg_dump divides it."""

    PRE_DATA = "pre-data"
    """Types, functions, tables; what must be there before rows are copied."""
    POST_DATA = "post-data"
    """Indexes, keys, constraints, triggers: primary keys too, which applying changes needs."""


@attrs.frozen(kw_only=True)
class Drift:
    """One thing that is not alike.

    CRITICAL stops the replication or will, a WARNING makes the subscriber behave differently, INFO
    is worth knowing.
    """

    kind: DriftKind
    table: TableName
    name: str
    """Of the column, index, constraint, trigger or partition; else the table's."""
    severity: Severity
    found: str
    ddl: tuple[str, ...] = ()
    """What makes it alike, to be run on the subscriber; none where that is yours to decide."""


@attrs.frozen(kw_only=True)
class SchemaDrift:
    """All that is not alike, table by table."""

    _also_plain = ("severity",)

    drifts: tuple[Drift, ...]

    @property
    def severity(self) -> Severity:
        """That of the worst; OK when all is alike."""
        return max((drift.severity for drift in self.drifts), default=Severity.OK)

    @property
    def ddl(self) -> tuple[str, ...]:
        """What makes the subscriber alike as far as that can be said: columns, then indexes and
        constraints, to be run one by one, in no transaction, after the copy."""
        order = [*DriftKind]
        sorted_ = sorted(self.drifts, key=lambda drift: order.index(drift.kind))
        return tuple(statement for drift in sorted_ for statement in drift.ddl)

    def __getitem__(self, kind: DriftKind) -> tuple[Drift, ...]:
        """Those of one kind."""
        return tuple(drift for drift in self.drifts if drift.kind is kind)

    def to_dict(self) -> dict[str, Plain]:
        """All of it as JSON knows it."""
        return plain_row(self)


Shapes = Mapping[TableName, TableShape]


def schema_drift_of(
    tables: Sequence[PublishedTable], publisher: Shapes, subscriber: Shapes
) -> SchemaDrift:
    """Compare the tables that are published."""
    return SchemaDrift(
        drifts=tuple(
            drift
            for published in tables
            if published.table in publisher
            for drift in _table(
                published, publisher[published.table], subscriber.get(published.table)
            )
        )
    )


def _table(
    published: PublishedTable, theirs: TableShape, ours: TableShape | None
) -> Iterator[Drift]:
    if ours is None:
        yield Drift(
            kind=DriftKind.TABLE_MISSING,
            table=theirs.table,
            name=str(theirs.table),
            severity=Severity.CRITICAL,
            found="the subscriber does not have it",
        )
        return
    yield from _columns(published, theirs, ours)
    yield from _indexes(theirs, ours)
    yield from _constraints(theirs, ours)
    for trigger in ours.triggers.values():
        if trigger.enabled in {"A", "R"}:
            yield Drift(
                kind=DriftKind.TRIGGER_FIRES,
                table=theirs.table,
                name=trigger.name,
                severity=Severity.WARNING,
                found="it is ENABLE "
                + ("ALWAYS" if trigger.enabled == "A" else "REPLICA")
                + ", so that it fires for replicated changes",
            )
    for partition in theirs.partitions.values():
        if ours.is_partitioned and partition.bound not in {
            p.bound for p in ours.partitions.values()
        }:
            yield Drift(
                kind=DriftKind.PARTITION_MISSING,
                table=theirs.table,
                name=partition.name,
                severity=Severity.CRITICAL,
                found=f"the subscriber has no partition {partition.bound}",
            )


def _columns(published: PublishedTable, theirs: TableShape, ours: TableShape) -> Iterator[Drift]:
    names = tuple(theirs.columns) if published.columns is None else published.columns
    for name in names:
        there, here = theirs.columns[name], ours.columns.get(name)
        if there.generated and published.columns is None:
            continue  # It is not sent.
        if here is None:
            yield Drift(
                kind=DriftKind.COLUMN_MISSING,
                table=theirs.table,
                name=name,
                severity=Severity.CRITICAL,
                found="the subscriber does not have it",
                ddl=(f"ALTER TABLE {theirs.table} ADD COLUMN {quoted(name)} {there.type}",),
            )
            continue
        severity, differences = _differences(there, here)
        if differences:
            yield Drift(
                kind=DriftKind.COLUMN_DIFFERS,
                table=theirs.table,
                name=name,
                severity=severity,
                found="; ".join(differences),
            )
    for name, extra in ours.columns.items():
        if name not in names and not (name in theirs.columns and theirs.columns[name].generated):
            needs = extra.not_null and extra.default is None and not extra.identity
            needs = needs and not extra.generated
            yield Drift(
                kind=DriftKind.COLUMN_EXTRA,
                table=theirs.table,
                name=name,
                severity=Severity.CRITICAL if needs else Severity.INFO,
                found="only the subscriber has it"
                + (", and it is NOT NULL without a default" if needs else ""),
            )


def _differences(there: TableColumn, here: TableColumn) -> tuple[Severity, list[str]]:
    told: list[tuple[Severity, str]] = []
    if here.type != there.type:
        told.append((Severity.WARNING, f"type {here.type}, the publisher has {there.type}"))
    if here.not_null and not there.not_null:
        told.append((Severity.CRITICAL, "NOT NULL, which it is not on the publisher"))
    elif there.not_null and not here.not_null:
        told.append((Severity.WARNING, "may be NULL, which it may not on the publisher"))
    if here.generated and not there.generated:
        told.append((Severity.CRITICAL, "generated, so that no value can be replicated into it"))
    if here.collation != there.collation:
        collations = f"{here.collation or 'the default'}, not {there.collation or 'the default'}"
        told.append((Severity.WARNING, f"collation {collations}"))
    worst = max((severity for severity, _ in told), default=Severity.OK)
    return worst, [text for _, text in told]


def _indexes(theirs: TableShape, ours: TableShape) -> Iterator[Drift]:
    own = {_alike(index.definition, index.name) for index in ours.indexes.values()}
    for index in theirs.indexes.values():
        if _alike(index.definition, index.name) not in own:
            yield Drift(
                kind=DriftKind.INDEX_MISSING,
                table=theirs.table,
                name=index.name,
                severity=Severity.WARNING,
                found="the subscriber has no such index",
                ddl=(_concurrently(index.definition, is_partitioned=ours.is_partitioned),),
            )
    for index in ours.indexes.values():
        if not index.is_valid and not ours.is_partitioned:
            yield Drift(
                kind=DriftKind.INDEX_INVALID,
                table=theirs.table,
                name=index.name,
                severity=Severity.WARNING,
                found="it was not built to its end: drop it, and build it again",
            )


def _alike(definition: str, name: str) -> str:
    return definition.replace(f" INDEX {quoted(name)} ON ", " INDEX ON ", 1)


def _concurrently(definition: str, *, is_partitioned: bool) -> str:
    # The server builds no index of a partitioned table that way.
    if is_partitioned:
        return definition.replace(" ON ONLY ", " ON ", 1)
    return definition.replace(" INDEX ", " INDEX CONCURRENTLY ", 1)


_LATE = {"f", "c"}
"""Constraints that can be added first and looked at later, without a lock for long."""


def _constraints(theirs: TableShape, ours: TableShape) -> Iterator[Drift]:
    own = {(c.type, c.definition) for c in ours.constraints.values()}
    there = {(c.type, c.definition) for c in theirs.constraints.values()}
    for constraint in theirs.constraints.values():
        if (constraint.type, constraint.definition) not in own:
            yield Drift(
                kind=DriftKind.CONSTRAINT_MISSING,
                table=theirs.table,
                name=constraint.name,
                severity=Severity.CRITICAL if constraint.type == "p" else Severity.WARNING,
                found=f"the subscriber has no {constraint.definition}",
                ddl=_adding(theirs.table, constraint),
            )
    for constraint in ours.constraints.values():
        if (constraint.type, constraint.definition) not in there:
            refuses = constraint.type in {"p", "u", "c", "x"}
            yield Drift(
                kind=DriftKind.CONSTRAINT_EXTRA,
                table=theirs.table,
                name=constraint.name,
                severity=Severity.WARNING if refuses else Severity.INFO,
                found=f"only the subscriber has {constraint.definition}"
                + (", which may refuse what the publisher takes" if refuses else ""),
            )


def _adding(table: TableName, constraint: TableConstraint) -> tuple[str, ...]:
    name = quoted(constraint.name)
    if constraint.type not in _LATE or constraint.definition.endswith("NOT VALID"):
        return (f"ALTER TABLE {table} ADD CONSTRAINT {name} {constraint.definition}",)
    return (
        f"ALTER TABLE {table} ADD CONSTRAINT {name} {constraint.definition} NOT VALID",
        f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}",
    )
