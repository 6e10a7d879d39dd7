"""How types differ, from their definitions alone."""

from __future__ import annotations

import attrs
from hypothesis import given, strategies as st

from pgreplkit.catalog.logical.types import Types, TypeShape
from pgreplkit.plans.logical.typedrift import TypeDifference, type_differences
from pgreplkit.rows import Severity

labels = st.lists(st.sampled_from(["new", "paid", "it's", "sent"]), unique=True)


def differences(
    there: TypeShape, here: TypeShape, *more: tuple[TypeShape, TypeShape]
) -> list[TypeDifference]:
    theirs: Types = {there.oid: there, **{own.oid: own for own, _ in more}}
    ours: Types = {here.oid: here, **{other.oid: other for _, other in more}}
    return [*type_differences(there.oid, theirs, here.oid, ours)]


def enum(oid: int, *labels: str) -> TypeShape:
    return TypeShape(oid=oid, name="public.state", kind="e", labels=labels)


def domain(oid: int, *checks: str, not_null: bool = False, element: int = 23) -> TypeShape:
    named = [[f"check_{place}", check] for place, check in enumerate(checks)]
    return TypeShape(
        oid=oid, name="public.qty", kind="d", element=element, not_null=not_null, checks=named
    )


def composite(oid: int, *attributes: tuple[str, str], kind: str = "c") -> TypeShape:
    listed = [[name, type, "25"] for name, type in attributes]
    return TypeShape(oid=oid, name="public.addr", kind=kind, attributes=listed)


def after(ddl: list[str], labels: list[str]) -> list[str]:
    """The labels of an enum after the statements that add some to it."""
    labels = [*labels]
    for statement in ddl:
        words = statement.removeprefix("ALTER TYPE public.state ADD VALUE IF NOT EXISTS ")
        unquoted = [part.replace("''", "'") for part in words[1:-1].split("' ")]
        label, _, anchor = [*unquoted, "", ""][0], "", words.rpartition(" '")[2][:-1]
        place = len(labels)
        if " BEFORE " in words:
            place = labels.index(anchor.replace("''", "'"))
        elif " AFTER " in words:
            place = labels.index(anchor.replace("''", "'")) + 1
        labels.insert(place, label)
    return labels


@given(labels, labels)
def test_the_ddl_gives_an_enum_every_label_of_the_publisher(
    theirs: list[str], ours: list[str]
) -> None:
    found = differences(enum(1, *theirs), enum(2, *ours))
    missing = [label for label in theirs if label not in ours]
    critical = [one for one in found if one.severity is Severity.CRITICAL]
    assert len(critical) == len(missing)
    assert (theirs == ours) == (found == [])
    ddl = [statement for one in found for statement in one.ddl]
    # In their order, where the labels that both have are in one order.
    common = [label for label in ours if label in theirs]
    mended = [label for label in after(ddl, ours) if label in theirs]
    assert sorted(mended) == sorted(theirs)
    if common == [label for label in theirs if label in ours]:
        assert mended == theirs


def test_labels_that_only_the_subscriber_has_need_no_action() -> None:
    [one] = differences(enum(1, "new"), enum(2, "new", "paid"))
    assert (one.severity, one.ddl) == (Severity.INFO, ())
    assert one.found == "only the subscriber's enum public.state has the labels 'paid'"


def test_a_check_of_a_domain_is_compared_by_its_definition() -> None:
    assert differences(domain(1, "CHECK (a)"), domain(2, "CHECK (a)")) == []
    [extra] = differences(domain(1), domain(2, "CHECK ((VALUE > 0))"))
    assert extra.severity is Severity.WARNING
    assert "may refuse what the publisher takes" in extra.found
    [lacking] = differences(domain(1, "CHECK ((VALUE > 0))"), domain(2))
    assert lacking.ddl == (
        "ALTER DOMAIN public.qty ADD CONSTRAINT check_0 CHECK ((VALUE > 0)) NOT VALID",
        "ALTER DOMAIN public.qty VALIDATE CONSTRAINT check_0",
    )


def test_a_check_of_a_domain_that_is_not_valid_refuses_the_same_new_values() -> None:
    valid, later = domain(1, "CHECK ((VALUE > 0))"), domain(2, "CHECK ((VALUE > 0)) NOT VALID")
    assert differences(valid, later) == differences(later, valid) == []


def test_a_domain_that_is_not_null_only_on_the_subscriber_is_critical() -> None:
    [one] = differences(domain(1), domain(2, not_null=True))
    assert one.severity is Severity.CRITICAL
    [other] = differences(domain(1, not_null=True), domain(2))
    assert other.severity is Severity.WARNING


def test_an_attribute_at_the_end_is_added() -> None:
    there = composite(1, ("street", "text"), ("Zip", "text"))
    [one] = differences(there, composite(2, ("street", "text")))
    assert one.severity is Severity.CRITICAL
    assert one.ddl == ('ALTER TYPE public.addr ADD ATTRIBUTE "Zip" text',)
    [row] = differences(there, composite(2, ("street", "text"), kind="c"), (there, there))
    assert row == one


def test_attributes_in_another_order_are_critical_and_yours_to_decide() -> None:
    there = composite(1, ("street", "text"), ("zip", "text"))
    [one] = differences(there, composite(2, ("zip", "text"), ("street", "text")))
    assert (one.severity, one.ddl) == (Severity.CRITICAL, ())
    [typed] = differences(there, composite(2, ("street", "text"), ("zip", "integer")))
    assert typed.severity is Severity.WARNING


def test_types_within_types_are_compared_once() -> None:
    inner = (enum(11, "new", "paid"), enum(12, "new"))
    array = TypeShape(oid=1, name="public.state[]", kind="a", element=11)
    other = TypeShape(oid=2, name="public.state[]", kind="a", element=12)
    assert len(differences(array, other, inner)) == 1
    # A composite whose attributes are the same enum, and itself.
    rows = [["a", "public.state", "11"], ["b", "public.state", "11"], ["c", "public.addr", "1"]]
    theirs = TypeShape(oid=1, name="public.addr", kind="c", attributes=rows)
    mapped = [[name, type, {"11": "12", "1": "2"}[oid]] for name, type, oid in rows]
    ours = TypeShape(oid=2, name="public.addr", kind="c", attributes=mapped)
    assert len(differences(theirs, ours, inner)) == 1


def test_types_of_different_kinds_differ_as_a_whole() -> None:
    same_name = attrs.evolve(enum(2, "new"), name="public.qty")
    [one] = differences(domain(1), same_name)
    assert one.found == "type public.qty is an enum, on the publisher a domain"
    # The column has another type then, which is reported for the column.
    assert differences(enum(1, "new"), domain(2)) == []


def test_a_domain_over_another_type_differs() -> None:
    short = attrs.evolve(domain(1), definition="character varying(5)")
    long = attrs.evolve(domain(2), definition="character varying(9)")
    [one] = differences(short, long)
    assert one.severity is Severity.WARNING
    assert one.found.endswith(
        "over character varying(9), on the publisher over character varying(5)"
    )
