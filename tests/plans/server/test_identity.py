"""Identity: names and connections that lead to one server, or to one database."""

from __future__ import annotations

import pickle
from datetime import datetime, timedelta

import attrs
import pytest
from clusterfacts import NOW, names
from hypothesis import given, strategies as st

from pgreplkit.catalog.server.identity import RunningDatabase
from pgreplkit.errors import SameServer, ServerError
from pgreplkit.plans.server.identity import (
    ServerKey,
    destination_mismatch,
    feeds_itself,
    insist_on_another_publisher,
    insist_on_distinct,
    insist_on_two,
    is_one_database,
    is_one_postmaster,
    is_one_server,
)

LATER = NOW + timedelta(microseconds=1)


def test_the_error_names_each_server_that_has_several_names() -> None:
    with pytest.raises(SameServer) as caught:
        insist_on_distinct(
            "read the topology",
            {"db1": (7, NOW), "db2": (7, LATER), "vip": (7, NOW), "a": (7, NOW), "b": (7, LATER)},
        )
    assert caught.value.servers == (("db1", "vip", "a"), ("db2", "b"))
    assert str(caught.value) == (
        "could not read the topology: 'db1', 'vip' and 'a' are one server; 'db2' and 'b' are one"
        " server; give each server once, by an address that always leads to it"
    )
    assert isinstance(caught.value, ValueError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


keys: st.SearchStrategy[ServerKey] = st.tuples(st.integers(1, 2), st.sampled_from([NOW, LATER]))


@given(st.dictionaries(names, keys))
def test_servers_are_distinct_if_system_or_start_differ(
    servers: dict[str, tuple[int, datetime]],
) -> None:
    if len({*servers.values()}) == len(servers):
        insist_on_distinct("read the topology", servers)
        return
    with pytest.raises(SameServer) as caught:
        insist_on_distinct("read the topology", servers)
    shared = [name for name in servers if [*servers.values()].count(servers[name]) > 1]
    assert sorted(name for each in caught.value.servers for name in each) == sorted(shared)
    for each in caught.value.servers:
        assert len({servers[name] for name in each}) == 1


def postmaster(**changed: object) -> bytes:
    facts = {
        "pid": 4711,
        "directory": "/var/lib/postgresql/18/main",
        "started": 1764363783,
        "port": 5432,
        "sockets": "/var/run/postgresql",
        "address": "*",
        "memory": "  5432001    163840",
        "status": "ready   ",
    }
    return "".join(f"{value}\n" for value in (facts | changed).values()).encode()


@pytest.mark.parametrize("line", ["pid", "directory", "started", "port", "memory"])
def test_a_postmaster_is_told_by_all_lines_of_its_file_but_the_status(line: str) -> None:
    assert is_one_postmaster(postmaster(), postmaster(status="stopping"))
    assert not is_one_postmaster(postmaster(), postmaster(**{line: 9}))


OWN = RunningDatabase(system_id="7", started_at=NOW, in_recovery=False, timeline=2, database="shop")


@pytest.mark.parametrize(
    ("changed", "is_server", "is_database", "feeds"),
    [
        ({}, True, True, True),
        # The timeline of a server changes with its promotion, perhaps between two reads.
        ({"timeline": 1, "in_recovery": True}, True, True, True),
        ({"database": "other"}, True, False, False),
        ({"system_id": "8"}, False, False, False),
        # A promoted clone, before and after its promotion; and a standby of the server.
        ({"started_at": LATER}, False, False, False),
        ({"started_at": LATER, "timeline": 3}, False, False, False),
        ({"started_at": LATER, "in_recovery": True}, False, False, True),
        ({"started_at": LATER, "in_recovery": True, "database": "other"}, False, False, False),
        # A standby of the server of which this one was a clone.
        ({"started_at": LATER, "in_recovery": True, "timeline": 1}, False, False, False),
    ],
)
def test_a_publisher_is_told_from_the_subscriber_by_its_start(
    changed: dict[str, object], is_server: bool, is_database: bool, feeds: bool
) -> None:
    publisher = attrs.evolve(OWN, **changed)  # type: ignore[arg-type]
    assert is_one_server(publisher, OWN) is is_server
    assert is_one_database(publisher, OWN) is is_database
    assert feeds_itself(publisher, OWN) is feeds
    if not feeds:
        insist_on_two("compare", publisher, OWN)
        insist_on_another_publisher("create the subscription 's'", publisher, OWN)
        return
    what = "a standby of the subscriber" if not is_server else "the subscriber's own database"
    with pytest.raises(ServerError, match=f"the publisher is {what}: changes would be applied"):
        insist_on_another_publisher("create the subscription 's'", publisher, OWN)


def test_one_database_has_nothing_to_be_compared_with() -> None:
    with pytest.raises(ServerError) as caught:
        insist_on_two("compare", OWN, OWN)
    assert str(caught.value) == (
        "could not compare: both connections lead to the database 'shop' of one server;"
        " pass a connection to the other database"
    )


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, ""),
        ({"database": "other"}, "it leads to the database 'other', not to 'shop'"),
        ({"system_id": "8"}, "it leads back to the server itself"),
        ({"system_id": "9"}, "it leads to another server"),
        ({"started_at": LATER, "in_recovery": True}, "it leads to a standby of that server"),
        # Two servers of one system are a server and its promoted clone.
        ({"started_at": LATER}, "it leads to another server"),
    ],
)
def test_a_connection_string_that_leads_astray_is_described(
    changed: dict[str, object], expected: str
) -> None:
    found = attrs.evolve(OWN, **changed)  # type: ignore[arg-type]
    assert destination_mismatch(found, OWN, attrs.evolve(OWN, system_id="8")) == expected
    # Both databases of an upgrade may be on one server.
    other = attrs.evolve(OWN, database="new")
    assert (
        destination_mismatch(other, OWN, other) == "it leads to the database 'new', not to 'shop'"
    )
