"""Schema drift: every kind of difference is reported, and fixed by the reported DDL."""

from __future__ import annotations

import pytest
from colours import Colour, inner
from databases import Pair, both, subscribed

import pgreplkit
from pgreplkit import AsyncPrimary, PublishedTable
from pgreplkit.rows import DriftKind, SchemaDrift, Severity

pytestmark = pytest.mark.one_colour


PUBLISHER = (
    "CREATE TABLE parent (id int PRIMARY KEY)",
    """CREATE TABLE wide (id int PRIMARY KEY, a text, b int NOT NULL, c varchar(5),
        d text COLLATE "C", parent int REFERENCES parent, CONSTRAINT positive CHECK (b > 0),
        CONSTRAINT one_a UNIQUE (a))""",
    "CREATE INDEX by_b ON wide (b) WHERE b > 5",
    "CREATE INDEX by_c ON wide (lower(c))",
    "CREATE TABLE lost (id int PRIMARY KEY)",
)
SUBSCRIBER = (
    "CREATE UNLOGGED TABLE parent (id int PRIMARY KEY)",
    """CREATE TABLE wide (id int PRIMARY KEY, a text NOT NULL, b bigint, d text, extra int,
        needed int NOT NULL, CONSTRAINT small CHECK (b < 100))""",
    "CREATE INDEX other_name ON wide (b) WHERE b > 5",
    "CREATE UNIQUE INDEX refuses ON wide (lower(a))",
    "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "CREATE TRIGGER fires BEFORE INSERT ON wide FOR EACH ROW EXECUTE PROCEDURE nothing()",
    "CREATE TRIGGER rests BEFORE INSERT ON wide FOR EACH ROW EXECUTE PROCEDURE nothing()",
    "ALTER TABLE wide ENABLE ALWAYS TRIGGER fires",
    "CREATE VIEW lost AS SELECT 1 AS id",
)


async def drift_of(
    publisher: AsyncPrimary, subscriber: AsyncPrimary, *tables: str | PublishedTable
) -> SchemaDrift:
    here, there = inner(publisher), inner(subscriber)
    if isinstance(here, pgreplkit.Server) and isinstance(there, pgreplkit.Server):
        return pgreplkit.schema_drift(here, there, tables or None)
    return await pgreplkit.aschema_drift(publisher, subscriber, tables or None)


async def test_every_difference_is_reported_with_ddl_that_fixes_it(
    pair: Pair, colour: Colour
) -> None:
    pair.publisher.run(*PUBLISHER)
    pair.subscriber.run(*SUBSCRIBER)
    async with both(pair, colour) as (publisher, subscriber):
        drift = await drift_of(publisher, subscriber, "parent", "wide", "lost")
        reported = {
            (d.kind, d.name): d.severity for d in drift.drifts if d.name != "wide_b_not_null"
        }
        assert reported == {
            (DriftKind.TABLE_MISSING, "public.lost"): Severity.CRITICAL,
            (DriftKind.TABLE_DIFFERS, "public.parent"): Severity.WARNING,
            (DriftKind.COLUMN_MISSING, "c"): Severity.CRITICAL,
            (DriftKind.COLUMN_MISSING, "parent"): Severity.CRITICAL,
            (DriftKind.COLUMN_DIFFERS, "a"): Severity.CRITICAL,
            (DriftKind.COLUMN_DIFFERS, "b"): Severity.WARNING,
            (DriftKind.COLUMN_DIFFERS, "d"): Severity.WARNING,
            (DriftKind.COLUMN_EXTRA, "extra"): Severity.INFO,
            (DriftKind.COLUMN_EXTRA, "needed"): Severity.CRITICAL,
            (DriftKind.INDEX_MISSING, "by_c"): Severity.WARNING,
            (DriftKind.CONSTRAINT_MISSING, "positive"): Severity.WARNING,
            (DriftKind.CONSTRAINT_MISSING, "one_a"): Severity.WARNING,
            (DriftKind.CONSTRAINT_MISSING, "wide_parent_fkey"): Severity.WARNING,
            (DriftKind.CONSTRAINT_EXTRA, "small"): Severity.WARNING,
            (DriftKind.CONSTRAINT_EXTRA, "refuses"): Severity.WARNING,
            (DriftKind.TRIGGER_FIRES, "fires"): Severity.WARNING,
        }
        assert drift.severity is Severity.CRITICAL
        assert drift.to_dict()["severity"] == "critical"
        [differs] = [d for d in drift[DriftKind.COLUMN_DIFFERS] if d.name == "b"]
        assert "type bigint, the publisher has integer" in differs.found
        [lost] = drift[DriftKind.TABLE_MISSING]
        assert lost.found.startswith("the subscriber has a view of that name")
        # The reported DDL can be run, and removes the differences.
        pair.subscriber.run(*drift.ddl)
        again = await drift_of(publisher, subscriber, "parent", "wide")
        mended = {
            *(DriftKind.COLUMN_MISSING, DriftKind.INDEX_MISSING, DriftKind.CONSTRAINT_MISSING),
            DriftKind.TABLE_DIFFERS,
        }
        assert [d for d in again.drifts if d.kind in mended] == []
        assert again.ddl == ()
        with pytest.raises(pgreplkit.errors.TableNotFound, match=r"has no table public\.nope"):
            await drift_of(publisher, subscriber, "nope")


