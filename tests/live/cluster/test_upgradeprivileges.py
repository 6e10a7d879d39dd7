"""Owners and privileges that a preparation leaves out, and objects that exist before it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from clusters import Clusters
from databases import Database, make_database, remove_databases

from pgreplkit import Primary
from pgreplkit.errors import PlanRefused
from pgreplkit.rows import Finding, Severity
from pgreplkit.upgrade import Upgrade

pytestmark = pytest.mark.one_colour

_NEWER = {14: 17}
"""The new servers of old ones without pg_dump; 18 is that of the others."""
OBJECTS = (
    "CREATE SCHEMA app",
    "CREATE TABLE app.orders (id serial PRIMARY KEY, name text, total int)",
    # A partition has an owner of its own.
    "CREATE TABLE app.days (day int NOT NULL) PARTITION BY RANGE (day)",
    "CREATE TABLE app.day1 PARTITION OF app.days FOR VALUES FROM (1) TO (2)",
    "ALTER TABLE app.day1 ADD PRIMARY KEY (day)",
    "CREATE VIEW app.names AS SELECT name FROM app.orders",
    "CREATE FUNCTION app.total(int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE AGGREGATE app.rows(*) (sfunc = int8inc, stype = int8, initcond = '0')",
    "CREATE TYPE app.state AS ENUM ('new')",
    "CREATE DOMAIN app.amount AS int",
    # The defaults, which are no differences.
    "CREATE FUNCTION app.open() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE TYPE app.pair AS (a int, b int)",
    "CREATE FOREIGN DATA WRAPPER app_wrapper",
    "CREATE SERVER app_server FOREIGN DATA WRAPPER app_wrapper",
)
PROCEDURE = "CREATE PROCEDURE app.clean(INOUT n int) LANGUAGE sql AS 'SELECT 1'"
DEFAULTS = "ALTER DEFAULT PRIVILEGES FOR ROLE shopkeeper"
STATEMENTS = [
    f"{DEFAULTS} GRANT EXECUTE ON FUNCTIONS TO clerk",
    f"{DEFAULTS} IN SCHEMA app GRANT SELECT ON TABLES TO clerk WITH GRANT OPTION",
    f"{DEFAULTS} REVOKE USAGE ON TYPES FROM PUBLIC",
    "ALTER FUNCTION app.rows() OWNER TO shopkeeper",
    "ALTER FUNCTION app.total(integer) OWNER TO shopkeeper",
    "ALTER SCHEMA app OWNER TO shopkeeper",
    "ALTER SERVER app_server OWNER TO shopkeeper",
    "ALTER TABLE app.day1 OWNER TO shopkeeper",
    "ALTER TABLE app.days OWNER TO shopkeeper",
    "ALTER TABLE app.orders OWNER TO shopkeeper",
    "ALTER TYPE app.amount OWNER TO shopkeeper",
    "ALTER VIEW app.names OWNER TO shopkeeper",
    "GRANT CREATE ON DATABASE {} TO clerk",
    "GRANT EXECUTE ON FUNCTION app.rows() TO clerk",
    "GRANT EXECUTE ON FUNCTION app.total(integer) TO clerk WITH GRANT OPTION",
    # One of initdb.
    "GRANT EXECUTE ON FUNCTION pg_ls_waldir() TO clerk",
    "GRANT INSERT ON TABLE app.orders TO clerk",
    "GRANT SELECT (name) ON TABLE app.orders TO PUBLIC",
    "GRANT SELECT ON TABLE app.orders TO clerk WITH GRANT OPTION",
    "GRANT USAGE ON FOREIGN DATA WRAPPER app_wrapper TO clerk",
    "GRANT USAGE ON FOREIGN SERVER app_server TO clerk",
    "GRANT USAGE ON LANGUAGE sql TO clerk",
    "GRANT USAGE ON SCHEMA app TO clerk",
    "GRANT USAGE ON SEQUENCE app.orders_id_seq TO clerk",
    "GRANT USAGE ON TYPE app.amount TO clerk",
    "GRANT USAGE ON TYPE app.state TO clerk WITH GRANT OPTION",
    "REVOKE EXECUTE ON FUNCTION app.total(integer) FROM PUBLIC",
    "REVOKE USAGE ON TYPE app.state FROM PUBLIC",
]
GENERATED = "CREATE TABLE app.sums (id int PRIMARY KEY, n int GENERATED ALWAYS AS (id) STORED)"
OF_GENERATED = ["ALTER TABLE app.sums OWNER TO shopkeeper"]
OF_PROCEDURE = [
    "ALTER PROCEDURE app.clean(integer) OWNER TO shopkeeper",
    "GRANT EXECUTE ON PROCEDURE app.clean(integer) TO clerk",
]
SETTINGS = ("work_mem", "auto_explain.log_nesting")
OF_SERVER = [
    "ALTER TABLESPACE app_space OWNER TO shopkeeper",
    "GRANT CREATE ON TABLESPACE app_space TO clerk WITH GRANT OPTION",
    "GRANT CREATE ON TABLESPACE pg_default TO clerk",
]
OF_SETTINGS = [
    'GRANT ALTER SYSTEM ON PARAMETER "auto_explain.log_nesting" TO clerk',
    "GRANT ALTER SYSTEM ON PARAMETER work_mem TO clerk",
    "GRANT SET ON PARAMETER work_mem TO clerk WITH GRANT OPTION",
]
REMOVED = "GRANT SET ON PARAMETER force_parallel_mode TO clerk"
"""A setting that only 15 has."""
SPACE = ("SET allow_in_place_tablespaces = on", "CREATE TABLESPACE app_space LOCATION ''")
EFFECTIVE = """
    SELECT has_function_privilege('clerk', 'app.total(int)', 'EXECUTE WITH GRANT OPTION')
        AND has_type_privilege('clerk', 'app.state', 'USAGE WITH GRANT OPTION')
        AND has_table_privilege('clerk', 'app.orders', 'SELECT WITH GRANT OPTION')
        AND NOT has_type_privilege('pg_monitor', 'app.state', 'USAGE')
