"""The statements before an applier."""

from __future__ import annotations

import pytest

from pgreplkit.plans.logical.applying import SetupStatements, state_of


def test_the_statements_are_a_script_for_each_server() -> None:
    statements = SetupStatements(publisher=("GRANT a TO b",), subscriber=("SELECT 1", "SELECT 2"))
    assert str(statements).splitlines() == [
        "-- on the publisher",
        "GRANT a TO b;",
        "-- on the subscriber",
        "SELECT 1;",
        "SELECT 2;",
    ]


@pytest.mark.parametrize(
    ("state", "slot", "shown"),
    [
        ("streaming", {"is_lost": False}, "streaming"),
        ("streaming", {"is_lost": True}, "lost"),
        ("streaming", None, "missing"),
        ("copying", {"is_lost": True}, "lost"),
        ("copying", None, "copying"),
        ("creating", None, "creating"),
    ],
)
def test_an_applier_whose_slot_has_no_changes_does_not_stream(
    state: str, slot: dict[str, bool] | None, shown: str
) -> None:
    assert state_of(state, slot) == shown
