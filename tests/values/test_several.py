"""One name where several are expected is refused, never read letter by letter."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, strategies as st

import pgreplkit
from pgreplkit import CommandControl, PublishedTable, SyncStandbyNames, TableName, Watch
from pgreplkit.feeds import PlainJson
from pgreplkit.protocol.pgoutput.options import names_of
from pgreplkit.values.several import by_name, several, texts_by_name


@given(st.lists(st.text()))
def test_any_iterable_of_names_keeps_its_order(names: list[str]) -> None:
    kinds: tuple[Callable[[], Iterable[str]], ...] = (
        lambda: names,
        lambda: tuple(names),
        lambda: dict.fromkeys(names),
        lambda: (name for name in names),
    )
    assert several(kinds[0](), "tables") == several(kinds[1](), "tables") == tuple(names)
    assert several(kinds[2](), "tables") == tuple(dict.fromkeys(names))
    assert several(kinds[3](), "tables") == tuple(names)


@given(st.text() | st.binary())
def test_one_str_is_refused_whatever_it_contains(text: str | bytes) -> None:
    with pytest.raises(TypeError, match=r"^tables takes several items, not one (str|bytes)"):
        several(text, "tables")


def test_the_error_does_not_repeat_a_connection_string() -> None:
    with pytest.raises(TypeError) as error:
        several("host=db1 password=secret", "servers")
    assert "secret" not in str(error.value)


def test_one_object_is_refused_by_its_type() -> None:
    with pytest.raises(TypeError, match="tables takes several items, not one TableName"):
        several(TableName("public", "users"), "tables")  # type: ignore[arg-type]


def test_an_empty_argument_is_refused_where_nothing_would_be_covered() -> None:
    assert several([], "tables") == ()
    with pytest.raises(ValueError, match="tables is empty; it takes at least 1"):
        several([], "tables", at_least=1)


def command(**given: object) -> object:
    arguments: dict[str, object] = {"start": ["a"], "stop": ["a"], "is_running": ["a"], **given}
    return CommandControl("/data", **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "call",
    [
        lambda: PublishedTable("users", columns="id"),
        lambda: SyncStandbyNames(("a",)).is_met_by("a"),
        lambda: Watch("host=db1"),
        lambda: pgreplkit.Cluster.discover("host=db1"),
        lambda: pgreplkit.find_orphans("host=db1"),  # type: ignore[arg-type]
        lambda: names_of("users"),
        lambda: command(start="systemctl start"),
        lambda: command(run="ssh db1"),
    ],
)
def test_functions_without_a_server_refuse_one_text(call: Callable[[], object]) -> None:
    with pytest.raises(TypeError, match="several items, not one str"):
        call()


@pytest.mark.parametrize("given", ["a=1", ["a"], [("a", "b")], b"a", 5])
@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("controls", lambda bad: pgreplkit.Cluster.discover({"a": "host=x"}, controls=bad)),
        ("replication", lambda bad: pgreplkit.Cluster.discover({"a": "host=x"}, replication=bad)),
        ("settings", lambda bad: pgreplkit.plan_clone("host=x", "/nowhere", settings=bad)),
        ("tablespaces", lambda bad: pgreplkit.plan_clone("host=x", "/nowhere", tablespaces=bad)),
        ("keys", lambda bad: PlainJson(keys=bad)),
    ],
)
def test_another_object_than_values_by_name_is_refused(
    argument: str, call: Callable[[object], object], given: object
) -> None:
    with pytest.raises(TypeError, match=f"{argument} takes values by name, not one .*pass a dict"):
        call(given)


def test_no_values_by_name_are_an_empty_mapping() -> None:
    assert by_name(None, "settings") == {}
    assert by_name({"a": 1}, "settings") == {"a": 1}


@pytest.mark.parametrize(
    "call",
    [lambda: pgreplkit.Cluster.discover([]), lambda: pgreplkit.find_orphans([])],
)
def test_functions_that_ask_servers_refuse_an_empty_list(call: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="is empty"):
        call()


def test_texts_by_name_are_texts() -> None:
    assert texts_by_name(None, "settings") == {}
    assert texts_by_name({"port": "5433"}, "settings") == {"port": "5433"}
    for wrong, found in (
        ({"port": 5433}, r"settings\['port'\] must be a str, not int"),
        ({5433: "port"}, "a name in settings must be a str, not int"),
        ("port=5433", "settings takes values by name, not one str"),
    ):
        with pytest.raises(TypeError, match=found):
            texts_by_name(wrong, "settings")  # type: ignore[arg-type]
