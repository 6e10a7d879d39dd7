"""The checks of an upgrade find on servers what would stop it."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from clusters import wait_until
from colours import Colour, inner
from databases import Pair, both
from upgrading import opened

from pgreplkit.errors import PlanRefused
from pgreplkit.host.upgradeclone import CloneDirectories
from pgreplkit.rows import Severity
from pgreplkit.upgrade import AsyncUpgrade, Upgrade

pytestmark = pytest.mark.one_colour


async def test_a_database_without_tables_is_a_finding(
    sides: Pair, colour: Colour, tmp_path: Path
) -> None:
    # As when the servers are exchanged, and the new one is still empty.
    async with opened(Pair(sides.subscriber, sides.publisher), colour, tmp_path) as upgrade:
        plan = await upgrade.plan_prepare(copy_schema=False)
        with pytest.raises(PlanRefused, match="tables: 0 tables to copy; needed: at least one"):
            await plan.run()


async def test_columns_of_xml_need_a_new_server_with_libxml(
    sides: Pair, colour: Colour, tmp_path: Path
) -> None:
    old, new = sides.publisher, sides.subscriber
    # The type exists in builds without libxml, too.
    old.run(
        "CREATE DOMAIN page AS xml",
        "CREATE TABLE docs (id int PRIMARY KEY, doc xml)",
        "CREATE TABLE lists (id int PRIMARY KEY, docs xml[])",
        "CREATE TABLE pages (id int PRIMARY KEY, doc page)",
        "CREATE TABLE texts (id int PRIMARY KEY, doc text)",
    )
    try:
        has_libxml = new.one("SELECT xml '<a/>' IS NOT NULL")
    except psycopg.errors.FeatureNotSupported:
        has_libxml = False
    async with opened(sides, colour, tmp_path) as upgrade:
        finding = (await upgrade.check())["XML columns"]
    # A clone looks at the program, because its new server does not exist yet.
    bindir = new.node.installation.bindir
    programs = CloneDirectories.at(tmp_path / "d", bindir=bindir, old_bindir=bindir, settings=None)
    assert programs.reads_xml() == has_libxml
    if has_libxml:
        assert finding.severity is Severity.OK
    else:
        assert finding.severity is Severity.CRITICAL
        assert finding.found == "public.docs, public.lists, public.pages"


PROBLEMS = (
    "CREATE TABLE nokey (v json)",
    "CREATE TABLE whole (id int, v json, UNIQUE (id) DEFERRABLE)",
    "ALTER TABLE whole REPLICA IDENTITY FULL",
    "CREATE TABLE hashed (id int)",
    "ALTER TABLE hashed REPLICA IDENTITY FULL",
    "CREATE INDEX ON hashed USING hash (id)",
    "INSERT INTO hashed SELECT generate_series(1, 20000)",
    "ANALYZE hashed",
    "UPDATE hashed SET id = -1 WHERE id = 1",
    "CREATE TABLE large (id int)",
    "ALTER TABLE large REPLICA IDENTITY FULL",
    "INSERT INTO large SELECT generate_series(1, 10001)",
    "ANALYZE large",
    "UPDATE large SET id = 0 WHERE id = 1",
    "CREATE UNLOGGED TABLE cached (id int PRIMARY KEY)",
    "CREATE FUNCTION positive(n int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT n > 0'",
    "CREATE TABLE checked (id int PRIMARY KEY CHECK (positive(id)))",
    "CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "CREATE TRIGGER noting AFTER INSERT ON checked FOR EACH ROW EXECUTE PROCEDURE noted()",
    "ALTER TABLE checked ENABLE ALWAYS TRIGGER noting",
    "CREATE MATERIALIZED VIEW shown AS SELECT 1 AS one",
    "CREATE MATERIALIZED VIEW unfilled AS SELECT 1 AS one WITH NO DATA",
    "CREATE PUBLICATION feed FOR TABLE checked",
    "SELECT lo_create(0)",
    "CREATE ROLE hidden",
    "CREATE TABLE forced (id int PRIMARY KEY)",
    "ALTER TABLE forced OWNER TO hidden",
    "ALTER TABLE forced ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    # Names of the upgrade's own objects.
    "CREATE PUBLICATION shop_1 FOR TABLE checked",
    "CREATE SCHEMA shop_fence",
    "CREATE TRIGGER shop_fence AFTER INSERT ON checked FOR EACH ROW EXECUTE PROCEDURE noted()",
)


FIXED = {
    "replica identity",
    "types without equality",
    "unlogged tables",
    "functions without a search_path",
    "triggers that fire on apply",
    "tables on the new server",
    "rows on the new server",
    "database settings",
}


ONLY_SHOWN = {
    "late constraints",
    "updates without an index",
    "materialized views",
    "other publications",
    "large objects",
    "md5 passwords",
    "new reaches old",
    "old: leftovers",
}


async def test_preconditions_are_found_on_servers_and_their_statements_fix_them(
    sides: Pair, colour: Colour
) -> None:
    old, new = sides.publisher, sides.subscriber
    old.run(*PROBLEMS, f'ALTER DATABASE "{old.name}" SET search_path = public, "$user"')
    old.run("SET password_encryption = md5; CREATE ROLE upgraded PASSWORD 'secret'")
    # Before 15, statistics are visible only some time later.
    updated = "SELECT n_tup_upd > 0 FROM pg_stat_user_tables WHERE relname = 'large'"
    wait_until(lambda: old.one(updated) is True)
    new.run("CREATE TABLE customers (id serial PRIMARY KEY)", "INSERT INTO customers VALUES (7)")
    try:
        async with both(sides, colour) as (here, there):
            kind = Upgrade if colour.name == "sync" else AsyncUpgrade
            nowhere = {"old": "host=localhost port=1 connect_timeout=1"}
            upgrade = colour.bound(
                kind(inner(here), inner(there), name="shop", replication=nowhere)  # type: ignore[arg-type]
            )
            first = await upgrade.check()
            bad = {one.check: one for one in first if one.severity > "ok"}
            assert bad.keys() >= FIXED | ONLY_SHOWN
            # No check is about a setting that the server does not have.
            settings = {name for (name,) in new.all("SELECT name::text FROM pg_settings")}
            named = {one.check.partition(": ")[2] for one in first if "_" in one.check}
            assert {name for name in named if name.startswith(("max_", "wal_"))} <= settings
            # A hash index is used from 17 on.
            assert ("public.hashed" in bad["updates without an index"].found) == (
                new.node.major < 17
            )
            assert bad["old: leftovers"].found == (
                "publication shop_1, schema shop_fence, trigger shop_fence on checked"
            )
            # The one without data raises the same error on both servers.
            assert bad["materialized views"].found == "public.shown"
            # Before, apply workers write as the subscription's owner.
            assert ("forced row level security" in bad) == (new.node.major >= 16)
            # The server 10 of the tests has control files of extensions for a newer version.
            assert ("extensions" in bad or "missing extensions" in bad) == (new.node.major == 10)
            assert not {"old: timeouts", "new: timeouts", "old reaches new"} & bad.keys()
            on_new = ("rows", "tables on", "database settings")
            for check in FIXED - {"types without equality"}:
                database = new if check.startswith(on_new) else old
                database.run(*bad[check].remedy.split("; "))
            old.run("ALTER TABLE whole ALTER v TYPE jsonb", "ALTER TABLE nokey ALTER v TYPE jsonb")
            second = await upgrade.check()
            still = {one.check for one in second if one.severity > "ok"}
            assert still & FIXED == set()
            assert still >= ONLY_SHOWN
    finally:
        old.run(
            "DROP TABLE forced",
            "DROP ROLE upgraded, hidden",
            "SELECT lo_unlink(oid) FROM pg_largeobject_metadata",
        )