"""


@pytest.fixture
def pair(clusters: Clusters, major: int) -> Iterator[tuple[Database, Database]]:
    """Databases of an old server and of a newer one, which have the same roles."""
    newer = major if major >= 16 else _NEWER.get(major, 18)
    old = make_database(clusters.of(major).primary)
    new = make_database(clusters.of(newer).primary)
    # Before 15, it is granted in a new database.
    old.run("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    databases = [old] if major == newer else [old, new]
    with ExitStack() as stack:
        stack.callback(remove_databases, new, old)
        for one in databases:
            one.run("CREATE ROLE shopkeeper", "CREATE ROLE clerk LOGIN", *SPACE)
            stack.callback(one.run, "DROP ROLE shopkeeper, clerk")
            stack.callback(one.run, "REVOKE ALL ON TABLESPACE pg_default FROM clerk")
            stack.callback(one.run, "DROP TABLESPACE app_space")
            for setting in SETTINGS if one.node.major >= 15 else ():
                stack.callback(one.run, f"REVOKE ALL ON PARAMETER {setting} FROM clerk")
            if one.node.major == 15:
                stack.callback(one.run, REMOVED.replace("GRANT", "REVOKE").replace("TO", "FROM"))
        for one in (old, new):
            stack.callback(
                one.run,
                "REVOKE ALL ON FUNCTION pg_ls_waldir() FROM clerk",
                f"REVOKE ALL ON DATABASE {one.name} FROM clerk",
                "DROP SCHEMA IF EXISTS app CASCADE",
                "DROP FOREIGN DATA WRAPPER IF EXISTS app_wrapper CASCADE",
                "REVOKE ALL ON LANGUAGE sql FROM clerk",
                # DROP OWNED BY fails where a default has grants to both.
                f"{DEFAULTS} REVOKE EXECUTE ON FUNCTIONS FROM clerk",
                f"{DEFAULTS} GRANT USAGE ON TYPES TO PUBLIC",
            )
        yield old, new


def privileges(upgrade: Upgrade) -> Finding:
    return upgrade.plan_cutover(lambda node: None).check()["privileges"]


def statements(finding: Finding) -> list[str]:
    return sorted(str(finding.remedy).removeprefix("on the new server: ").split("; "))


@pytest.mark.matrix
def test_each_missing_privilege_has_the_statement_that_grants_it(
    pair: tuple[Database, Database],
) -> None:
    old, new = pair
    wanted, objects = [*STATEMENTS], [*OBJECTS]
    for since, statement, owners in ((11, PROCEDURE, OF_PROCEDURE), (12, GENERATED, OF_GENERATED)):
        if old.node.major >= since:
            objects.append(statement)
            wanted += owners
    uncopied = ["GRANT CREATE ON DATABASE {} TO clerk"]
    if old.node.major != new.node.major:
        uncopied += [*OF_SERVER, *(OF_SETTINGS if old.node.major >= 15 else ())]
        wanted += uncopied[1:]
    if old.node.major == 15:
        old.run(REMOVED)
    old.run(*objects)
    old.run(*sorted(one.replace("{}", old.name) for one in wanted))
    programs = new.node.installation.bindir
    with Primary.connect(old.conninfo) as source, Primary.connect(new.conninfo) as target:
        upgrade = Upgrade(source, target, name="shop")
        before = upgrade.check()["privileges"]
        assert before.severity is Severity.WARNING
        assert statements(before) == sorted(one.replace("{}", new.name) for one in uncopied)
        plan = upgrade.plan_prepare(owners=False, bindir=programs)
        left_out = plan.check()["privileges"]
        assert left_out.severity is Severity.WARNING
        assert "privileges of PUBLIC, clerk, shopkeeper; " in left_out.found
        plan.run()
        found = privileges(upgrade)
        assert found.severity is Severity.WARNING
        remedy = statements(found)
        assert remedy == sorted(one.replace("{}", new.name) for one in wanted)
        new.run(*remedy)
        assert privileges(upgrade).severity is Severity.OK
        assert new.one(EFFECTIVE) is True
        # The new server may have more.
        new.run("GRANT INSERT ON app.orders TO clerk WITH GRANT OPTION")
        assert privileges(upgrade).severity is Severity.OK
        upgrade.plan_finish().run()
        new.run(
            "DROP SCHEMA app, shop_fence CASCADE", "DROP FOREIGN DATA WRAPPER app_wrapper CASCADE"
        )
        assert upgrade.check()["privileges"].severity is Severity.OK
        # With owners, nothing is left to set, on a server of any version.
        upgrade.plan_prepare(bindir=programs).run()
        assert privileges(upgrade).severity is Severity.OK
        upgrade.plan_finish().run()


def test_objects_that_exist_before_the_copy_of_the_schema_are_found(
    pair: tuple[Database, Database],
) -> None:
    old, new = pair
    old.run(*OBJECTS)
    new.run("CREATE SCHEMA app", "CREATE TYPE app.state AS ENUM ('new')")
    programs = new.node.installation.bindir
    with Primary.connect(old.conninfo) as source, Primary.connect(new.conninfo) as target:
        upgrade = Upgrade(source, target, name="shop")
        found = upgrade.check()["existing objects"]
        assert found.severity is Severity.CRITICAL
        assert found.found == "schema app, type app.state"
        plan = upgrade.plan_prepare(bindir=programs)
        with pytest.raises(PlanRefused, match="existing objects"):
            plan.run()
        assert upgrade.plan_prepare(copy_schema=False).check()["existing objects"].found == "none"
        new.run("DROP SCHEMA app CASCADE")
        assert upgrade.check()["existing objects"].severity is Severity.OK
        plan.run()
        upgrade.plan_finish().run()
        # After an end, the new server has them all.
        assert upgrade.check()["existing objects"].severity is Severity.OK


ROLE = (
    "CREATE ROLE mover LOGIN REPLICATION PASSWORD 'mover' IN ROLE shopkeeper, pg_monitor",
    "GRANT SELECT ON pg_subscription, pg_user_mapping TO mover",
    "GRANT EXECUTE ON FUNCTION pg_replication_origin_progress(text, boolean),"
    " pg_replication_origin_advance(text, pg_lsn) TO mover",
)


def test_a_role_that_may_not_drop_the_objects_of_an_upgrade_is_refused_before_a_change(
    pair: tuple[Database, Database],
) -> None:
    old, new = pair
    old.run("CREATE TABLE t (id int PRIMARY KEY)", "ALTER TABLE t OWNER TO shopkeeper")
    with ExitStack() as stack:
        for one in pair if old.node is not new.node else [old]:
            one.run(ROLE[0])
            stack.callback(one.run, "DROP ROLE mover")
        for one in pair:
            stack.callback(one.run, "DROP OWNED BY mover")
            stack.callback(one.run, "DROP TABLE IF EXISTS t")
            one.run(*ROLE[1:], f"GRANT CREATE ON DATABASE {one.name} TO mover")
        source, target, here, there = (
            stack.enter_context(Primary.connect(conninfo))
            for conninfo in (old.conninfo, new.conninfo, *(one.as_role("mover") for one in pair))
        )
        upgrade = Upgrade(source, target, name="shop")
        upgrade.plan_prepare(bindir=new.node.installation.bindir).run()
        old.run("ALTER PUBLICATION shop_1 OWNER TO clerk")
        by_mover = Upgrade(here, there, name="shop")
        # The one would fail when no server accepts writes, and the other when half of it is done.
        plans = [by_mover.plan_cutover(lambda node: None), by_mover.plan_finish()]
        for plan in plans:
            with pytest.raises(PlanRefused, match="new: rights"):
                plan.run()
            remedies = {one.check: one.remedy.partition("as one: ")[2] for one in plan.check()}
            assert remedies == {
                "old: rights": "GRANT clerk TO mover",
                "new: rights": "ALTER ROLE mover SUPERUSER",
            }
        assert upgrade.status().phase == "prepared"
        for one, check in ((old, "old: rights"), (new, "new: rights")):
            one.run(remedies[check])
        plans[1].run()
        assert upgrade.status().phase == "new"
        new.run("DROP SCHEMA shop_fence CASCADE")
