"""SchemaDrift: the differences between a subscriber's tables and its publisher's."""

from collections.abc import Iterator, Mapping, Sequence

import attrs

from pgreplkit.catalog.logical.drift import TableColumn, TableConstraint, TableShape
from pgreplkit.catalog.logical.publication import PublishedTable
from pgreplkit.plans.logical.typedrift import type_differences
from pgreplkit.values.finding import Severity, tally
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.record import Record
from pgreplkit.values.tablename import TableName, quoted
from pgreplkit.values.text import wrapped


class DriftKind(OpenEnum):
    """The kind of a difference."""

    TABLE_MISSING = "table missing"
    TABLE_DIFFERS = "table differs"
    COLUMN_MISSING = "column missing"
    COLUMN_EXTRA = "column extra"
    COLUMN_DIFFERS = "column differs"
    TYPE_DIFFERS = "type differs"
    """A column's type is defined differently: enum labels, domain constraints, attributes."""
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
    """Types, functions and tables: the definitions that must exist before rows are copied."""
    POST_DATA = "post-data"
    """Indexes, keys, constraints and triggers; among them primary keys, which applying needs."""
    KEYS = "keys"
    """The part of the post-data that applying needs: keys, unique constraints, and the indexes that
    are replica identities."""
    REST = "rest"
    """The other part of the post-data, which is faster after the copy of the rows: indexes, foreign
    keys and triggers."""


@attrs.frozen(kw_only=True)
class Drift(Record):
    """One difference between a table of the subscriber and the publisher's.

    A CRITICAL difference stops the replication, now or with the next change that meets it; a
    WARNING makes the subscriber behave differently; INFO needs no action.
    """

    kind: DriftKind
    table: TableName
    name: str
    """The name of the column, index, constraint, trigger or partition; otherwise the table's."""
    severity: Severity
    found: str
    ddl: tuple[str, ...] = ()
    """The DDL that aligns the subscriber; empty if the decision is yours."""

    def __str__(self) -> str:
        severity = f"{self.severity:<8}  "
        what = f"{self.table}: {self.kind}: {self.name}: {self.found}"
        lines = wrapped(what, first=severity)
        for statement in self.ddl:
            lines += wrapped(f"→ {statement}", first=" " * len(severity))
        return "\n".join(lines)


@attrs.frozen(kw_only=True)
class SchemaDrift(Record):
    """All differences between the compared tables, table by table."""

    drifts: tuple[Drift, ...]

    @property
    def severity(self) -> Severity:
        """The worst severity; OK without a difference."""
        return max((drift.severity for drift in self.drifts), default=Severity.OK)

    @property
    def ddl(self) -> tuple[str, ...]:
        """The DDL that aligns the subscriber, as far as it can be derived.

        Columns and types first, then indexes and constraints. Run the statements one by one,
        outside a transaction, after the copy.
        """
        order = [*DriftKind]
        ordered = sorted(self.drifts, key=lambda drift: order.index(drift.kind))
        # A type that several columns have differs for each of them.
        return tuple(dict.fromkeys(statement for drift in ordered for statement in drift.ddl))

    def __getitem__(self, kind: DriftKind) -> tuple[Drift, ...]:
        """Return the differences of one kind; empty if there are none."""
        return tuple(drift for drift in self.drifts if drift.kind is kind)

    def __iter__(self) -> Iterator[Drift]:
        return iter(self.drifts)

    def __contains__(self, drift: object) -> bool:
        """Return whether the report has this difference, or a difference of this kind."""
        return any(drift in (each, each.kind) for each in self.drifts)

    def __len__(self) -> int:
        return len(self.drifts)

    def __str__(self) -> str:
        if not self.drifts:
            return "no drift"
        ordered = sorted(self.drifts, key=lambda drift: drift.severity, reverse=True)
        count = tally(drift.severity for drift in ordered)
        return "\n".join([f"drift: {count}", *map(str, ordered)])


Shapes = Mapping[TableName, TableShape]


