"""The columns to which differences can be added."""

from __future__ import annotations

import attrs
import pytest
from applyfacts import column, target

from pgreplkit.catalog.logical.applytables import TargetColumn
from pgreplkit.plans.logical.deltacolumns import delta_problems

ID = column("id", not_null=True)
GOOD = column("n", not_null=True)


@pytest.mark.parametrize(
    ("own", "problem"),
    [
        (GOOD, ""),
        (attrs.evolve(GOOD, type="numeric(12,2)"), ""),
        (attrs.evolve(GOOD, type="numeric"), "is numeric: differences are added to"),
        (attrs.evolve(GOOD, type="double precision"), "is double precision"),
        (attrs.evolve(GOOD, not_null=False), "can be NULL"),
        (attrs.evolve(GOOD, is_generated=True), "is generated"),
        (attrs.evolve(GOOD, identity="d"), "is generated"),
    ],
)
def test_differences_are_added_to_exact_numbers_that_are_never_null(
    own: TargetColumn, problem: str
) -> None:
    found = [*delta_problems(target(ID, own), ["n"])]
    assert len(found) == bool(problem)
    assert problem in "".join(found)


def test_no_difference_is_added_to_a_key_or_a_missing_column() -> None:
    key, missing = delta_problems(target(ID, GOOD), ["id", "x"])
    assert "is part of the key" in key
    assert "has no column 'x'" in missing
