"""The statements before an applier."""

from __future__ import annotations

from pgreplkit.plans.logical.applying import SetupStatements


def test_the_statements_are_a_script_for_each_server() -> None:
    statements = SetupStatements(publisher=("GRANT a TO b",), subscriber=("SELECT 1", "SELECT 2"))
    assert str(statements).splitlines() == [
        "-- on the publisher",
        "GRANT a TO b;",
        "-- on the subscriber",
        "SELECT 1;",
        "SELECT 2;",
    ]