def schema_drift_of(
    tables: Sequence[PublishedTable],
    publisher: Shapes,
    subscriber: Shapes,
    others: Mapping[TableName, str],
) -> SchemaDrift:
    """Compare published tables with the subscriber's.

    ``others`` are the kinds of the subscriber's relations that are no tables. A table that the
    publisher lacks is left out.
    """
    drifts: list[Drift] = []
    for published in tables:
        theirs, ours = publisher.get(published.table), subscriber.get(published.table)
        if theirs is not None and ours is None:
            missing = "the subscriber does not have it"
            if kind := others.get(published.table):
                missing = f"the subscriber has a {kind} of that name, and a change needs a table"
            name = str(theirs.table)
            drifts.append(_drift(theirs, DriftKind.TABLE_MISSING, name, Severity.CRITICAL, missing))
        elif theirs is not None and ours is not None:
            drifts += _table(published, theirs, ours)
    return SchemaDrift(drifts=tuple(drifts))


def _drift(
    table: TableShape,
    kind: DriftKind,
    name: str,
    severity: Severity,
    found: str,
    ddl: tuple[str, ...] = (),
) -> Drift:
    return Drift(kind=kind, table=table.table, name=name, severity=severity, found=found, ddl=ddl)


def _table(published: PublishedTable, theirs: TableShape, ours: TableShape) -> Iterator[Drift]:
    sent = _sent(published, theirs)
    yield from _persistence(theirs, ours)
    yield from _columns(sent, theirs, ours)
    yield from _extra_columns(sent, theirs, ours)
    yield from _types(sent, theirs, ours)
    yield from _indexes(theirs, ours)
    yield from _constraints(theirs, ours)
    yield from _triggers(theirs, ours)
    yield from _partitions(theirs, ours)


def _persistence(theirs: TableShape, ours: TableShape) -> Iterator[Drift]:
    if ours.is_unlogged:
        found = "it is UNLOGGED: a crash of the subscriber empties it, and no row is sent again"
        name, ddl = str(theirs.table), (f"ALTER TABLE {theirs.table} SET LOGGED",)
        yield _drift(theirs, DriftKind.TABLE_DIFFERS, name, Severity.WARNING, found, ddl)


def _sent(published: PublishedTable, theirs: TableShape) -> tuple[str, ...]:
    """Return the names of the columns that the publisher sends.

    Without a list of columns generated columns are not sent, unless the publication says so
    (18 on); then the list of the server names them.
    """
    if published.columns is not None:
        return published.columns
    return tuple(column.name for column in theirs.columns.values() if not column.generated)


def _columns(sent: Sequence[str], theirs: TableShape, ours: TableShape) -> Iterator[Drift]:
    # The server maps columns by name, so that their order does not matter.
    for name in sent:
        there, here = theirs.columns[name], ours.columns.get(name)
        if here is None:
            found = "the subscriber does not have it"
            ddl: tuple[str, ...] = ()
            if ours.bound is None:
                ddl = (f"ALTER TABLE {theirs.table} ADD COLUMN {_definition(there)}",)
            else:
                # The server adds no column to a partition alone.
                found += f"; add {_definition(there)} to the partitioned table"
            yield _drift(theirs, DriftKind.COLUMN_MISSING, name, Severity.CRITICAL, found, ddl)
            continue
        differences = _differences(there, here)
        if differences:
            worst = max(severity for severity, _ in differences)
            found = "; ".join(text for _, text in differences)
            yield _drift(theirs, DriftKind.COLUMN_DIFFERS, name, worst, found)


def _definition(column: TableColumn) -> str:
    """Return a column for ADD COLUMN.

    The publisher's rows that are older than the column have its default, which is not replicated.
    """
    definition = f"{quoted(column.name)} {column.type}"
    # nextval() returns other numbers here, and its sequence may not exist.
    if column.default is None or column.generated or "nextval(" in column.default:
        return definition
    # Without a default, rows that exist would violate NOT NULL.
    return f"{definition} DEFAULT {column.default}{' NOT NULL' if column.not_null else ''}"


