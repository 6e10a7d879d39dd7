"""The decisions about refused changes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from pgreplkit import LSN
from pgreplkit.apply import Applier, RefusedChange
from pgreplkit.apply.onerror import OnErrorFailed, decided

FAILED = RefusedChange(
    xid=7,
    lsn=LSN(1),
    commit_time=datetime(2020, 1, 1, tzinfo=UTC),
    table="public.t",
    change_number=2,
    sqlstate="23514",
    found="refused",
)


def test_a_function_decides_about_each_refused_change() -> None:
    assert decided("park", FAILED) == "park"
    assert decided(lambda failed: "skip" if failed.table else "stop", FAILED) == "skip"


def test_a_function_that_fails_or_decides_nothing_stops() -> None:
    with pytest.raises(OnErrorFailed, match=r"on_error raised AttributeError: .*'no_field'"):
        decided(lambda failed: failed.no_field, FAILED)  # type: ignore[attr-defined]
    nothing: Any = lambda failed: None  # noqa: E731
    with pytest.raises(OnErrorFailed, match="on_error returned None, which is not stop"):
        decided(nothing, FAILED)


def test_transactions_are_not_skipped_without_a_function() -> None:
    skip: Any = "skip"
    with pytest.raises(ValueError, match="on_error must be stop, park or a function, got 'skip'"):
        Applier("", "", "a", publications=["p"], on_error=skip)
