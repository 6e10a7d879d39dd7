"""Differences between a subscriber's tables and the publisher's, from the shapes of both."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given, strategies as st

from pgreplkit import PublishedTable, TableName
from pgreplkit.catalog.logical.drift import (
    TableColumn,
    TableConstraint,
    TableIndex,
    TablePartition,
    TableShape,
    TableTrigger,
)
from pgreplkit.catalog.logical.types import TypeShape
from pgreplkit.plans.logical.drift import schema_drift_of
from pgreplkit.rows import DriftKind, SchemaDrift, Severity

T = TableName("public", "t")
INT4 = TypeShape(oid=23, name="integer", kind="b")


def column(name: str = "a", **changed: object) -> TableColumn:
    facts: dict[str, object] = {
        "name": name,
        "type": "integer",
        "type_oid": 23,
        "not_null": False,
        "default": None,
        "generated": "",
        "identity": "",
        "collation": None,
    }
    return TableColumn(**facts | changed)  # type: ignore[arg-type]


def shape(*columns: TableColumn, is_partitioned: bool = False, **parts: object) -> TableShape:
    return TableShape(
        table=T,
        is_partitioned=is_partitioned,
        columns={one.name: one for one in columns or (column(),)},
        types={23: INT4},
        **parts,  # type: ignore[arg-type]
    )


def drift(
    theirs: TableShape,
    ours: TableShape | None,
    columns: list[str] | None = None,
    *,
    other: str | None = None,
) -> SchemaDrift:
    """The differences of the subscriber's table ``ours`` from the publisher's ``theirs``."""
    published = PublishedTable("t", columns)
    there = {} if ours is None else {T: ours}
    return schema_drift_of([published], {T: theirs}, there, {} if other is None else {T: other})


def facts(found: SchemaDrift) -> list[tuple[DriftKind, str, Severity]]:
    return [(one.kind, one.name, one.severity) for one in found.drifts]


def test_equal_tables_have_no_drift_and_severity_ok() -> None:
    found = drift(shape(), shape())
    assert (found.drifts, found.severity, found.ddl) == ((), Severity.OK, ())


def test_a_missing_table_is_the_only_difference() -> None:
    found = drift(shape(column("a"), column("b")), None)
    assert facts(found) == [(DriftKind.TABLE_MISSING, "public.t", Severity.CRITICAL)]


def test_a_table_that_the_publisher_lacks_is_left_out() -> None:
    assert schema_drift_of([PublishedTable("t")], {}, {T: shape()}, {}).drifts == ()


@pytest.mark.parametrize("kind", ["view", "materialized view", "foreign table", "sequence"])
def test_a_relation_that_is_not_a_table_is_named(kind: str) -> None:
    [one] = drift(shape(), None, other=kind).drifts
    assert (one.kind, one.severity) == (DriftKind.TABLE_MISSING, Severity.CRITICAL)
    assert one.found.startswith(f"the subscriber has a {kind} of that name")


def test_a_missing_column_comes_with_ddl_for_its_quoted_name() -> None:
    found = drift(shape(column("a"), column("Big", type="numeric(5,2)")), shape())
    assert facts(found) == [(DriftKind.COLUMN_MISSING, "Big", Severity.CRITICAL)]
    assert found.ddl == ('ALTER TABLE public.t ADD COLUMN "Big" numeric(5,2)',)


@pytest.mark.parametrize(
    ("facts_of", "definition"),
    [
        ({"default": "5"}, "integer DEFAULT 5"),
        ({"default": "5", "not_null": True}, "integer DEFAULT 5 NOT NULL"),
        ({"not_null": True}, "integer"),
        # It would give the rows other numbers, and the sequence may not exist.
        ({"default": "nextval('t_b_seq'::regclass)", "not_null": True}, "integer"),
        # The publisher sends its values.
        ({"default": "a + 1", "generated": "s"}, "integer"),
    ],
)
def test_a_missing_column_gets_the_default_that_older_rows_have(
    facts_of: dict[str, object], definition: str
) -> None:
    found = drift(shape(column("a"), column("b", **facts_of)), shape(column("a")), ["a", "b"])
    assert found.ddl == (f"ALTER TABLE public.t ADD COLUMN b {definition}",)


def test_a_column_is_not_added_to_a_partition_alone() -> None:
    ours = shape(column("a"), bound="a > 5")
    [one] = drift(shape(column("a"), column("b", default="5"), bound="a > 5"), ours)[
        DriftKind.COLUMN_MISSING
    ]
    assert one.ddl == ()
    assert one.found.endswith("; add b integer DEFAULT 5 to the partitioned table")


def test_only_published_columns_are_compared() -> None:
    theirs = shape(column("a"), column("b"), column("c", type="text"))
    ours = shape(column("a"), column("c", type="integer"))
    assert facts(drift(theirs, ours, ["a"])) == [(DriftKind.COLUMN_EXTRA, "c", Severity.INFO)]
    assert {kind for kind, *_ in facts(drift(theirs, ours))} == {
        DriftKind.COLUMN_MISSING,
        DriftKind.COLUMN_DIFFERS,
    }


def test_generated_columns_are_not_sent_unless_the_publication_lists_them() -> None:
    theirs = shape(column("a"), column("g", generated="s"))
    assert facts(drift(theirs, shape())) == []
    assert facts(drift(theirs, shape(), ["a", "g"])) == [
        (DriftKind.COLUMN_MISSING, "g", Severity.CRITICAL)
    ]


def test_a_column_generated_by_another_expression_is_reported() -> None:
    there, here = (column("g", generated=g, default=d) for g, d in (("s", "a * 2"), ("v", "a * 3")))
    [one] = drift(shape(column("a"), there), shape(column("a"), here)).drifts
    assert (one.kind, one.severity) == (DriftKind.COLUMN_DIFFERS, Severity.WARNING)
    assert one.found == "generated as a * 3, on the publisher as a * 2"
    same = attrs.evolve(here, default=there.default)
    assert facts(drift(shape(column("a"), there), shape(column("a"), same))) == []


def test_an_unlogged_table_is_reported_with_ddl() -> None:
    found = drift(shape(), shape(is_unlogged=True))
    assert facts(found) == [(DriftKind.TABLE_DIFFERS, "public.t", Severity.WARNING)]
    assert found.ddl == ("ALTER TABLE public.t SET LOGGED",)


@pytest.mark.parametrize(
    ("there", "here", "severity"),
    [
        ({}, {"type": "bigint"}, Severity.WARNING),
        ({}, {"not_null": True}, Severity.CRITICAL),
        ({"not_null": True}, {}, Severity.WARNING),
        ({}, {"generated": "s"}, Severity.CRITICAL),
        ({}, {"collation": "C"}, Severity.WARNING),
        ({"collation": "C"}, {}, Severity.WARNING),
        ({}, {"default": "0"}, None),
        ({"default": "0"}, {"identity": "d"}, None),
    ],
)
def test_a_column_that_differs_has_the_severity_of_its_worst_difference(
    there: dict[str, object], here: dict[str, object], severity: Severity | None
) -> None:
    found = drift(shape(column("a", **there)), shape(column("a", **here)))
    expected = [] if severity is None else [(DriftKind.COLUMN_DIFFERS, "a", severity)]
    assert facts(found) == expected
    assert found.ddl == ()


def test_all_differences_of_a_column_are_in_one_text() -> None:
    found = drift(shape(), shape(column("a", type="text", not_null=True, collation="C")))
    [one] = found.drifts
    assert one.severity is Severity.CRITICAL
    assert one.found.count("; ") == 2


@pytest.mark.parametrize(
    ("extra", "severity"),
    [
        ({}, Severity.INFO),
        ({"default": "0"}, Severity.INFO),
        ({"not_null": True}, Severity.CRITICAL),
        ({"not_null": True, "default": "0"}, Severity.INFO),
        ({"not_null": True, "identity": "a"}, Severity.INFO),
        ({"not_null": True, "generated": "s"}, Severity.INFO),
    ],
)
def test_an_extra_column_is_critical_if_inserts_fail_without_a_value(
    extra: dict[str, object], severity: Severity
) -> None:
    found = drift(shape(), shape(column("a"), column("more", **extra)))
    assert facts(found) == [(DriftKind.COLUMN_EXTRA, "more", severity)]


@pytest.mark.parametrize(
    ("here", "is_drift"),
    [
        ({"generated": "s"}, False),
        ({"default": "0"}, False),
        ({}, True),
        ({"not_null": True}, True),
    ],
)
def test_a_column_that_is_not_sent_is_not_a_drift_if_the_subscriber_computes_it(
    here: dict[str, object], is_drift: bool
) -> None:
    theirs = shape(column("a"), column("b"))
    found = drift(theirs, shape(column("a"), column("b", **here)), ["a"])
    assert bool(found.drifts) is is_drift


def index(name: str, definition: str, *, is_valid: bool = True) -> dict[str, TableIndex]:
    return {name: TableIndex(name=name, definition=definition, is_valid=is_valid)}


def test_indexes_are_compared_without_their_names() -> None:
    theirs = shape(indexes=index("t_a_idx", "CREATE INDEX t_a_idx ON public.t USING btree (a)"))
    ours = shape(indexes=index("Other", 'CREATE INDEX "Other" ON public.t USING btree (a)'))
    assert facts(drift(theirs, ours)) == []
    unique = index("u", "CREATE UNIQUE INDEX u ON public.t USING btree (a)")
    assert facts(drift(theirs, shape(indexes=unique))) == [
        (DriftKind.INDEX_MISSING, "t_a_idx", Severity.WARNING),
        (DriftKind.CONSTRAINT_EXTRA, "u", Severity.WARNING),
    ]


def test_a_missing_index_is_built_concurrently_unless_the_table_is_partitioned() -> None:
    plain = shape(indexes=index("i", "CREATE INDEX i ON public.t USING btree (a)"))
    assert drift(plain, shape()).ddl == ("CREATE INDEX CONCURRENTLY i ON public.t USING btree (a)",)
    partitioned = shape(
        indexes=index("i", "CREATE INDEX i ON ONLY public.t USING btree (a)"), is_partitioned=True
    )
    assert drift(partitioned, shape(is_partitioned=True)).ddl == (
        "CREATE INDEX i ON public.t USING btree (a)",
    )


@pytest.mark.parametrize(
    ("definition", "rule", "is_extra"),
    [
        ("CREATE UNIQUE INDEX i ON public.t USING btree (lower(a))", None, True),
        (
            "CREATE UNIQUE INDEX i ON public.t USING btree (a) WHERE (a > 5)",
            ("u", "UNIQUE (a)"),
            True,
        ),
        ("CREATE UNIQUE INDEX i ON public.t USING btree (a)", ("u", "UNIQUE (b)"), True),
        ("CREATE UNIQUE INDEX i ON public.t USING btree (a)", ("u", "UNIQUE (a)"), False),
        ("CREATE UNIQUE INDEX i ON public.t USING btree (a)", ("p", "PRIMARY KEY (a)"), False),
        ("CREATE INDEX i ON public.t USING btree (a)", None, False),
    ],
)
def test_a_unique_index_that_only_the_subscriber_has_may_refuse_rows(
    definition: str, rule: tuple[str, str] | None, is_extra: bool
) -> None:
    rules = {} if rule is None else constraint(*rule)
    theirs, ours = (
        shape(constraints=rules),
        shape(constraints=rules, indexes=index("i", definition)),
    )
    expected = [(DriftKind.CONSTRAINT_EXTRA, "i", Severity.WARNING)] if is_extra else []
    assert facts(drift(theirs, ours)) == expected
    # Under another name it is the same rule.
    named = shape(constraints=rules, indexes=index("j", definition.replace(" i ", " j ")))
    assert facts(drift(named, ours)) == []


def test_an_invalid_index_is_reported_except_on_a_partitioned_table() -> None:
    broken = index("i", "CREATE INDEX i ON public.t USING btree (a)", is_valid=False)
    whole = shape(indexes=index("i", "CREATE INDEX i ON public.t USING btree (a)"))
    assert facts(drift(whole, shape(indexes=broken))) == [
        (DriftKind.INDEX_INVALID, "i", Severity.WARNING)
    ]
    ours = shape(indexes=broken, is_partitioned=True)
    assert facts(drift(shape(indexes=whole.indexes, is_partitioned=True), ours)) == []


def constraint(type: str, definition: str, name: str = "c") -> dict[str, TableConstraint]:
    return {name: TableConstraint(name=name, type=type, definition=definition)}


@pytest.mark.parametrize(
    ("type", "definition", "missing", "extra"),
    [
        ("p", "PRIMARY KEY (a)", Severity.CRITICAL, Severity.WARNING),
        ("u", "UNIQUE (a)", Severity.WARNING, Severity.WARNING),
        ("c", "CHECK (a > 0)", Severity.WARNING, Severity.WARNING),
        ("x", "EXCLUDE USING gist (a WITH =)", Severity.WARNING, Severity.WARNING),
        ("f", "FOREIGN KEY (a) REFERENCES o(a)", Severity.WARNING, Severity.INFO),
    ],
)
def test_constraints_are_weighed_by_what_they_can_refuse(
    type: str, definition: str, missing: Severity, extra: Severity
) -> None:
    having = shape(constraints=constraint(type, definition))
    assert facts(drift(having, shape())) == [(DriftKind.CONSTRAINT_MISSING, "c", missing)]
    assert facts(drift(shape(), having)) == [(DriftKind.CONSTRAINT_EXTRA, "c", extra)]
    renamed = shape(constraints=constraint(type, definition, "other"))
    assert facts(drift(having, renamed)) == []


@pytest.mark.parametrize(
    ("there", "here", "severity"),
    [
        ("", " NOT VALID", None),
        (" NOT VALID", " NOT VALID", None),
        (" NOT VALID", "", Severity.WARNING),
        (" NOT ENFORCED", " NOT ENFORCED", None),
    ],
)
def test_a_constraint_that_is_not_valid_refuses_the_same_new_rows(
    there: str, here: str, severity: Severity | None
) -> None:
    theirs = shape(constraints=constraint("c", f"CHECK (a > 0){there}"))
    found = drift(theirs, shape(constraints=constraint("c", f"CHECK (a > 0){here}")))
    assert [one.severity for one in found] == ([] if severity is None else [severity])
    assert found.ddl == ()


def test_a_constraint_that_is_not_enforced_refuses_nothing() -> None:
    lax, strict = (
        shape(constraints=constraint("c", f"CHECK (a > 0){end}")) for end in (" NOT ENFORCED", "")
    )
    assert facts(drift(shape(), lax)) == [(DriftKind.CONSTRAINT_EXTRA, "c", Severity.INFO)]
    assert drift(lax, shape()).ddl == (
        "ALTER TABLE public.t ADD CONSTRAINT c CHECK (a > 0) NOT ENFORCED",
    )
    # The name is taken, and what to do with that constraint is the user's decision.
    assert drift(strict, lax).ddl == drift(lax, strict).ddl == ()
    assert drift(lax, strict).severity is drift(strict, lax).severity is Severity.WARNING


def test_a_partition_that_takes_other_rows_is_reported() -> None:
    low, high = shape(bound="(a < 10)"), shape(bound="(a < 20)")
    assert facts(drift(low, low)) == facts(drift(low, shape())) == []
    for theirs in (shape(), high):
        [one] = drift(theirs, low).drifts
        assert (one.kind, one.severity) == (DriftKind.CONSTRAINT_EXTRA, Severity.WARNING)
        assert one.found.endswith("(a < 10)")


@pytest.mark.parametrize(
    ("type", "definition", "statements"),
    [
        ("p", "PRIMARY KEY (a)", 1),
        ("c", "CHECK (a > 0)", 2),
        ("f", "FOREIGN KEY (a) REFERENCES o(a)", 2),
        ("c", "CHECK (a > 0) NOT VALID", 1),
    ],
)
def test_checks_and_foreign_keys_are_added_without_a_long_lock(
    type: str, definition: str, statements: int
) -> None:
    ddl = drift(shape(constraints=constraint(type, definition)), shape()).ddl
    assert len(ddl) == statements
    assert ddl[0].startswith(f"ALTER TABLE public.t ADD CONSTRAINT c {definition}")
    assert ddl[0].count("NOT VALID") == (type != "p")
    assert ddl[1:] == ("ALTER TABLE public.t VALIDATE CONSTRAINT c",)[: statements - 1]


@pytest.mark.parametrize(
    ("enabled", "fires"), [("O", False), ("D", False), ("A", True), ("R", True)]
)
def test_triggers_that_fire_for_replicated_changes_are_reported(enabled: str, fires: bool) -> None:
    trigger = TableTrigger(name="tr", enabled=enabled, definition="CREATE TRIGGER tr")
    found = drift(shape(), shape(triggers={"tr": trigger}))
    expected = [(DriftKind.TRIGGER_FIRES, "tr", Severity.WARNING)] if fires else []
    assert facts(found) == expected
    assert facts(drift(shape(triggers={"tr": trigger}), shape())) == []


def test_missing_partitions_are_found_by_their_bounds() -> None:
    def parts(**bounds: str) -> dict[str, TablePartition]:
        return {name: TablePartition(name=name, bound=bound) for name, bound in bounds.items()}

    theirs = shape(partitions=parts(p1="FOR VALUES IN (1)", p2="DEFAULT"), is_partitioned=True)
    ours = shape(partitions=parts(first="FOR VALUES IN (1)"), is_partitioned=True)
    assert facts(drift(theirs, ours)) == [(DriftKind.PARTITION_MISSING, "p2", Severity.CRITICAL)]
    # A plain table takes the rows of every partition, and so does a default partition.
    assert facts(drift(theirs, shape())) == []
    default = shape(partitions=parts(rest="DEFAULT"), is_partitioned=True)
    assert facts(drift(theirs, default)) == []


def test_a_type_of_several_columns_is_altered_once() -> None:
    def moods(*labels: str) -> TableShape:
        whole = shape(column("a", type="mood", type_oid=9), column("b", type="mood", type_oid=9))
        return attrs.evolve(
            whole, types={9: TypeShape(oid=9, name="mood", kind="e", labels=labels)}
        )

    found = drift(moods("sad", "glad"), moods("sad"))
    assert [name for _, name, _ in facts(found)] == ["a", "b"]
    assert {kind for kind, *_ in facts(found)} == {DriftKind.TYPE_DIFFERS}
    assert len(found.ddl) == 1


columns = st.builds(
    column,
    name=st.sampled_from(["a", "b", "C"]),
    type=st.sampled_from(["integer", "text"]),
    not_null=st.booleans(),
    default=st.sampled_from([None, "0"]),
    generated=st.sampled_from(["", "s"]),
    collation=st.sampled_from([None, "C"]),
)
shapes = st.lists(columns, min_size=1, max_size=3).map(lambda listed: shape(*listed))


@given(shapes)
def test_a_table_has_no_drift_from_itself(table: TableShape) -> None:
    assert drift(table, table).drifts == ()


@given(shapes, shapes)
def test_ddl_is_ordered_by_kind_and_severity_is_the_worst(
    one: TableShape, other: TableShape
) -> None:
    found = drift(one, other)
    statements = [statement for kind in DriftKind for d in found[kind] for statement in d.ddl]
    assert list(found.ddl) == [*dict.fromkeys(statements)]
    assert all(d.severity <= found.severity for d in found.drifts)
    assert sum(len(found[kind]) for kind in DriftKind) == len(found.drifts)