def _extra_columns(sent: Sequence[str], theirs: TableShape, ours: TableShape) -> Iterator[Drift]:
    """Yield the subscriber's columns that get no value from the publisher."""
    for name, extra in ours.columns.items():
        if name in sent:
            continue
        is_there = name in theirs.columns
        if is_there and extra.generated and theirs.columns[name].generated:
            if extra.default != theirs.columns[name].default:
                found = f"generated as {extra.default}, on the publisher as"
                found += f" {theirs.columns[name].default}"
                yield _drift(theirs, DriftKind.COLUMN_DIFFERS, name, Severity.WARNING, found)
            continue
        if is_there and not extra.needs_value and (extra.generated or extra.default is not None):
            continue  # The subscriber computes the value that the publisher does not send.
        found = "the publisher does not send it" if is_there else "only the subscriber has it"
        if extra.needs_value:
            found += ", and it is NOT NULL without a default"
        severity = Severity.CRITICAL if extra.needs_value else Severity.INFO
        yield _drift(theirs, DriftKind.COLUMN_EXTRA, name, severity, found)


def _differences(there: TableColumn, here: TableColumn) -> list[tuple[Severity, str]]:
    differences: list[tuple[Severity, str]] = []
    # Values are sent as text or converted, so that another type may work until a value does not
    # fit.
    if here.type != there.type:
        text = f"type {here.type}, the publisher has {there.type}"
        differences.append((Severity.WARNING, text))
    if here.not_null and not there.not_null:
        text = "NOT NULL, which it is not on the publisher"
        differences.append((Severity.CRITICAL, text))
    elif there.not_null and not here.not_null:
        text = "may be NULL, which it may not on the publisher"
        differences.append((Severity.WARNING, text))
    if here.generated:
        text = "generated, so that no value can be replicated into it"
        differences.append((Severity.CRITICAL, text))
    if here.collation != there.collation:
        collations = f"{here.collation or 'the default'}, not {there.collation or 'the default'}"
        differences.append((Severity.WARNING, f"collation {collations}"))
    return differences


def _types(sent: Sequence[str], theirs: TableShape, ours: TableShape) -> Iterator[Drift]:
    for name in sent:
        if name not in ours.columns:
            continue
        there, here = theirs.columns[name].type_oid, ours.columns[name].type_oid
        for one in type_differences(there, theirs.types, here, ours.types):
            yield _drift(theirs, DriftKind.TYPE_DIFFERS, name, one.severity, one.found, one.ddl)


def _indexes(theirs: TableShape, ours: TableShape) -> Iterator[Drift]:
    # A missing index does not stop the replication, but may make UPDATE and DELETE slow.
    own = {_without_name(index.definition, index.name) for index in ours.indexes.values()}
    for index in theirs.indexes.values():
        if _without_name(index.definition, index.name) not in own:
            yield _drift(
                theirs,
                DriftKind.INDEX_MISSING,
                index.name,
                Severity.WARNING,
                "the subscriber has no such index",
                (_concurrently(index.definition, is_partitioned=ours.is_partitioned),),
            )
    for index in ours.indexes.values():
        if not index.is_valid and not ours.is_partitioned:
            yield _drift(
                theirs,
                DriftKind.INDEX_INVALID,
                index.name,
                Severity.WARNING,
                "its build did not finish: drop it and build it again",
            )
    yield from _unique_indexes(theirs, ours)


def _unique_indexes(theirs: TableShape, ours: TableShape) -> Iterator[Drift]:
    """Yield the subscriber's unique indexes that refuse rows as no rule of the publisher does."""
    there = {_without_name(index.definition, index.name) for index in theirs.indexes.values()}
    rules = {constraint.rule for constraint in theirs.constraints.values()}
    for index in ours.indexes.values():
        keys = index.definition.partition(" USING btree ")[2]
        is_there = {("u", f"UNIQUE {keys}"), ("p", f"PRIMARY KEY {keys}")} & rules
        if is_there or _without_name(index.definition, index.name) in there:
            continue
        if index.is_unique and index.is_valid:
            found = (
                f"only the subscriber has {index.definition}, which may refuse what the publisher"
            )
            found += " takes"
            yield _drift(theirs, DriftKind.CONSTRAINT_EXTRA, index.name, Severity.WARNING, found)


