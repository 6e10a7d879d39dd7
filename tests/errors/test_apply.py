"""The errors of an applier."""

from __future__ import annotations

from pgreplkit import errors


def test_an_apply_failure_names_what_is_known_of_the_change() -> None:
    of_a_rule = errors.ApplyFailed(7, "0/5", None, 2, "the rule raised ValueError")
    assert str(of_a_rule).startswith("could not apply transaction 7 at 0/5, change 2: the rule")
    of_a_row = errors.ApplyFailed(7, "0/5", "public.t", 2, "it violates a constraint")
    assert "change 2 (public.t): it" in str(of_a_row)
