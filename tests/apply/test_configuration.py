"""The configuration file of the apply command."""

from __future__ import annotations

import pytest

from pgreplkit.apply import ApplyRemote, KeepLocal, TableRule
from pgreplkit.apply.configuration import parse_configuration

WHOLE = """
name = "orders"
publisher = "host=a password=secret"
subscriber = "host=b"
publications = ["shop"]
conflicts = "keep_local"
on_error = "park"
reconnect = 60
copy = false

[tables."public.users"]
to = "crm.people"
key = ["id", "node"]

[tables."public.users".columns]
mail = "email"
secret = false

[tables."public.users".constants]
node = "paris"
"""
LEAST = 'name = "x"\npublisher = ""\nsubscriber = ""\npublications = ["p"]\n'


def test_a_configuration_becomes_the_arguments_of_an_applier() -> None:
    found = parse_configuration(WHOLE)
    assert (found.name, found.publisher, found.subscriber) == (
        "orders",
        "host=a password=secret",
        "host=b",
    )
    assert "secret" not in repr(found)
    assert found.options == {
        "publications": ["shop"],
        "conflicts": KeepLocal(),
        "on_error": "park",
        "reconnect": 60,
        "copy": False,
        "tables": {
            "public.users": TableRule(
                to="crm.people",
                key=("id", "node"),
                columns={"mail": "email", "secret": None},
                constants={"node": "paris"},
            )
        },
    }
    assert parse_configuration(LEAST + 'conflicts = "apply_remote"').options["conflicts"] == (
        ApplyRemote()
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("= 1", "not TOML"),
        ('publisher = "x"', "'subscriber' is missing"),
        (LEAST + "nonsense = 1", "unknown key 'nonsense'"),
        (LEAST + "copy = 1", "'copy' must be true or false, got 1"),
        (LEAST + 'retries = "many"', "'retries' must be a number"),
        (LEAST + "retries = true", "'retries' must be a number"),
        (LEAST.replace('["p"]', '"p"'), "'publications' must be a list"),
        (LEAST + 'conflicts = "mine"', "'conflicts' must be one of apply_remote, keep_local"),
        (LEAST + "tables = 1", "'tables' must be a table of tables"),
        (LEAST + "[tables]\nt = 1", "'tables.t' must be a table"),
        (LEAST + "[tables.t]\nwhere = 1", "unknown key 'where'"),
        (LEAST + '[tables.t.columns]\na = "x"\nb = "x"', "several values"),
        (LEAST + "[tables.t.columns]\na = true", r"'tables\.t\.columns\.a' must be .* got True"),
        (LEAST + '[tables.t]\ncolumns = "a"', r"'tables\.t\.columns' must be a table"),
    ],
)
def test_a_wrong_configuration_names_its_key(text: str, found: str) -> None:
    with pytest.raises(ValueError, match=found):
        parse_configuration(text)
