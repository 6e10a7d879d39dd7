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
            one.run("CREATE ROLE shopkeeper", "CREATE ROLE clerk LOGIN")
            stack.callback(one.run, "DROP ROLE shopkeeper, clerk")
        for one in (old, new):
            stack.callback(
                one.run,
                "REVOKE ALL ON FUNCTION pg_ls_waldir() FROM clerk",
                f"REVOKE ALL ON DATABASE {one.name} FROM clerk",
                "DROP SCHEMA IF EXISTS app CASCADE",
                # DROP OWNED BY fails where a default has grants to both.
                f"{DEFAULTS} REVOKE EXECUTE ON FUNCTIONS FROM clerk",
                f"{DEFAULTS} GRANT USAGE ON TYPES TO PUBLIC",
            )
        yield old, new


def privileges(upgrade: Upgrade) -> Finding:
    return upgrade.plan_cutover(lambda node: None).check()["privileges"]


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
    old.run(*objects)
    old.run(*sorted(one.replace("{}", old.name) for one in wanted))
    programs = new.node.installation.bindir
    with Primary.connect(old.conninfo) as source, Primary.connect(new.conninfo) as target:
        upgrade = Upgrade(source, target, name="shop")
        assert upgrade.check()["privileges"].severity is Severity.OK
        plan = upgrade.plan_prepare(owners=False, bindir=programs)
        left_out = plan.check()["privileges"]
        assert left_out.severity is Severity.WARNING
        assert left_out.found.endswith("privileges of PUBLIC, clerk, shopkeeper")
        plan.run()
        found = privileges(upgrade)
        assert found.severity is Severity.WARNING
        remedy = str(found.remedy).removeprefix("on the new server: ").split("; ")
        assert sorted(remedy) == sorted(one.replace("{}", new.name) for one in wanted)
        new.run(*remedy)
        assert privileges(upgrade).severity is Severity.OK
        assert new.one(EFFECTIVE) is True
        # The new server may have more.
        new.run("GRANT INSERT ON app.orders TO clerk WITH GRANT OPTION")
        assert privileges(upgrade).severity is Severity.OK
        upgrade.plan_finish().run()
        new.run("DROP SCHEMA app, shop_fence CASCADE")
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