async def test_equal_tables_have_no_drift(pair: Pair, colour: Colour) -> None:
    async with both(pair, colour) as (publisher, subscriber):
        await subscribed(pair, subscriber)
        drift = await drift_of(publisher, subscriber)
        assert drift == SchemaDrift(drifts=())
        assert drift.severity is Severity.OK


@pytest.mark.pg(">=15")
async def test_unpublished_tables_and_columns_may_be_missing(pair: Pair, colour: Colour) -> None:
    pair.subscriber.run("ALTER TABLE one DROP COLUMN name")
    async with both(pair, colour) as (publisher, subscriber):
        assert (await drift_of(publisher, subscriber, "one")).severity is Severity.CRITICAL
        some = PublishedTable("one", columns=["id"])
        assert (await drift_of(publisher, subscriber, some)).drifts == ()


async def test_a_column_missing_on_the_publisher_is_reported(pair: Pair, colour: Colour) -> None:
    async with both(pair, colour) as (publisher, subscriber):
        with pytest.raises(pgreplkit.errors.TableNotFound, match=r"no column nope in public\.one"):
            await drift_of(publisher, subscriber, PublishedTable("one", columns=["id", "nope"]))


@pytest.mark.pg(">=12")
async def test_drift_of_partitions_and_generated_columns(pair: Pair, colour: Colour) -> None:
    root = "CREATE TABLE root (a int, b int, PRIMARY KEY (a)) PARTITION BY RANGE (a)"
    first = "CREATE TABLE first PARTITION OF root FOR VALUES FROM (0) TO (10)"
    second = "CREATE TABLE second PARTITION OF root FOR VALUES FROM (10) TO (20)"
    smaller = "CREATE TABLE second PARTITION OF root FOR VALUES FROM (10) TO (15)"
    hashed = "CREATE TABLE hashed (a int) PARTITION BY HASH (a)"
    part = "CREATE TABLE part PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0)"
    generated = "CREATE TABLE made (a int PRIMARY KEY, b int GENERATED ALWAYS AS (a + 1) STORED)"
    pair.publisher.run(hashed, part)
    pair.subscriber.run("CREATE TABLE made (a int PRIMARY KEY)", hashed, part)
    pair.publisher.run(root, first, second, "CREATE INDEX by_root ON root (b)", generated)
    pair.publisher.run("CREATE TABLE plain (a int PRIMARY KEY, b int)")
    pair.subscriber.run(root, first, smaller)
    pair.subscriber.run(generated.replace("made", "plain"))
    pair.publisher.run(generated.replace("made", "other"))
    pair.subscriber.run(generated.replace("made", "other").replace("a + 1", "a + 2"))
    async with both(pair, colour) as (publisher, subscriber):
        drift = await drift_of(publisher, subscriber, "root", "made", "plain", "other")
        reported = {(d.kind, d.table.name, d.name) for d in drift.drifts}
        assert reported == {
            (DriftKind.PARTITION_MISSING, "root", "public.second"),
            (DriftKind.INDEX_MISSING, "root", "by_root"),
            (DriftKind.COLUMN_DIFFERS, "plain", "b"),
            (DriftKind.COLUMN_DIFFERS, "other", "b"),
        }
        narrow = (await drift_of(publisher, subscriber, "second", "part"))[
            DriftKind.CONSTRAINT_EXTRA
        ]
        assert [d.name for d in narrow] == ["public.second"]
        pair.subscriber.run(*drift.ddl)
        again = await drift_of(publisher, subscriber, "root")
        assert [d.kind for d in again.drifts] == [DriftKind.PARTITION_MISSING]


async def test_an_invalid_index_is_reported(pair: Pair, colour: Colour) -> None:
    pair.subscriber.run("INSERT INTO one VALUES (1, 'same'), (2, 'same')")
    with pytest.raises(Exception, match="could not create unique index"):
        pair.subscriber.run("CREATE UNIQUE INDEX CONCURRENTLY broken ON one (name)")
    async with both(pair, colour) as (publisher, subscriber):
        [drift] = (await drift_of(publisher, subscriber, "one")).drifts
        assert (drift.kind, drift.name) == (DriftKind.INDEX_INVALID, "broken")


