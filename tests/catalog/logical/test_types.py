"""The definitions of types."""

from __future__ import annotations

from pgreplkit.catalog.logical.types import DomainCheck, TypeAttribute, TypeShape, types_of_tables


def test_the_lists_of_a_record_become_tuples() -> None:
    shape = TypeShape(
        oid=7,
        name="mood",
        kind="c",
        labels=["sad"],
        checks=[["positive", "CHECK (VALUE > 0)"]],
        attributes=[["n", "integer", "23"]],
    )
    assert shape.labels == ("sad",)
    assert shape.checks == (DomainCheck(name="positive", definition="CHECK (VALUE > 0)"),)
    assert shape.attributes == (TypeAttribute(name="n", type="integer", type_oid=23),)


def test_multiranges_exist_since_14() -> None:
    assert "rngmultitypid" in types_of_tables(14)
    assert "rngmultitypid" not in types_of_tables(13)
