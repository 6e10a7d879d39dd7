"""The facts for the checks of an upgrade agree with the server's behaviour."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from clusters import Cluster
from databases import Database, make_database, remove_databases
from psycopg.sql import SQL

from pgreplkit import Primary
from pgreplkit.catalog.cluster.upgrade import FACTS, TABLES
from pgreplkit.catalog.server.session import TIMEOUTS
from pgreplkit.rows import Readiness
from pgreplkit.upgrade import Upgrade

pytestmark = pytest.mark.one_colour


@pytest.fixture
def database(cluster: Cluster) -> Iterator[Database]:
    made = make_database(cluster.primary)
    yield made
    remove_databases(made)


COLUMN_TYPES = """
    SELECT format_type(oid, NULL) FROM pg_type
    WHERE typtype IN ('b', 'd', 'e', 'r', 'm') AND typisdefined
        OR oid IN ('pair'::regtype, 'whole'::regtype)
        OR typelem IN ('pair'::regtype, 'whole'::regtype)
    ORDER BY 1
"""
DEFINED = (
    "CREATE DOMAIN note AS json",
    "CREATE DOMAIN count AS int",
    "CREATE DOMAIN notes AS json[]",
    "CREATE TYPE mood AS ENUM ('good')",
    "CREATE TYPE pair AS (a int, b note)",
    "CREATE TYPE whole AS (a int, b mood[])",
)


def is_comparable(connection: psycopg.Connection[tuple[object, ...]], name: str) -> bool:
    # Rows are compared by the operators with which the apply worker searches a row.
    statement = f"SELECT one = one FROM (SELECT NULL::{name} AS value) AS one"
    try:
        connection.execute(statement.encode())
    except psycopg.errors.UndefinedFunction:
        return False
    return True


def test_the_types_without_an_equality_are_those_that_the_server_cannot_compare(
    database: Database,
) -> None:
    database.run(*DEFINED)
    unequal, columns = set(), []
    with psycopg.connect(database.conninfo, autocommit=True) as connection:
        for number, (name,) in enumerate(connection.execute(COLUMN_TYPES).fetchall()):
            try:
                connection.execute(f"CREATE TEMP TABLE t{number} (c {name})".encode())
            except psycopg.errors.InvalidTableDefinition:
                continue  # A pseudo-type.
            columns.append(f"c{number} {name}")
            if not is_comparable(connection, str(name)):
                unequal.add(f"c{number}")
    database.run(
        f"CREATE TABLE kinds ({', '.join(columns)})",
        "ALTER TABLE kinds REPLICA IDENTITY FULL",
        f"CREATE TABLE keyed (id int PRIMARY KEY, {', '.join(columns)})",
    )
    found = database.all(f"SELECT name, unequal_columns FROM ({TABLES}) AS facts ORDER BY 1")
    assert found[0] == ("keyed", [])
    assert {*found[1][1]} == unequal  # type: ignore[misc]
    assert len(unequal) > 10


FUNCTIONS = (
    "CREATE TABLE tables (id int PRIMARY KEY, number int)",
    *(
        f"CREATE FUNCTION {name}(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1'"
        for name in ("indexed", "operated", "counted", "divided", "checked", "unused")
    ),
    "CREATE INDEX ON tables (indexed(number))",
    "CREATE OPERATOR @@@ (RIGHTARG = int, PROCEDURE = operated)",
    "CREATE INDEX ON tables ((@@@ number))",
    "ALTER TABLE tables ADD CHECK (checked(number) > 0)",
)


@pytest.mark.pg(">=11")
def test_the_facts_of_many_tables_are_too_cheap_for_jit(database: Database) -> None:
    database.run(
        """DO $$ BEGIN FOR number IN 1..200 LOOP
            EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, name text, x json)', number);
            EXECUTE format('ALTER TABLE t%s REPLICA IDENTITY FULL', number);
        END LOOP; END $$""",
        "ANALYZE pg_class, pg_attribute, pg_type, pg_constraint, pg_depend, pg_index",
    )
    for statement in (TABLES, FACTS):
        plans: list[dict[str, dict[str, float]]]
        plans = database.one(f"EXPLAIN (FORMAT JSON) {statement}")  # type: ignore[assignment]
        # The default of jit_above_cost; a compilation takes seconds, the query milliseconds.
        assert plans[0]["Plan"]["Total Cost"] < 100_000


@pytest.mark.pg(">=11")
def test_functions_are_found_where_the_server_evaluates_them_by_itself(database: Database) -> None:
    database.run(*FUNCTIONS, "CREATE TABLE parts (id int) PARTITION BY RANGE (divided(id))")
    wanted = ["checked", "divided", "indexed", "operated"]
    if database.node.major >= 14:
        database.run("CREATE STATISTICS several ON (counted(number)), id FROM tables")
        wanted.insert(1, "counted")
    found = database.one(f"SELECT unsafe_functions FROM ({FACTS}) AS facts")
    assert found == [f"{name}(integer)" for name in wanted]
    for name in wanted:
        database.run(f"ALTER FUNCTION {name} SET search_path FROM CURRENT")
    assert database.one(f"SELECT unsafe_functions FROM ({FACTS}) AS facts") == []


SETTINGS = (
    "search_path = ''",
    "search_path = '', \"a, b\", public",
    "temp_tablespaces = 'a b', c",
    "session_preload_libraries = 'plpgsql', '$libdir/plpgsql'",
    "DateStyle = 'ISO, DMY'",
    "my.own = 'it''s, \"so\"'",
    "my.own = ''",
)


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_statements_of_database_settings_set_the_same_values(
    database: Database, cluster: Cluster, setting: str
) -> None:
    other = make_database(cluster.primary)
    asked = f"SELECT database_settings FROM ({FACTS}) AS facts"
    try:
        database.run(f'ALTER DATABASE "{database.name}" SET {setting}')
        statement = str(database.one(asked)[0])  # type: ignore[index]
        other.run(statement.replace("{}", f'"{other.name}"'))
        assert other.one(asked) == [statement]
    finally:
        for side in (database, other):
            side.run(f'ALTER DATABASE "{side.name}" RESET ALL')
        remove_databases(other)


def test_tables_that_a_preparation_would_not_create_are_found_before_it_runs(
    database: Database, cluster: Cluster
) -> None:
    other = make_database(cluster.primary)
    # With a partition that was added later.
    parent = "CREATE TABLE p (id int NOT NULL) PARTITION BY RANGE (id)"
    part = "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9)"
    try:
        database.run(parent, part, "ALTER TABLE p1 ADD PRIMARY KEY (id)")
        with (
            Primary.connect(database.conninfo) as old,
            Primary.connect(other.conninfo) as new,
        ):
            upgrade = Upgrade(old, new, name="shop")
            plan = upgrade.plan_prepare(copy_schema=False)
            assert upgrade.check()["missing tables"].severity == "ok"
            assert plan.check()["missing tables"].found == "public.p, public.p1"
            other.run(parent)
            for report in (upgrade.check(), plan.check()):
                missing = report["missing tables"]
                assert (missing.severity, missing.found) == ("critical", "public.p1")
            other.run(part, "ALTER TABLE p1 ADD PRIMARY KEY (id)")
            assert plan.check()["missing tables"].severity == "ok"
    finally:
        remove_databases(other)


def test_the_connection_string_that_is_given_is_tried_also_if_it_is_empty(
    database: Database,
) -> None:
    with Primary.connect(database.conninfo) as old, Primary.connect(database.conninfo) as new:
        upgrade = Upgrade(old, new, name="shop", replication={"old": ""})
        found = upgrade.check()
        # That of this process would lead to the same server.
        assert found["new reaches old"].severity == "critical"
        # Both are one database, whose rows it must not advise to remove.
        assert found["databases"].severity == "critical"
        assert "TRUNCATE" not in str(found)
        with pytest.raises(ValueError, match="groups must be an int >= 1, got 0"):
            upgrade.check(groups=0)


UNTRUSTED = """
    SELECT DISTINCT name::text FROM pg_available_extension_versions
    WHERE superuser AND NOT trusted AND name IN ('amcheck', 'pageinspect')
