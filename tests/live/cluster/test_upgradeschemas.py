"""The schema of an upgrade: its copy, and DDL since."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from colours import Colour
from databases import Database, Pair
from upgrading import LEFT, TABLES, opened, prepare, stopped_at

from pgreplkit.catalog.cluster.upgradeschema import FINGERPRINT
from pgreplkit.errors import PlanFailed, PlanRefused
from pgreplkit.plans.cluster.steps import Step
from pgreplkit.plans.cluster.upgradesteps import CopyIndexes, CopyTables
from pgreplkit.rows import Severity, StepProgress

pytestmark = pytest.mark.one_colour


@pytest.mark.matrix
async def test_ddl_on_the_new_server_only_is_shown_before_a_cutover(
    sides: Pair, colour: Colour, tmp_path: Path
) -> None:
    async with opened(sides, colour, tmp_path) as upgrade:
        await prepare(upgrade, sides)
        plan = await upgrade.plan_cutover()
        found = (await plan.check())["DDL on the new server only"]
        assert found.severity is Severity.OK
        sides.subscriber.run("ALTER TABLE orders ALTER total SET DEFAULT 5")
        found = (await plan.check())["DDL on the new server only"]
        assert (found.severity, found.found) == (
            Severity.WARNING,
            "table public.orders was changed",
        )
        sides.publisher.run("ALTER TABLE orders ALTER total SET DEFAULT 5")
        assert [one.check for one in await plan.check() if one.severity > Severity.OK] == []


@pytest.mark.pg(">=16")
@pytest.mark.matrix
async def test_programs_that_cannot_copy_the_schema_are_found_before_the_run(
    sides: Pair, colour: Colour, tmp_path: Path
) -> None:
    node = sides.publisher.node
    async with opened(sides, colour, tmp_path) as upgrade:
        plan = await upgrade.plan_prepare(bindir=node.installation.bindir)
        assert (await plan.check())["programs"].found == (
            f"pg_dump has version {node.major}; pg_restore has version {node.major}"
        )
        old = tmp_path / "pg_dump"
        old.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24'\n")
        old.chmod(0o755)
        (tmp_path / "pg_restore").symlink_to(node.installation.bindir / "pg_restore")
        for bindir, found in (
            (tmp_path / "nowhere", r"pg_dump: No such file or directory; .*pg_restore: No such"),
            (tmp_path, "pg_dump has version 9; pg_restore"),
        ):
            plan = await upgrade.plan_prepare(bindir=bindir)
            with pytest.raises(PlanRefused, match=rf"programs: .*{found}(?s:.*) as bindir="):
                await plan.run()
            # Without the schema they are not needed.
            plan = await upgrade.plan_prepare(bindir=bindir, copy_schema=False)
            assert "programs" not in await plan.check()
        # A plan that is resumed is not checked again.
        plan = await upgrade.plan_prepare(bindir=node.installation.bindir)
        with pytest.raises(RuntimeError, match="stop"):
            await plan.run(stopped_at(CopyTables))
        again = await upgrade.plan_resume(bindir=tmp_path / "nowhere")
        with pytest.raises(PlanFailed, match=r"pg_dump: No such file.*; pass .* as bindir="):
            await again.resume()
    assert (sides.publisher.all(LEFT), sides.subscriber.all(LEFT)) == ([], [])


NOTED = (
    "CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    *(
        f"CREATE TRIGGER {name} AFTER INSERT ON customers FOR EACH ROW EXECUTE PROCEDURE noted()"
        for name in ("first", "second")
    ),
)


@pytest.mark.pg(">=16")
async def test_a_schema_that_the_new_server_has_in_part_is_not_taken_for_a_copy(
    sides: Pair, colour: Colour, tmp_path: Path
) -> None:
    old, new = sides.publisher, sides.subscriber
    # Without other indexes and foreign keys.
    old.run("DROP TABLE orders", *NOTED)
    # Each appears after the checks.
    meddling: dict[type[Step], str] = {CopyTables: TABLES[0], CopyIndexes: NOTED[1]}

    def interfere(progress: StepProgress) -> None:
        if progress.elapsed is None and type(progress.step) in meddling:
            new.run(meddling.pop(type(progress.step)))

    async with opened(sides, colour, tmp_path) as upgrade:
        plan = await upgrade.plan_prepare(bindir=old.node.installation.bindir)
        # The function is missing.
        with pytest.raises(PlanFailed, match='relation "customers" already exists'):
            await plan.run(interfere)
        new.run("DROP TABLE customers")
        # The second trigger is missing.
        with pytest.raises(PlanFailed, match=r'trigger "first" .* already exists'):
            await plan.resume(interfere)
        new.run("DROP TRIGGER first ON customers")
        await plan.resume()
        triggers = "SELECT tgname::text FROM pg_trigger WHERE tgname IN ('first', 'second')"
        assert new.all(f"{triggers} ORDER BY 1") == [("first",), ("second",)]


CHANGES = (
    "ALTER TABLE orders ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE orders FORCE ROW LEVEL SECURITY",
    "ALTER TABLE orders ALTER id SET GENERATED ALWAYS",
    'ALTER TABLE customers ALTER name TYPE text COLLATE "C"',
    "CREATE RULE kept AS ON DELETE TO orders DO INSTEAD NOTHING",
    "GRANT SELECT (total) ON orders TO hidden",
    "CREATE SCHEMA more",
    "GRANT USAGE ON SCHEMA more TO hidden",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA more GRANT SELECT ON TABLES TO hidden",
    "CREATE TYPE span AS RANGE (subtype = int4)",
    "ALTER TYPE span OWNER TO hidden",
    "CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
    "ALTER FUNCTION note() OWNER TO hidden",
    "CREATE EVENT TRIGGER noting ON sql_drop EXECUTE PROCEDURE note()",
    "ALTER EVENT TRIGGER noting DISABLE",
    "CREATE TYPE more.pair AS (a int, b int)",
    "ALTER TYPE more.pair OWNER TO hidden",
    "CREATE CAST (more.pair AS text) WITH INOUT",
    "CREATE OPERATOR more.=== (LEFTARG = int, RIGHTARG = int, PROCEDURE = int4eq)",
    "ALTER OPERATOR more.=== (int, int) SET (RESTRICT = eqsel)",
    'CREATE COLLATION more.plain FROM "C"',
    "ALTER COLLATION more.plain OWNER TO hidden",
    "CREATE STATISTICS more.both ON customer, total FROM orders",
    "CREATE TEXT SEARCH CONFIGURATION more.words (COPY = simple)",
    "CREATE TEXT SEARCH DICTIONARY more.stops (TEMPLATE = simple)",
    "ALTER TEXT SEARCH DICTIONARY more.stops (StopWords = english)",
    "ALTER TEXT SEARCH CONFIGURATION more.words ALTER MAPPING FOR word WITH more.stops",
    "CREATE OPERATOR FAMILY more.family USING btree",
    "CREATE OPERATOR CLASS more.class FOR TYPE more.pair USING btree FAMILY more.family AS"
    " OPERATOR 1 =(record, record), FUNCTION 1 btrecordcmp(record, record)",
    "CREATE CONVERSION more.latin FOR 'UTF8' TO 'LATIN1' FROM utf8_to_iso8859_1",
    "CREATE FOREIGN DATA WRAPPER pgreplkit_test",
    "CREATE SERVER far FOREIGN DATA WRAPPER pgreplkit_test",
    "ALTER SERVER far OPTIONS (ADD host 'db2')",
    "GRANT USAGE ON FOREIGN SERVER far TO hidden",
    "CREATE USER MAPPING FOR hidden SERVER far OPTIONS (password 'x')",
    "CREATE FOREIGN TABLE more.remote (id int) SERVER far",
    "ALTER FOREIGN TABLE more.remote OPTIONS (ADD t 'x')",
    "ALTER FOREIGN TABLE more.remote ALTER id OPTIONS (ADD c 'y')",
    "CREATE FUNCTION more.one(int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "ALTER FUNCTION more.one(int) STRICT",
    "ALTER FUNCTION more.one(int) PARALLEL SAFE",
    "GRANT EXECUTE ON FUNCTION more.one(int) TO hidden",
    "REVOKE EXECUTE ON FUNCTION more.one(int) FROM public",
    "CREATE AGGREGATE more.total(int) (sfunc = int4pl, stype = int)",
    "CREATE VIEW more.all_orders AS SELECT id FROM orders",
    "ALTER VIEW more.all_orders SET (security_barrier = true)",
    "ALTER VIEW more.all_orders ALTER id SET DEFAULT 1",
    "CREATE SEQUENCE numbers",
    "ALTER SEQUENCE numbers CACHE 10",
    "ALTER SEQUENCE numbers OWNED BY orders.total",
    "CREATE TABLE more.parts (id int) PARTITION BY RANGE (id)",
    "CREATE TABLE more.part (id int)",
    "ALTER TABLE more.parts ATTACH PARTITION more.part FOR VALUES FROM (0) TO (9)",
    "ALTER TABLE more.parts DETACH PARTITION more.part",
    "ALTER TABLE orders DISABLE TRIGGER ALL",
    "ALTER TABLE orders SET (fillfactor = 50)",
    "ALTER TABLE orders REPLICA IDENTITY FULL",
    "ALTER TABLE more.part SET UNLOGGED",
    "DROP EXTENSION plpgsql CASCADE",
)


SAME = (
    "GRANT SELECT ON customers TO hidden; REVOKE SELECT ON customers FROM hidden",
    "GRANT SELECT (name) ON customers TO hidden; REVOKE SELECT (name) ON customers FROM hidden",
    "GRANT UPDATE ON customers_id_seq TO hidden; REVOKE UPDATE ON customers_id_seq FROM hidden",
    "GRANT USAGE ON SCHEMA public TO hidden; REVOKE USAGE ON SCHEMA public FROM hidden",
    "CREATE TEMPORARY TABLE own (id int)",
    "ANALYZE",
    "VACUUM FULL orders",
    "SELECT nextval('customers_id_seq')",
)


def fingerprint(database: Database) -> dict[str, str]:
    with psycopg.connect(database.conninfo, options="-c search_path=") as connection:
        return dict(connection.execute(FINGERPRINT).fetchall())


def test_ddl_of_each_kind_changes_the_fingerprint_of_the_schema(sides: Pair) -> None:
    old = sides.publisher
    old.run("CREATE ROLE hidden")
    seen = [fingerprint(old)]
    try:
        for change in CHANGES:
            old.run(change)
            seen.append(fingerprint(old))
            assert seen[-1] != seen[-2], change
        for same in SAME:
            old.run(*same.split("; "))
            assert fingerprint(old) == seen[-1], same
    finally:
        old.run(
            "DROP FOREIGN DATA WRAPPER IF EXISTS pgreplkit_test CASCADE",
            "DROP SCHEMA IF EXISTS more CASCADE",
            "DROP EVENT TRIGGER IF EXISTS noting",
            "DROP OWNED BY hidden CASCADE",
            "DROP ROLE hidden",
            "CREATE EXTENSION IF NOT EXISTS plpgsql",
        )
