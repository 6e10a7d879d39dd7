"""Arguments that are True or False."""

from __future__ import annotations

import pytest

from pgreplkit.values.flags import checked_flags, optional_flags


@pytest.mark.parametrize("given", ["no", "false", 0, 1, None])
def test_a_flag_is_true_or_false_and_nothing_that_counts_as_one(given: object) -> None:
    checked_flags(force=True, wait=False)
    with pytest.raises(TypeError, match=f"wait must be True or False, not {type(given).__name__}"):
        checked_flags(force=True, wait=given)


def test_an_optional_flag_may_be_none() -> None:
    optional_flags(failover=None, two_phase=True)
    with pytest.raises(TypeError, match="failover"):
        optional_flags(failover="off")
