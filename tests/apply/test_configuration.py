"""The configuration file of the apply command."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgreplkit.apply import (
    Applier,
    ApplyRemote,
    DeltaColumns,
    KeepLocal,
    LastUpdateWins,
    Membership,
    NodePriority,
    TableRule,
)
from pgreplkit.apply.configuration import parse_configuration
from pgreplkit.applycommand import main
from pgreplkit.errors import InvalidRoleName
from pgreplkit.supervised import DEFECT, MISCONFIGURED

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


def test_servers_that_all_write_are_members_with_ranks() -> None:
    members = """
        copy = false
        [conflicts]
        policy = "{}"
        {}
        [membership]
        node = "paris"
        source = "berlin"
        ranks = {{ berlin = 1, paris = 2 }}
        origins = {{ pgreplkit_x = "berlin" }}
    """
    options = parse_configuration(
        LEAST + members.format("last_update_wins", "max_clock_skew = 2.5")
    ).options
    assert options["conflicts"] == LastUpdateWins(max_clock_skew=2.5)
    assert options["membership"] == Membership(
        node="paris",
        source="berlin",
        ranks={"berlin": 1, "paris": 2},
        origins={"pgreplkit_x": "berlin"},
    )
    text = LEAST + members.format("node_priority", 'nodes = ["berlin", "paris"]')
    assert parse_configuration(text).options["conflicts"] == NodePriority(["berlin", "paris"])
    text = LEAST + members.format("delta_columns", 'columns = { accounts = ["balance"] }')
    deltas = parse_configuration(text).options["conflicts"]
    assert deltas == DeltaColumns({"accounts": ["balance"]})
    simple = LEAST + 'conflicts = "last_update_wins"'
    assert parse_configuration(simple).options["conflicts"] == LastUpdateWins()
    Applier("", "", "x", **options)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("= 1", "not TOML"),
        ("a = " + "[" * 9999, "nested too deeply"),
        ('publisher = "x"', "'subscriber' is missing"),
        (LEAST + "nonsense = 1", "unknown key 'nonsense'"),
        (LEAST + "copy = 1", "'copy' must be true or false, got 1"),
        (LEAST + 'group = "all"', "'group' must be a whole number, got a string"),
        (LEAST + "retries = 1.5", "'retries' must be a whole number, got 1.5"),
        (LEAST + "retries = true", "'retries' must be a whole number, got True"),
        (LEAST + 'reconnect = "1"', "'reconnect' must be a number, got a string"),
        (LEAST.replace('["p"]', '"p"'), "'publications' must be a list"),
        (LEAST + 'conflicts = "mine"', "'conflicts' must be one of apply_remote, keep_local"),
        (LEAST + "conflicts = 1", "'conflicts' must be a string or a table, got 1"),
        (LEAST + '[conflicts]\npolicy = ["x"]', "'conflicts' must be one of apply_remote"),
        (LEAST + '[conflicts]\nname = "x"', r"'conflicts\.policy' is missing"),
        (LEAST + 'conflicts = "node_priority"', "'conflicts': .* missing .* 'nodes'"),
        (
            LEAST + '[conflicts]\npolicy = "last_update_wins"\nmax_clock_skew = -1',
            "'conflicts': max_clock_skew must be",
        ),
        (
            LEAST + '[conflicts]\npolicy = "delta_columns"\ncolumns = { t = "n" }',
            "'conflicts': columns of public.t",
        ),
        (LEAST + "membership = 1", "'membership' must be a table, got 1"),
        (LEAST + '[membership]\nnode = "a"', "'membership': .* missing"),
        (LEAST + "tables = 1", "'tables' must be a table of tables"),
        (LEAST + "[tables]\nt = 1", "'tables.t' must be a table"),
        (LEAST + "[tables.t]\nwhere = 1", "unknown key 'where' in 'tables.t'; known are"),
        (LEAST + '[tables.t.columns]\na = "x"\nb = "x"', "several values"),
        (LEAST + "[tables.t.columns]\na = true", r"'tables\.t\.columns\.a' must be .* got True"),
        (LEAST + '[tables.t]\ncolumns = "a"', r"'tables\.t\.columns' must be a table"),
        (LEAST + '[tables.t.columns]\na = ""', "a column cannot have the name ''"),
        (LEAST + "[tables.t]\nkey = [1]", "the name of a column of the key must be a str, not int"),
    ],
)
def test_a_wrong_configuration_names_its_key(text: str, found: str) -> None:
    with pytest.raises(ValueError, match=found):
        parse_configuration(text)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"\xff\xfe", "is not UTF-8"),
        (
            LEAST.replace('publisher = ""', 'publisher = "nonsense"').encode(),
            "the connection string is malformed",
        ),
    ],
)
def test_the_command_says_what_is_wrong_in_its_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes, found: str
) -> None:
    file = tmp_path / "applier.toml"
    file.write_bytes(content)
    assert main([str(file), "--check"]) == MISCONFIGURED
    assert found in caplog.text


def test_an_error_of_the_program_itself_has_a_status_of_its_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "applier.toml"
    file.write_text('publisher = ""\nsubscriber = ""\nname = "a"\npublications = ["p"]')
    monkeypatch.setattr(Applier, "check", lambda applier: applier.no_attribute)
    assert main([str(file), "--check"]) == DEFECT
    assert "no_attribute" in caplog.text


def test_what_is_not_a_parked_transaction_is_refused() -> None:
    one = Applier("", "", "a", publications=["p"])
    for call in (one.apply_parked, one.drop_parked):
        with pytest.raises(TypeError, match="parked must be a ParkedTransaction, not int"):
            call(5)  # type: ignore[arg-type]
    with pytest.raises(InvalidRoleName):
        one.setup_sql("")
