"""Values as the texts that a server reads."""

from __future__ import annotations

import pytest

from pgreplkit.driver.valuetext import text_of


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (object(), "a value of type object that cannot be sent"),
        ("\0", "a value of type str that cannot be sent: .* NUL"),
        ("\ud800", "a value of type str that cannot be sent: .* surrogates"),
        ([1, "a"], "a value of type list that cannot be sent"),
    ],
)
def test_a_value_that_cannot_be_sent_is_refused(value: object, found: str) -> None:
    dump = text_of(None)
    assert dump("x") == b"x"
    with pytest.raises(ValueError, match=found):
        dump(value)
