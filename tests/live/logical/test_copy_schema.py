"""copy_schema copies a database's tables with pg_dump, completely or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from colours import Colour, inner
from databases import Pair, both

import pgreplkit
from pgreplkit import AsyncPrimary
from pgreplkit.rows import SchemaSection

pytestmark = [pytest.mark.pg(">=15"), pytest.mark.one_colour]
"""The packages of older majors have no pg_dump."""


async def copied(
    publisher: AsyncPrimary,
    subscriber: AsyncPrimary,
    *sections: SchemaSection,
    bindir: Path,
    tables: list[str] | None = None,
) -> None:
    here, there = inner(publisher), inner(subscriber)
    if isinstance(here, pgreplkit.Server) and isinstance(there, pgreplkit.Server):
        pgreplkit.copy_schema(here, there, sections, tables=tables, bindir=bindir)
    else:
        await pgreplkit.acopy_schema(publisher, subscriber, sections, tables=tables, bindir=bindir)


async def test_a_schema_is_copied_section_by_section(pair: Pair, colour: Colour) -> None:
    bindir = Path(pair.publisher.node.installation.bindir)
    pair.publisher.run(
        'CREATE TABLE "Odd ""one" (id serial PRIMARY KEY, other int REFERENCES one)',
        'CREATE INDEX by_other ON "Odd ""one" (other)',
        "CREATE TABLE left_out (a int)",
    )
    pair.subscriber.run("DROP TABLE one, two")
    names = ["one", '"Odd ""one"']
    async with both(pair, colour) as (publisher, subscriber):
        await copied(publisher, subscriber, SchemaSection.PRE_DATA, bindir=bindir, tables=names)
        keys = "SELECT count(*) FROM pg_index JOIN pg_class ON pg_class.oid = indrelid"
        in_public = "WHERE relnamespace = 'public'::regnamespace"
        assert pair.subscriber.one(f"{keys} {in_public}") == 0
        await copied(publisher, subscriber, SchemaSection.POST_DATA, bindir=bindir, tables=names)
        here, there = inner(publisher), inner(subscriber)
        if isinstance(here, pgreplkit.Server) and isinstance(there, pgreplkit.Server):
            drift = pgreplkit.schema_drift(here, there, names)
        else:
            drift = await pgreplkit.aschema_drift(publisher, subscriber, names)
        assert drift.drifts == ()
        assert pair.subscriber.one("SELECT to_regclass('left_out') IS NULL") is True
        assert pair.subscriber.one("SELECT count(*) FROM one") == 0
        # If a table exists already, it stays unchanged and nothing else is created.
        pair.subscriber.run("DROP TABLE one CASCADE")
        with pytest.raises(pgreplkit.errors.ControlFailed, match="already exists"):
            await copied(publisher, subscriber, SchemaSection.PRE_DATA, bindir=bindir, tables=names)
        assert pair.subscriber.one("SELECT to_regclass('one') IS NULL") is True


@pytest.mark.pg(">=18")
async def test_keys_are_copied_before_the_rows_and_other_indexes_after(
    pair: Pair, colour: Colour
) -> None:
    pair.publisher.run(
        "CREATE TABLE parent (id int PRIMARY KEY, v int, UNIQUE (v))",
        "CREATE TABLE child (parent int NOT NULL REFERENCES parent, n int)",
        "CREATE UNIQUE INDEX own ON child (parent)",
        "CREATE INDEX other ON child (n)",
        "ALTER TABLE child REPLICA IDENTITY USING INDEX own",
    )
    indexes = """SELECT relname::text FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
        WHERE indrelid IN ('parent'::regclass, 'child'::regclass) ORDER BY 1"""
    identity = "SELECT indisreplident FROM pg_index WHERE indexrelid = 'own'::regclass"
    foreign = "SELECT count(*) FROM pg_constraint WHERE contype = 'f'"
    bindir, names = Path(pair.publisher.node.installation.bindir), ["parent", "child"]
    async with both(pair, colour) as sides:
        first = SchemaSection.PRE_DATA, SchemaSection.KEYS
        await copied(*sides, *first, bindir=bindir, tables=names)
        assert pair.subscriber.all(indexes) == [("own",), ("parent_pkey",), ("parent_v_key",)]
        assert (pair.subscriber.one(identity), pair.subscriber.one(foreign)) == (True, 0)
        await copied(*sides, SchemaSection.REST, bindir=bindir, tables=names)
        assert pair.subscriber.all(indexes) == pair.publisher.all(indexes)
        assert pair.subscriber.one(foreign) == 1


async def test_a_missing_program_raises(pair: Pair, colour: Colour, tmp_path: Path) -> None:
    async with both(pair, colour) as (publisher, subscriber):
        with pytest.raises(pgreplkit.errors.ControlFailed, match="pg_dump"):
            await copied(publisher, subscriber, SchemaSection.PRE_DATA, bindir=tmp_path)
