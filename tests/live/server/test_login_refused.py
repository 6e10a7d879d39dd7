"""Connections that a server refuses until something is altered."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from clusters import Cluster, wait_until
from colours import Colour
from databases import Database, end, make_database, remove_databases
from psycopg.conninfo import make_conninfo
from running import running

from pgreplkit import Primary, ReplicationConnection
from pgreplkit.apply import Applier
from pgreplkit.applycommand import main
from pgreplkit.driver.refusal import refusal
from pgreplkit.errors import ConnectionFailed, LoginRefused
from pgreplkit.feeds import Feed, PlainJson, RedisStreams
from pgreplkit.mesh import Mesh
from pgreplkit.plans.streams.retries import may_succeed_later
from pgreplkit.supervised import FAILED, STUCK

pytestmark = pytest.mark.pg(">=10")
PERMANENT = [
    ({"password": "wrong"}, "28P01"),
    ({"password": ""}, None),
    ({"user": "guest_nobody", "password": "x"}, "28"),
    ({"user": "guest_nologin", "password": "x"}, "28000"),
    ({"dbname": "nowhere"}, "3D000"),
    ({"dbname": "guest_closed"}, "42501"),
]
SETUP = (
    "CREATE ROLE guest LOGIN PASSWORD 'x'",
    "CREATE ROLE guest_nologin NOLOGIN PASSWORD 'x'",
    "CREATE ROLE guest_busy LOGIN PASSWORD 'x' CONNECTION LIMIT 0",
    "CREATE DATABASE guest_closed",
    "REVOKE CONNECT ON DATABASE guest_closed FROM PUBLIC",
)
REMOVE = (
    *("DROP DATABASE guest_closed", "DROP ROLE guest", "DROP ROLE guest_nologin"),
    "DROP ROLE guest_busy",
)


@pytest.fixture
def server(cluster: Cluster) -> Iterator[Database]:
    database = make_database(cluster.primary)
    database.run(*SETUP)
    yield database
    database.run(*REMOVE)
    remove_databases(database)


def guest(server: Database, **parts: str) -> str:
    return make_conninfo(server.conninfo, **{"user": "guest", "password": "x", **parts})


@pytest.mark.parametrize(("parts", "sqlstate"), PERMANENT)
async def test_a_refused_login_is_an_error_of_its_own(
    server: Database, colour: Colour, parts: dict[str, str], sqlstate: str | None
) -> None:
    with pytest.raises(LoginRefused, match="correct the role, the password") as raised:
        await colour.primary(guest(server, **parts))
    found = raised.value.sqlstate
    assert found == sqlstate if sqlstate is None else (found or "").startswith(sqlstate)
    assert not may_succeed_later(raised.value)
    assert may_succeed_later(raised.value, has_logged_in=True)


@pytest.mark.one_colour
def test_errors_that_pass_are_no_refusals(server: Database) -> None:
    for parts, sqlstate in (({"user": "guest_busy"}, "53300"), ({"port": "1"}, None)):
        with pytest.raises(ConnectionFailed) as raised:
            Primary.connect(guest(server, **parts))
        assert not isinstance(raised.value, LoginRefused)
        assert raised.value.sqlstate == sqlstate
        assert may_succeed_later(raised.value)
    assert refusal(guest(server)) is None
    # The role may not replicate, or has another password.
    for password, sqlstate in (("x", "42501"), ("wrong", "28P01")):
        with pytest.raises(LoginRefused, match="for replication") as refused:
            ReplicationConnection.connect(guest(server, password=password))
        assert refused.value.sqlstate == sqlstate


@pytest.mark.one_colour
@pytest.mark.parametrize("parts", [{"password": "wrong"}, {"dbname": "nowhere"}])
def test_nothing_is_tried_again_with_a_refused_login(
    server: Database, parts: dict[str, str], tmp_path: Path
) -> None:
    own, refused = server.conninfo, guest(server, **parts)
    server.run("CREATE TABLE t (id int PRIMARY KEY)", "CREATE PUBLICATION p FOR TABLE t")
    begun = time.monotonic()
    for publisher, subscriber in ((own, refused), (refused, own)):
        one = Applier(publisher, subscriber, "one", publications=["p"], reconnect=600)
        with pytest.raises(LoginRefused):
            one.run()
    with pytest.raises(LoginRefused):
        Feed(
            refused,
            "orders",
            publications=["p"],
            sink=RedisStreams("redis://127.0.0.1:1"),
            encoder=PlainJson(),
            reconnect=600,
        ).run()
    with pytest.raises(LoginRefused):
        Mesh({"a": refused, "b": refused}, tables=["t"]).run()
    assert time.monotonic() - begun < 60
    config = tmp_path / "config.toml"
    config.write_text(
        f'name = "one"\npublisher = "{own}"\nsubscriber = "{refused}"\npublications = ["p"]\n'
        "reconnect = 600\n"
    )
    assert main([str(config)]) == main([str(config), "--check"]) == STUCK
    down = make_conninfo(own, port=1)
    config.write_text(
        f'name = "one"\npublisher = "{down}"\nsubscriber = "{own}"\npublications = ["p"]\n'
    )
    assert main([str(config)]) == FAILED


@pytest.mark.one_colour
def test_an_applier_tries_a_login_again_that_has_worked(server: Database) -> None:
    """As while the LDAP service is down by which the server checks passwords."""
    target = make_database(server.node)
    server.run(
        "ALTER ROLE guest REPLICATION",
        "GRANT USAGE ON SCHEMA public TO guest",
        "CREATE TABLE t (id int PRIMARY KEY)",
        "GRANT SELECT ON t TO guest",
        "CREATE PUBLICATION p FOR TABLE t",
    )
    target.run("CREATE TABLE t (id int PRIMARY KEY)")
    one = Applier(guest(server), target.conninfo, "one", publications=["p"], reconnect=20)
    one.run(stop_at=end(server), timeout=20)
    impatient = Applier(guest(server), target.conninfo, "one", publications=["p"], reconnect=0.5)
    impatient.run(stop_at=end(server), timeout=20)
    ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'guest'"
    with running(one) as thread:
        # The standby of the server has an active slot, too.
        active = "SELECT FROM pg_replication_slots WHERE active AND database = current_database()"
        wait_until(lambda: bool(server.all(active)))
        server.run("ALTER ROLE guest PASSWORD 'y'", ended)
        time.sleep(1)
        assert thread.is_alive()
        with pytest.raises(LoginRefused):
            impatient.run()
        server.run("ALTER ROLE guest PASSWORD 'x'", "INSERT INTO t VALUES (1)")
        wait_until(lambda: target.all("SELECT id FROM t") == [(1,)])
    one.drop()
    server.run("DROP OWNED BY guest")
    remove_databases(target)
