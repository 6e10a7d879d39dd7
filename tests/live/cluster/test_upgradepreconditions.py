"""Each precondition of an upgrade is provoked on servers of far apart versions, and found."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest
from clusters import Clusters
from psycopg.conninfo import make_conninfo

from pgreplkit import Primary
from pgreplkit.catalog.cluster.upgrade import FACTS
from pgreplkit.lab import Node
from pgreplkit.plans.cluster import upgradechecks, upgradetables
from pgreplkit.rows import Readiness, Severity
from pgreplkit.upgrade import Upgrade

pytestmark = [pytest.mark.one_colour, pytest.mark.matrix]

CRITICAL, WARNING, INFO = Severity.CRITICAL, Severity.WARNING, Severity.INFO
SCARCE = {
    "wal_level": "replica",
    "max_replication_slots": "1",
    "max_wal_senders": "1",
    "max_logical_replication_workers": "1",
    "max_worker_processes": "1",
    "max_prepared_transactions": "2",
}
"""Settings with which neither server can replicate, and the old one can prepare transactions."""
OLD = (
    "CREATE ROLE absent",
    "CREATE ROLE owner_of_t",
    "CREATE ROLE member",
    "GRANT owner_of_t TO member",
    "CREATE TABLE t (id int PRIMARY KEY)",
    "ALTER TABLE t OWNER TO owner_of_t",
    "SET allow_in_place_tablespaces = on",
    "CREATE TABLESPACE elsewhere LOCATION ''",
    "CREATE TABLE moved (id int PRIMARY KEY) TABLESPACE elsewhere",
    "CREATE TABLE counted (id smallserial PRIMARY KEY)",
    "SELECT setval('counted_id_seq', 32767)",
    "CREATE FOREIGN DATA WRAPPER wrapper",
    "CREATE SERVER elsewhere FOREIGN DATA WRAPPER wrapper",
    "CREATE FOREIGN TABLE far (id int) SERVER elsewhere",
    "CREATE FUNCTION noted() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
    "CREATE EVENT TRIGGER noting ON ddl_command_end EXECUTE PROCEDURE noted()",
    "CREATE FUNCTION written() RETURNS event_trigger LANGUAGE plpgsql AS"
    " 'BEGIN INSERT INTO t VALUES (1); END'",
    "CREATE EVENT TRIGGER writing ON sql_drop EXECUTE PROCEDURE written()",
    "CREATE SUBSCRIPTION other CONNECTION 'host=localhost' PUBLICATION p WITH (connect = false)",
    "CREATE TABLE wide (id int PRIMARY KEY, content text)",
    "ALTER TABLE wide ALTER content SET STORAGE EXTERNAL",
    "INSERT INTO wide VALUES (1, repeat('x', 9000))",
    "ANALYZE wide",
    "BEGIN; INSERT INTO t VALUES (7); PREPARE TRANSACTION 'two'",
)
EXTENSIONS = (
    "CREATE TABLE configured (id int PRIMARY KEY)",
    "INSERT INTO configured VALUES (1)",
    "UPDATE pg_extension SET extversion = '2.0', extconfig = ARRAY['configured'::regclass::oid]",
    "INSERT INTO pg_extension ({0}extname, extowner, extnamespace, extrelocatable, extversion)"
    " SELECT {1}'absent', extowner, extnamespace, true, '1.0' FROM pg_extension",
)
"""Of extensions whose files no server has, and of a newer version; before 12, oid is not listed."""
COLLATION = "UPDATE pg_database SET datcollversion = '{}' WHERE datname = current_database()"
"""As after an update of the operating system; from version 15 on."""
GENERATED = (
    "CREATE TABLE derived (id int, twice int NOT NULL GENERATED ALWAYS AS (2 * id) STORED)",
    "CREATE UNIQUE INDEX derived_key ON derived (twice)",
    "ALTER TABLE derived REPLICA IDENTITY USING INDEX derived_key",
)
"""Generated columns exist from version 12 on."""
NEW = (
    "CREATE PUBLICATION shop_1_back",
    "CREATE TABLE counted (id smallserial PRIMARY KEY)",
    "ALTER SEQUENCE counted_id_seq MAXVALUE 100",
)


@pytest.fixture(params=[10, 15, 18])
def servers(request: pytest.FixtureRequest, clusters: Clusters) -> Iterator[tuple[Node, Node]]:
    """An old server with few places, and one of 18 with another encoding and collation."""
    with ExitStack() as stack:
        nodes = []
        for version in (request.param, 18):
            # Before 13, slots keep WAL without a limit.
            kept = {"max_slot_wal_keep_size": "1GB"} if version >= 13 else {}
            node = clusters.lab.primary(version=version, settings={**SCARCE, **kept})
            stack.callback(node.stop)
            nodes.append(node)
        yield nodes[0], nodes[1]


def run(conninfo: str, *statements: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def checked(old: str, new: str) -> Readiness:
    nowhere = "host=localhost port=1 connect_timeout=1"
    with Primary.connect(old) as source, Primary.connect(new) as target:
        replication = {"old": nowhere, "new": nowhere}
        # More groups than have places for all of their copies.
        return Upgrade(source, target, name="shop", replication=replication).check(groups=4)


def lower_limits(monkeypatch: pytest.MonkeyPatch, old: Node) -> None:
    """Let a transaction be old, a value large and a release faulty sooner than they are."""
    facts = FACTS.replace("interval '1 minute'", "interval '300 ms'")
    monkeypatch.setattr("pgreplkit._sync.cluster.upgradefacts.FACTS", facts)
    monkeypatch.setattr(upgradetables, "_LARGE_VALUE", 4000)
    following = (old.version.major, old.version.minor + 1)
    monkeypatch.setattr(upgradechecks, "_FAULTS", {following: "a fault"})


@pytest.mark.pg(">=18")
def test_each_precondition_is_found_on_servers_that_lack_it(
    servers: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    older, newer = servers
    run(
        older.conninfo,
        "CREATE DATABASE shop ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
    )
    run(
        newer.conninfo,
        "CREATE DATABASE shop ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' LOCALE_PROVIDER builtin"
        " BUILTIN_LOCALE 'C' TEMPLATE template0",
    )
    old, new = (make_conninfo(node.conninfo, dbname="shop") for node in servers)
    run(old, *OLD, *(GENERATED if older.major >= 12 else ()))
    oid = ("oid, ", "99999, ") if older.major >= 12 else ("", "")
    run(old, *(one.format(*oid) for one in EXTENSIONS))
    run(new, *NEW, COLLATION.format(2))
    wanted = {
        **dict.fromkeys(
            (
                *("old: wal_level", "new: wal_level", "old reaches new", "new reaches old"),
                *(
                    "missing owners",
                    "event triggers that write",
                    "missing tablespaces",
                    "sequences",
                ),
                *("prepared transactions", "old: max_replication_slots"),
                *("old: max_wal_senders", "new: max_logical_replication_workers"),
                *("new: max_worker_processes", "missing extensions"),
            ),
            CRITICAL,
        ),
        **dict.fromkeys(
            (
                *("missing roles", "memberships", "encoding", "collation"),
                *("foreign tables", "event triggers", "other subscriptions"),
                *("older extensions", "rows of extensions", "copies at once"),
            ),
            WARNING,
        ),
    }
    if older.major >= 13:
        wanted["generated columns in the replica identity"] = CRITICAL
        wanted["generated columns"] = INFO
        wanted["old: max_slot_wal_keep_size"] = WARNING
    if older.major >= 15:
        run(old, COLLATION.format(1))
        wanted["collation version"] = WARNING
    if older.major < 11:
        wanted["TRUNCATE"] = WARNING
    assert checked(old, new)["new: leftovers"].severity is CRITICAL
    # They may show that the servers are exchanged, so that nothing else is checked.
    run(new, "DROP PUBLICATION shop_1_back")
    readiness = checked(old, new)
    found = {one.check: one.severity for one in readiness}
    differing = {check: found.get(check) for check in wanted if found.get(check) != wanted[check]}
    assert differing == {}
    subscriptions = readiness["other subscriptions"]
    assert (subscriptions.found, subscriptions.remedy) == (
        "other",
        "create other on the new server at the cutover",
    )
    assert readiness["missing extensions"].found == "absent"
    assert readiness["older extensions"].found == "plpgsql 1.0 < 2.0"
    assert readiness["rows of extensions"].found == "configured"
    lower_limits(monkeypatch, older)
    with psycopg.connect(old, application_name="report") as connection:
        connection.execute("SELECT FROM wide")
        time.sleep(0.3)
        readiness = checked(old, new)
    for check in ("old transactions", "large values", "old: minor release"):
        assert readiness[check].severity is WARNING, check
    assert "(report), 00:" in readiness["old transactions"].found
    assert readiness["large values"].found == "public.wide"
    # The way in the other direction.
    assert (checked(new, old)["direction"].severity is CRITICAL) == (older.major < 18)
