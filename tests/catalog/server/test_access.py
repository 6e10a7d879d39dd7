"""A rule of pg_hba.conf."""

from __future__ import annotations

from pgreplkit.catalog.server.access import HbaRule


def test_a_rule_is_shown_as_a_line_of_the_file() -> None:
    rule = HbaRule(
        rule_number=3,
        file_name=None,
        line_number=90,
        type="host",
        database=["replication", "shop"],
        user_name=["mover"],
        address="10.0.0.0",
        netmask="255.0.0.0",
        auth_method="scram-sha-256",
        options=None,
        error=None,
    )
    assert str(rule) == "host replication,shop mover 10.0.0.0/255.0.0.0 scram-sha-256"
    assert rule.options == ()
