"""The base of all errors of operations."""

from __future__ import annotations

from pgreplkit.errors.base import OperationError


def test_the_text_says_what_failed_why_and_what_to_do() -> None:
    error = OperationError("drop slot 'feed'", "it is active", remedy="stop its consumer")
    assert str(error) == "could not drop slot 'feed': it is active; stop its consumer"
    assert (error.operation, error.found) == ("drop slot 'feed'", "it is active")
    assert error.remedy == "stop its consumer"


def test_a_class_may_have_a_remedy_that_an_error_replaces() -> None:
    class Lost(OperationError):
        remedy = "begin again"

    assert str(Lost("read", "it ended")) == "could not read: it ended; begin again"
    assert str(Lost("read", "it ended", remedy="wait")) == "could not read: it ended; wait"