"""


@pytest.mark.pg(">=16")  # Before, only superusers subscribe.
def test_a_role_that_cannot_copy_the_schema_is_found_before_the_preparation(
    database: Database, cluster: Cluster
) -> None:
    other = make_database(cluster.primary)
    password = "it's \\ \"% =;"
    database.run(
        "CREATE ROLE shopkeeper",
        SQL(
            "CREATE ROLE mover LOGIN REPLICATION IN ROLE pg_monitor,"
            " pg_create_subscription PASSWORD {}"
        )
        .format(password)
        .as_string(),
        "CREATE TABLE t (id int PRIMARY KEY)",
        "ALTER TABLE t OWNER TO shopkeeper",
        "ALTER SCHEMA public OWNER TO pg_database_owner",
    )
    other.run(
        f'GRANT CREATE ON DATABASE "{other.name}" TO mover',
        "GRANT SELECT ON pg_user_mapping TO mover",
        *(
            f"GRANT EXECUTE ON FUNCTION pg_replication_origin_{function} TO mover"
            for function in ("progress(text, boolean)", "advance(text, pg_lsn)")
        ),
    )
    try:
        with (
            Primary.connect(database.conninfo) as old,
            Primary.connect(other.conninfo, user="mover", password=password) as new,
        ):
            upgrade = Upgrade(old, new, name="shop")
            found = upgrade.check()["owners"]
            assert (found.severity, found.remedy) == ("critical", "GRANT shopkeeper TO mover")
            public = upgrade.check()["schemas"]
            grant = "GRANT CREATE ON SCHEMA public TO mover"
            assert (public.severity, public.remedy) == ("critical", f"on the new server: {grant}")
            without_owners = upgrade.plan_prepare(owners=False)
            assert without_owners.check()["schemas"].severity == "critical"
            plan = upgrade.plan_prepare(copy_schema=False)
            assert plan.check()["schemas"].severity == "ok"
            other.run(grant)
            assert upgrade.check()["schemas"].severity == "ok"
            for plan in (without_owners, upgrade.plan_prepare(copy_schema=False)):
                assert plan.check()["owners"].severity == "ok"
            other.run(found.remedy)
            assert upgrade.check()["owners"].severity == "ok"
            # As the schema public before 15.
            database.run("ALTER SCHEMA public OWNER TO postgres")
            owners = upgrade.check()["owners"]
            assert owners.found == "mover is no member of postgres"
            assert "or prepare with owners=False, and set owners" in str(owners.remedy)
            # Some builds of the server have no such extension.
            for (name,) in database.all(UNTRUSTED):
                database.run(f"CREATE EXTENSION {name}")
                refused = upgrade.check()["extensions of superusers"]
                assert refused.remedy.startswith(f"CREATE EXTENSION {name}, as a superuser")
                other.run(f"CREATE EXTENSION {name}")
                assert upgrade.check()["extensions of superusers"].severity == "ok"
    finally:
        other.run("DROP OWNED BY mover CASCADE")
        remove_databases(other)
        database.run("ALTER TABLE t OWNER TO postgres", "DROP ROLE mover, shopkeeper")


def test_time_limits_from_any_source_are_found_and_the_remedies_remove_them(
    database: Database, cluster: Cluster
) -> None:
    other = make_database(cluster.primary)
    major = database.node.major
    role, limit = "ALTER ROLE postgres IN DATABASE", "SET statement_timeout = 60000"
    known = {name for name, since in TIMEOUTS.items() if major >= since}

    def check(options: str) -> Readiness:
        with (
            Primary.connect(database.conninfo, options=options) as old,
            Primary.connect(other.conninfo) as new,
        ):
            return Upgrade(old, new, name="shop").check()

    try:
        database.run("CREATE TABLE t (id int PRIMARY KEY)")
        database.run(*(f'ALTER DATABASE "{database.name}" SET {one} = 60000' for one in known))
        other.run(f'{role} "{other.name}" {limit}')
        found = check("-c lock_timeout=5000")
        assert {*found["old: timeouts"].found.split(", ")} == known
        assert "remove lock_timeout from the connection string" in found["old: timeouts"].remedy
        assert found["new: timeouts"].found == "statement_timeout"
        for side, name in ((database, "old"), (other, "new")):
            statements = found[f"{name}: timeouts"].remedy.split("; ")
            side.run(*(one for one in statements if one.startswith("ALTER")))
        found = check("")
        # Set for the database, too, which is what a client without this option gets.
        assert found["old: timeouts"].found == "lock_timeout"
        database.run(*found["old: timeouts"].remedy.split("; "))
        found = check("")
        assert {found[f"{name}: timeouts"].severity for name in ("old", "new")} == {"ok"}
    finally:
        # Other tests that get these databases would take the remedies for their own settings.
        for side in (database, other):
            side.run(*(f'{one} "{side.name}" RESET ALL' for one in ("ALTER DATABASE", role)))
        remove_databases(other)
