"""Differences between the definitions of tables, from the definitions alone."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given, strategies as st

from pgreplkit import Drift, DriftKind, PublishedTable, Severity, TableName
from pgreplkit.catalog.logical.drift import (
    TableColumn,
    TableConstraint,
    TableIndex,
    TablePartition,
    TableShape,
    TableTrigger,
)
from pgreplkit.plans.logical.drift import schema_drift_of

TABLE = TableName("public", "users")
COLUMN = TableColumn(
    name="a",
    type="integer",
    type_oid=23,
    not_null=False,
    default=None,
    generated="",
    identity="",
    collation=None,
)

columns = st.builds(
    TableColumn,
    name=st.just("a"),
    type=st.sampled_from(["integer", "bigint"]),
    type_oid=st.just(23),
    not_null=st.booleans(),
    default=st.sampled_from([None, "0"]),
    generated=st.sampled_from(["", "s"]),
    identity=st.sampled_from(["", "a"]),
    collation=st.sampled_from([None, "C"]),
)
tables = st.dictionaries(st.sampled_from(["a", "b", "c"]), columns).map(
    lambda shapes: [attrs.evolve(shape, name=name) for name, shape in shapes.items()]
)


def shape(*columns: TableColumn, **parts: object) -> TableShape:
    given = {"columns": {column.name: column for column in columns}, **parts}
    return TableShape(table=TABLE, is_partitioned=False, **given)  # type: ignore[arg-type]


def drifts(
    theirs: TableShape, ours: TableShape | None, published: PublishedTable | None = None
) -> list[Drift]:
    subscriber = {} if ours is None else {TABLE: ours}
    found = schema_drift_of([published or PublishedTable(TABLE)], {TABLE: theirs}, subscriber)
    return [*found.drifts]


@given(tables)
def test_a_table_does_not_differ_from_itself(own: list[TableColumn]) -> None:
    same = drifts(shape(*own), shape(*own))
    # A generated column with a key that the publisher does not send is computed here.
    assert same == []


@given(tables, tables)
def test_every_sent_column_that_the_subscriber_lacks_is_critical(
    theirs: list[TableColumn], ours: list[TableColumn]
) -> None:
    found = drifts(shape(*theirs), shape(*ours))
    missing = {drift.name for drift in found if drift.kind is DriftKind.COLUMN_MISSING}
    sent = {column.name for column in theirs if not column.generated}
    assert missing == sent - {column.name for column in ours}
    assert all(drift.severity is Severity.CRITICAL for drift in found if drift.name in missing)


@given(tables, tables)
def test_a_column_that_stops_every_insert_is_critical(
    theirs: list[TableColumn], ours: list[TableColumn]
) -> None:
    found = drifts(shape(*theirs), shape(*ours))
    sent = {column.name for column in theirs if not column.generated}
    stopping = {c.name for c in ours if c.name not in sent and c.needs_value}
    extra = [drift for drift in found if drift.kind is DriftKind.COLUMN_EXTRA]
    assert {d.name for d in extra if d.severity is Severity.CRITICAL} == stopping


def test_a_generated_column_is_compared_only_where_it_is_sent() -> None:
    generated = attrs.evolve(COLUMN, generated="s")
    assert drifts(shape(generated), shape()) == []
    listed = PublishedTable(TABLE, columns=["a"])
    [missing] = drifts(shape(generated), shape(), listed)
    assert missing.kind is DriftKind.COLUMN_MISSING
    [differs] = drifts(shape(generated), shape(generated), listed)
    assert differs.found == "generated, so that no value can be replicated into it"


def test_a_column_that_only_the_subscriber_computes_is_no_difference() -> None:
    generated = attrs.evolve(COLUMN, generated="s")
    assert drifts(shape(generated), shape(attrs.evolve(COLUMN, default="1"))) == []
    [empty] = drifts(shape(generated), shape(COLUMN))
    assert (empty.severity, empty.found) == (Severity.INFO, "the publisher does not send it")


@pytest.mark.parametrize(
    ("there", "here", "severity"),
    [
        ({}, {"not_null": True}, Severity.CRITICAL),
        ({"not_null": True}, {}, Severity.WARNING),
        ({}, {"type": "bigint"}, Severity.WARNING),
        ({}, {"collation": "C"}, Severity.WARNING),
        ({}, {"generated": "s"}, Severity.CRITICAL),
        ({}, {"type": "bigint", "not_null": True}, Severity.CRITICAL),
    ],
)
def test_the_worst_difference_of_a_column_counts(
    there: dict[str, object], here: dict[str, object], severity: Severity
) -> None:
    theirs = attrs.evolve(COLUMN, **there)  # type: ignore[arg-type]
    ours = attrs.evolve(COLUMN, **here)  # type: ignore[arg-type]
    [drift] = drifts(shape(theirs), shape(ours))
    assert (drift.kind, drift.severity) == (DriftKind.COLUMN_DIFFERS, severity)


def test_a_missing_table_is_critical() -> None:
    [drift] = drifts(shape(COLUMN), None)
    assert (drift.kind, drift.severity) == (DriftKind.TABLE_MISSING, Severity.CRITICAL)
    assert schema_drift_of([PublishedTable(TABLE)], {}, {}).severity is Severity.OK


def test_indexes_are_compared_without_their_names() -> None:
    def index(name: str, *, is_valid: bool = True) -> dict[str, TableIndex]:
        text = f"CREATE INDEX {name} ON public.users USING btree (a)"
        return {name: TableIndex(name=name, definition=text, is_valid=is_valid)}

    assert drifts(shape(indexes=index("one")), shape(indexes=index("other"))) == []
    [missing] = drifts(shape(indexes=index("one")), shape())
    assert missing.ddl == ("CREATE INDEX CONCURRENTLY one ON public.users USING btree (a)",)
    [invalid] = drifts(shape(), shape(indexes=index("one", is_valid=False)))
    assert invalid.kind is DriftKind.INDEX_INVALID


def test_constraints_are_added_first_and_validated_later() -> None:
    def constraint(type: str, text: str) -> dict[str, TableConstraint]:
        return {"c": TableConstraint(name="c", type=type, definition=text)}

    [check] = drifts(shape(constraints=constraint("c", "CHECK (a)")), shape())
    assert check.ddl == (
        "ALTER TABLE public.users ADD CONSTRAINT c CHECK (a) NOT VALID",
        "ALTER TABLE public.users VALIDATE CONSTRAINT c",
    )
    [key] = drifts(shape(constraints=constraint("p", "PRIMARY KEY (a)")), shape())
    assert (key.severity, len(key.ddl)) == (Severity.CRITICAL, 1)
    [extra] = drifts(shape(), shape(constraints=constraint("c", "CHECK (a)")))
    assert (extra.kind, extra.severity) == (DriftKind.CONSTRAINT_EXTRA, Severity.WARNING)
    [foreign] = drifts(shape(), shape(constraints=constraint("f", "FOREIGN KEY (a)")))
    assert foreign.severity is Severity.INFO


@pytest.mark.parametrize(
    ("enabled", "fires"), [("O", False), ("D", False), ("R", True), ("A", True)]
)
def test_only_triggers_that_fire_for_replicated_changes_matter(enabled: str, fires: bool) -> None:
    trigger = TableTrigger(name="t", enabled=enabled, definition="CREATE TRIGGER t")
    found = drifts(shape(), shape(triggers={"t": trigger}))
    assert [drift.kind for drift in found] == ([DriftKind.TRIGGER_FIRES] if fires else [])


def test_partitions_are_compared_by_their_bounds() -> None:
    def parted(name: str, bound: str) -> TableShape:
        parts = {name: TablePartition(name=name, bound=bound)}
        return attrs.evolve(shape(partitions=parts), is_partitioned=True)

    assert drifts(parted("one", "FOR VALUES IN (1)"), parted("other", "FOR VALUES IN (1)")) == []
    [missing] = drifts(parted("one", "FOR VALUES IN (1)"), parted("one", "FOR VALUES IN (2)"))
    assert (missing.kind, missing.severity) == (DriftKind.PARTITION_MISSING, Severity.CRITICAL)
    # A subscriber may keep the rows of all partitions in one table.
    assert drifts(parted("one", "FOR VALUES IN (1)"), shape()) == []
