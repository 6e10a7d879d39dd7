"""Arguments of a wrong type: one TypeError that names what to pass instead."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import psycopg
import psycopg.rows
import pytest
from psycopg.pq import PGconn

import pgreplkit
from pgreplkit import (
    AsyncPrimary,
    AsyncServer,
    AsyncStandby,
    Cluster,
    Primary,
    Server,
    Standby,
    Watch,
    plan_clone,
)
from pgreplkit.driver.conninfo import complete
from pgreplkit.errors import ConnectionFailed, NodeNotFound
from pgreplkit.plans.streams.options import ChangeSettings, StreamSettings
from pgreplkit.protocol.pgoutput.rows import checked_row_factory, class_rows, dict_rows
from pgreplkit.rows import Topology
from pgreplkit.upgrade import Upgrade, UpgradeClone

SYNC = psycopg.Connection(PGconn.connect_start(b"host=/nowhere"))


def an_async_connection() -> object:
    async def make() -> object:
        return psycopg.AsyncConnection(PGconn.connect_start(b"host=/nowhere"))

    return asyncio.run(make())


def of_module(module: str, name: str) -> object:
    """An object of a class of another library."""
    return type(name, (), {"__module__": module})()


@pytest.mark.parametrize("owner", [Primary, Standby, Server, AsyncPrimary, AsyncStandby])
@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ("host=x password=secret", r"\.connect\(conninfo\)"),
        (None, "not NoneType"),
        (of_module("psycopg2.extensions", "connection"), "psycopg2 is not supported"),
        (of_module("asyncpg.connection", "Connection"), "asyncpg is not supported"),
        (of_module("psycopg_pool.pool", "ConnectionPool"), r"pool\.connection\(\)"),
        (of_module("sqlalchemy.engine.base", "Engine"), "driver_connection"),
        (of_module("sqlalchemy.engine.base", "Connection"), "driver_connection"),
        (of_module("django.db.backends.postgresql.base", "DatabaseWrapper"), "ensure_connection"),
        (of_module("somewhere", "Thing"), "somewhere.Thing"),
    ],
)
def test_another_object_than_a_connection_is_refused(
    owner: type, given: object, advice: str
) -> None:
    with pytest.raises(TypeError, match=advice) as caught:
        owner(given)
    assert str(caught.value).startswith(f"{owner.__name__} takes an open psycopg.")
    assert "secret" not in str(caught.value)


def test_a_connection_of_the_other_colour_is_refused() -> None:
    with pytest.raises(TypeError, match="use AsyncPrimary"):
        Primary(an_async_connection())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="use Primary"):
        AsyncPrimary(SYNC)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ("host=x", r"connect\(\) returns one"),
        (SYNC, r"pass Server\(connection\)"),
        (object.__new__(AsyncPrimary), "not AsyncPrimary"),
        (5, "not int"),
    ],
    ids=["str", "connection", "colour", "int"],
)
def test_another_object_than_a_server_is_refused(given: object, advice: str) -> None:
    server = object.__new__(Server)
    calls: list[Callable[[], object]] = [
        lambda: [*pgreplkit.compare(given, server)],  # type: ignore[arg-type]
        lambda: [*pgreplkit.compare(server, given)],  # type: ignore[arg-type]
        lambda: pgreplkit.schema_drift(server, given),  # type: ignore[arg-type]
        lambda: pgreplkit.copy_schema(given, server),  # type: ignore[arg-type]
        lambda: pgreplkit.SequencePlan.read(server, given),  # type: ignore[arg-type]
        lambda: pgreplkit.find_orphans([given]),  # type: ignore[list-item]
        lambda: pgreplkit.pglogical.PglogicalNode.read(given),  # type: ignore[arg-type]
    ]
    for call in calls:
        with pytest.raises(TypeError, match=advice):
            call()


async def test_the_async_functions_refuse_sync_servers() -> None:
    server = object.__new__(AsyncServer)
    with pytest.raises(TypeError, match=r"must be an AsyncServer, not Primary; aconnect\(\)"):
        await pgreplkit.aschema_drift(server, object.__new__(Primary))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "connect",
    [pgreplkit.connect, Primary.connect, pgreplkit.ReplicationConnection.connect],
    ids=["connect", "Primary", "ReplicationConnection"],
)
def test_an_unknown_connection_parameter_is_named(connect: object) -> None:
    with pytest.raises(TypeError, match=r"parameter 'hots'; did you mean 'host'\?"):
        connect("", hots="x")  # type: ignore[operator]


@pytest.mark.parametrize("settings", [ChangeSettings, StreamSettings])
def test_an_unknown_option_of_a_stream_is_named(settings: type[StreamSettings]) -> None:
    with pytest.raises(TypeError, match=r"option 'reconect'; did you mean 'reconnect'\?"):
        settings.of({"reconect": 5})
    with pytest.raises(TypeError, match=r"option 'zzz'; it takes .*stop_at"):
        settings.of({"zzz": 5})
    assert settings.of({"reconnect": 5}).reconnect == 5


@pytest.mark.parametrize(
    ("factory", "own"),
    [
        (psycopg.rows.dict_row, "dict_rows"),
        (psycopg.rows.tuple_row, "tuple_rows"),
        (psycopg.rows.namedtuple_row, "named_rows"),
        (psycopg.rows.class_row(dict), "class_rows"),
        (psycopg.rows.scalar_row, "named_rows"),
        (dict, "dict_rows"),
        (tuple, "tuple_rows"),
        ("dict", "must be callable"),
    ],
)
def test_a_row_factory_of_psycopg_is_refused(factory: object, own: str) -> None:
    with pytest.raises(TypeError, match=own):
        checked_row_factory(factory)  # type: ignore[arg-type]


def test_own_row_factories_are_accepted() -> None:
    assert checked_row_factory(dict_rows) is dict_rows
    own = class_rows(Topology)
    assert checked_row_factory(own) is own


def test_an_unknown_node_is_named_with_the_known_ones() -> None:
    with pytest.raises(NodeNotFound, match="could not find node 'typo'") as caught:
        Topology(())["typo"]
    assert (caught.value.name, caught.value.nodes) == ("typo", ())
    assert isinstance(caught.value, KeyError)


@pytest.mark.parametrize("given", [b"host=x", 5, None, object()])
def test_only_a_str_is_a_connection_string(given: object) -> None:
    kind = type(given).__name__
    text: Any = given
    for use, which in (
        (lambda: Cluster.discover({"a": text}), "a connection string"),
        (
            lambda: Cluster.discover({"a": "host=x"}, replication={"a": text}),
            r"replication\['a'\]",
        ),
        (lambda: upgrade(old=text), r"replication\['old'\]"),
        (lambda: clone(text), "new"),
        (lambda: clone("", old=text), r"replication\['old'\]"),
        (lambda: plan_clone(text, "/nowhere"), "a connection string"),
        (lambda: complete(text, {}), "a connection string"),
    ):
        with pytest.raises(TypeError, match=f"{which} must be a str, not {kind}"):
            use()


def upgrade(**replication: str) -> Upgrade:
    old, new = (object.__new__(Primary) for _ in range(2))
    return Upgrade(old, new, name="shop", replication=replication)


def clone(new: str, **replication: str) -> UpgradeClone:
    return UpgradeClone(
        object.__new__(Primary),
        new,
        name="shop",
        directory="/nowhere",
        bindir="/nowhere",
        old_bindir="/nowhere",
        replication=replication,
    )


def test_an_upgrade_refuses_the_server_of_a_standby() -> None:
    primary, standby = object.__new__(Primary), object.__new__(pgreplkit.Standby)
    for old, new, argument in ((standby, primary, "old"), (primary, standby, "new")):
        with pytest.raises(TypeError, match=f"{argument} must be of the class Primary, not Stan"):
            Upgrade(old, new, name="shop")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="old must be of the class Primary, not Standby"):
        UpgradeClone(
            standby,  # type: ignore[arg-type]
            "",
            name="shop",
            directory="/nowhere",
            bindir="/nowhere",
            old_bindir="/nowhere",
        )


@pytest.mark.parametrize("conninfo", ["host=x s3cret", "host='s3cret", "host=x s3cret=1"])
def test_an_error_names_the_malformed_one_of_several_connection_strings(conninfo: str) -> None:
    for use, which in (
        (lambda: upgrade(old="host=x", new=conninfo), r"replication\['new'\]"),
        (lambda: upgrade(old=conninfo), r"replication\['old'\]"),
        (lambda: clone(conninfo), "new"),
        (lambda: clone("host=x", old=conninfo), r"replication\['old'\]"),
    ):
        found = f"could not use {which}: the connection string is malformed"
        with pytest.raises(ConnectionFailed, match=found) as caught:
            use()
        assert "s3cret" not in str(caught.value)


def test_a_malformed_connection_string_of_a_cluster_is_named_without_its_text() -> None:
    with pytest.raises(ValueError, match=r"replication\['b'\] is malformed") as caught:
        Cluster.discover(["host=x"], replication={"a": "host=y", "b": "host=x s3cret"})
    assert "s3cret" not in str(caught.value)


def test_only_a_control_controls_a_host() -> None:
    control: Any = "pg_ctl"
    with pytest.raises(TypeError, match=r"controls\['a'\] must be a NodeControl, not str"):
        Cluster.discover({"a": "host=x"}, controls={"a": control})


@pytest.mark.parametrize("servers", [[], {}])
def test_a_watch_of_nothing_is_refused(servers: Any) -> None:
    with pytest.raises(ValueError, match="servers is empty"):
        Watch(servers)