def _without_name(definition: str, name: str) -> str:
    return definition.replace(f" INDEX {quoted(name)} ON ", " INDEX ON ", 1)


def _concurrently(definition: str, *, is_partitioned: bool) -> str:
    # The server cannot build an index of a partitioned table concurrently.
    if is_partitioned:
        return definition.replace(" ON ONLY ", " ON ", 1)
    return definition.replace(" INDEX ", " INDEX CONCURRENTLY ", 1)


_VALIDATED_LATER = {"f", "c"}
"""Constraints that can be added NOT VALID and validated later, without a lock held for long."""
_REFUSING = {"p", "u", "c", "x"}
"""Constraints that can refuse a row."""


def _constraints(theirs: TableShape, ours: TableShape) -> Iterator[Drift]:
    own = {c.rule for c in ours.constraints.values()}
    there = {c.rule: c for c in theirs.constraints.values()}
    # Without the primary key, rows can be duplicated.
    for constraint in theirs.constraints.values():
        if constraint.rule not in own:
            yield _drift(
                theirs,
                DriftKind.CONSTRAINT_MISSING,
                constraint.name,
                Severity.CRITICAL if constraint.type == "p" else Severity.WARNING,
                f"the subscriber has no {constraint.definition}",
                # The name is taken by a rule that may be there for a reason.
                () if constraint.name in ours.constraints else _adding(theirs.table, constraint),
            )
    for constraint in ours.constraints.values():
        refuses = constraint.type in _REFUSING and constraint.is_enforced
        severity = Severity.WARNING if refuses else Severity.INFO
        equal = there.get(constraint.rule)
        if equal is None:
            found = f"only the subscriber has {constraint.definition}"
            if refuses:
                found += ", which may refuse what the publisher takes"
        elif constraint.is_valid and not equal.is_valid:
            found = f"{constraint.definition} is NOT VALID on the publisher"
            if refuses:
                found += ", so that a copy of older rows may be refused"
        else:
            continue
        yield _drift(theirs, DriftKind.CONSTRAINT_EXTRA, constraint.name, severity, found)
    if ours.bound is not None and ours.bound != theirs.bound:
        found = f"the subscriber's partition takes only rows with {ours.bound}"
        name = str(theirs.table)
        yield _drift(theirs, DriftKind.CONSTRAINT_EXTRA, name, Severity.WARNING, found)


def _adding(table: TableName, constraint: TableConstraint) -> tuple[str, ...]:
    added = f"ALTER TABLE {table} ADD CONSTRAINT {quoted(constraint.name)} {constraint.definition}"
    is_later = constraint.type in _VALIDATED_LATER and constraint.is_enforced
    if not (is_later and constraint.is_valid):
        return (added,)
    validated = f"ALTER TABLE {table} VALIDATE CONSTRAINT {quoted(constraint.name)}"
    return (f"{added} NOT VALID", validated)


def _triggers(theirs: TableShape, ours: TableShape) -> Iterator[Drift]:
    # The apply worker runs with session_replication_role = replica, which skips other triggers.
    for trigger in ours.triggers.values():
        if word := {"A": "ALWAYS", "R": "REPLICA"}.get(trigger.enabled):
            found = f"it is ENABLE {word}, so that it fires for replicated changes"
            yield _drift(theirs, DriftKind.TRIGGER_FIRES, trigger.name, Severity.WARNING, found)


def _partitions(theirs: TableShape, ours: TableShape) -> Iterator[Drift]:
    # The subscriber may keep all rows in one table, or in other partitions with the same bounds.
    if not ours.is_partitioned:
        return
    bounds = {partition.bound for partition in ours.partitions.values()}
    if "DEFAULT" in bounds:
        return  # It takes the rows of all partitions that are missing.
    for partition in theirs.partitions.values():
        if partition.bound not in bounds:
            found = f"the subscriber has no partition {partition.bound}"
            yield _drift(
                theirs, DriftKind.PARTITION_MISSING, partition.name, Severity.CRITICAL, found
            )
