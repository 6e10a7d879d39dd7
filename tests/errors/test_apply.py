"""The errors of an applier."""

from __future__ import annotations

import pytest

from pgreplkit import errors


def test_an_apply_failure_names_what_is_known_of_the_change() -> None:
    of_a_rule = errors.ApplyFailed(7, "0/5", None, 2, "the rule raised ValueError")
    assert str(of_a_rule).startswith("could not apply transaction 7 at 0/5, change 2: the rule")
    of_a_row = errors.ApplyFailed(7, "0/5", "public.t", 2, "it violates a constraint")
    assert "change 2 (public.t): it" in str(of_a_row)


@pytest.mark.parametrize("sqlstate", ["42501", "25006", "53100", "57014", "08006", None])
def test_an_apply_failure_that_is_not_of_the_change_does_not_advise_to_park_it(
    sqlstate: str | None,
) -> None:
    of_the_server = errors.ApplyFailed(7, "0/5", "public.t", 2, "permission denied", sqlstate)
    assert str(of_the_server).endswith("remove the cause and run the applier again")
    of_the_change = errors.ApplyFailed(7, "0/5", "public.t", 2, "duplicate key", "23505")
    assert str(of_the_change).endswith("or use on_error='park'")