TYPES = (
    "CREATE TYPE state AS ENUM ('new', 'paid')",
    "CREATE DOMAIN qty AS int",
    "CREATE TYPE addr AS (street text, zip text)",
    "CREATE TYPE item AS (qty qty, states state[])",
    "CREATE TABLE orders (id int PRIMARY KEY, s state, all_s state[])",
    "CREATE TABLE lines (id int PRIMARY KEY, q qty, l item)",
    "CREATE TABLE homes (id int PRIMARY KEY, a addr)",
)


async def test_different_types_are_found_wherever_they_are_used(pair: Pair, colour: Colour) -> None:
    pair.publisher.run(*TYPES)
    # A domain within a composite type in use cannot be altered.
    small = "AS int CONSTRAINT small CHECK (VALUE < 100)"
    pair.subscriber.run(*(ddl.replace("qty AS int", f"qty {small}") for ddl in TYPES))
    pair.publisher.run("ALTER TYPE state ADD VALUE 'it''s sent' BEFORE 'paid'")
    pair.publisher.run('ALTER TYPE addr ADD ATTRIBUTE "Country" text')
    async with both(pair, colour) as (publisher, subscriber):
        drift = await drift_of(publisher, subscriber, "orders", "lines", "homes")
        critical, warning = Severity.CRITICAL, Severity.WARNING
        assert {(d.table.name, d.name, d.severity, d.kind) for d in drift.drifts} == {
            ("orders", "s", critical, DriftKind.TYPE_DIFFERS),
            ("orders", "all_s", critical, DriftKind.TYPE_DIFFERS),
            ("lines", "q", warning, DriftKind.TYPE_DIFFERS),
            ("lines", "l", warning, DriftKind.TYPE_DIFFERS),
            ("lines", "l", critical, DriftKind.TYPE_DIFFERS),
            ("homes", "a", critical, DriftKind.TYPE_DIFFERS),
        }
        assert drift.ddl == (
            "ALTER TYPE public.state ADD VALUE IF NOT EXISTS 'it''s sent' AFTER 'new'",
            'ALTER TYPE public.addr ADD ATTRIBUTE "Country" text',
        )
        pair.subscriber.run(*drift.ddl, "ALTER DOMAIN qty DROP CONSTRAINT small")
        assert (await drift_of(publisher, subscriber, "orders", "lines", "homes")).drifts == ()


async def test_types_of_one_name_that_are_built_on_others_differ(
    pair: Pair, colour: Colour
) -> None:
    tables = "CREATE TABLE built (id int PRIMARY KEY, c code, s span, k kind)"
    pair.publisher.run(
        "CREATE DOMAIN code AS varchar(5)",
        "CREATE TYPE span AS RANGE (subtype = float8)",
        "CREATE TYPE kind AS ENUM ('a')",
        tables,
    )
    pair.subscriber.run(
        "CREATE DOMAIN code AS varchar(3)",
        "CREATE TYPE span AS RANGE (subtype = int8)",
        "CREATE DOMAIN kind AS text",
        tables,
    )
    async with both(pair, colour) as (publisher, subscriber):
        drift = await drift_of(publisher, subscriber, "built")
        assert [(d.name, d.found) for d in drift[DriftKind.TYPE_DIFFERS]] == [
            (
                "c",
                "domain public.code is over character varying(3), on the publisher over"
                " character varying(5)",
            ),
            ("s", "range public.span is over bigint, on the publisher over double precision"),
            ("k", "type public.kind is a domain, on the publisher an enum"),
        ]


@pytest.mark.pg(">=12")
async def test_a_generated_column_that_is_not_sent_is_no_drift(pair: Pair, colour: Colour) -> None:
    generated = "twice int GENERATED ALWAYS AS (a * 2) STORED"
    pair.publisher.run(
        *(f"CREATE TABLE g{n} (id int PRIMARY KEY, a int, {generated})" for n in range(4)),
        "ALTER PUBLICATION p SET TABLE g0, g1, g2, g3",
    )
    pair.subscriber.run(
        "CREATE TABLE g0 (id int PRIMARY KEY, a int)",
        f"CREATE TABLE g1 (id int PRIMARY KEY, a int, {generated})",
        "CREATE TABLE g2 (id int PRIMARY KEY, a int, twice int DEFAULT 0)",
        "CREATE TABLE g3 (id int PRIMARY KEY, a int, twice int NOT NULL)",
    )
    async with both(pair, colour) as (publisher, subscriber):
        for tables in ((), ("g0", "g1", "g2", "g3")):
            drift = await drift_of(publisher, subscriber, *tables)
            needed = [d for d in drift.drifts if d.name != "g3_twice_not_null"]
            assert [(d.table.name, d.kind, d.severity) for d in needed] == [
                ("g3", DriftKind.COLUMN_EXTRA, Severity.CRITICAL)
            ]
            assert needed[0].found.startswith("the publisher does not send it")
