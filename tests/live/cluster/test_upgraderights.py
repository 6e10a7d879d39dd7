"""The rights of the role that upgrades, and the roles that a schema names."""

from __future__ import annotations

import pytest
from colours import Colour, inner
from databases import Pair

from pgreplkit.catalog.cluster.upgrade import FACTS
from pgreplkit.rows import Severity
from pgreplkit.upgrade import AsyncUpgrade, Upgrade

pytestmark = pytest.mark.one_colour


async def test_missing_rights_are_found_before_anything_is_changed(
    sides: Pair, colour: Colour
) -> None:
    old, new = sides.publisher, sides.subscriber
    old.run(
        "CREATE ROLE shopkeeper",
        "CREATE ROLE mover LOGIN PASSWORD 'mover'",
        *(f"ALTER TABLE {table} OWNER TO shopkeeper" for table in ("customers", "orders")),
    )

    async def problems() -> dict[str, tuple[str, str]]:
        kind = Upgrade if colour.name == "sync" else AsyncUpgrade
        async with (
            await colour.primary(old.as_role("mover")) as here,
            await colour.primary(new.as_role("mover")) as there,
        ):
            upgrade = colour.bound(kind(inner(here), inner(there), name="shop"))  # type: ignore[arg-type]
            found = await upgrade.check()
            # Both find them before anything that the role may not read.
            of_plan = await (await upgrade.plan_prepare(copy_schema=False)).check()
            for node in ("old", "new"):
                assert of_plan[f"{node}: rights"] == found[f"{node}: rights"]
            return {
                one.check: (one.found, one.remedy)
                for one in found
                if one.check.endswith((": rights", "reaches new", "reaches old"))
                and one.severity is Severity.CRITICAL
            }

    try:
        found = await problems()
        assert found.keys() == {"old: rights", "new: rights", "old reaches new", "new reaches old"}
        assert found["old: rights"][0] == "mover is not a superuser"
        assert "; GRANT shopkeeper TO mover" in found["old: rights"][1]
        # Without it, the walsender of the standby is hidden.
        assert "; GRANT pg_monitor TO mover" in found["old: rights"][1]
        # Its subscription was refused before it connected anywhere.
        for check, node in (("old reaches new", "old"), ("new reaches old", "new")):
            assert found[check][1].startswith(f"connect to the {node} server as a superuser")
            assert ("pg_create_subscription" in found[check][1]) == (new.node.major >= 16)
        for check, database in (("old: rights", old), ("new: rights", new)):
            database.run(*found[check][1].split(": ", 1)[1].split("; "))
        assert (await problems()).keys() == {"old reaches new", "new reaches old"}
        if new.node.major >= 16:
            new.run("GRANT pg_create_subscription TO mover")
            assert await problems() == {}
        # The tables of a superuser are for superusers.
        old.run(
            "ALTER TABLE orders OWNER TO postgres",
            "CREATE TABLE days (day int NOT NULL) PARTITION BY RANGE (day)",
            "CREATE TABLE day1 PARTITION OF days FOR VALUES FROM (1) TO (2)",
        )
        reason, remedy = (await problems())["old: rights"]
        assert "for public.day1, public.days, public.orders, unless they get another" in reason
        old.run(*remedy.split(": ", 1)[1].split("; "))
        assert await problems() == {}
    finally:
        for database in (old, new):
            database.run("REASSIGN OWNED BY mover, shopkeeper TO postgres")
            database.run("DROP OWNED BY mover, shopkeeper")
        old.run("DROP ROLE mover, shopkeeper")


async def test_a_grant_has_the_name_of_an_owner_as_it_is(sides: Pair, colour: Colour) -> None:
    old, new = sides.publisher, sides.subscriber
    old.run(
        'CREATE ROLE "50%s"',
        "CREATE ROLE mover LOGIN PASSWORD 'mover'; GRANT pg_monitor TO mover",
        'ALTER TABLE orders OWNER TO "50%s"',
    )
    try:
        async with (
            await colour.primary(old.as_role("mover")) as here,
            await colour.primary(new.as_role("mover")) as there,
        ):
            kind = Upgrade if colour.name == "sync" else AsyncUpgrade
            upgrade = colour.bound(kind(inner(here), inner(there), name="shop"))  # type: ignore[arg-type]
            remedy = (await upgrade.check())["old: rights"].remedy
            assert remedy is not None
            assert 'GRANT "50%s" TO mover' in remedy
    finally:
        for database in (old, new):
            database.run('REASSIGN OWNED BY mover, "50%s" TO postgres')
            database.run('DROP OWNED BY mover, "50%s"')
        old.run('DROP ROLE mover, "50%s"')


NAMING = (
    "ALTER TABLE orders OWNER TO hidden",
    "GRANT SELECT ON orders TO hidden",
    "GRANT EXECUTE ON FUNCTION pg_stat_reset() TO hidden",
    "CREATE POLICY own ON orders TO hidden USING (true)",
    "CREATE SCHEMA theirs AUTHORIZATION hidden",
    "CREATE TYPE size AS ENUM ('s'); ALTER TYPE size OWNER TO hidden",
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO hidden",
)


@pytest.mark.parametrize("naming", NAMING)
def test_the_copy_of_the_schema_needs_each_role_that_it_names(sides: Pair, naming: str) -> None:
    old = sides.publisher
    owners = f"SELECT owners FROM ({FACTS}) AS facts"
    old.run("CREATE ROLE hidden")
    try:
        assert old.one(owners) == ["postgres"]
        old.run(*naming.split("; "))
        assert sorted(old.one(owners)) == ["hidden", "postgres"]  # type: ignore[call-overload]
    finally:
        old.run("REASSIGN OWNED BY hidden TO postgres", "DROP OWNED BY hidden", "DROP ROLE hidden")
