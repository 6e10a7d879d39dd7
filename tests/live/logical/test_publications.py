"""Publications: contents, limits of each major version, and unsafe definitions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import attrs
import psycopg
import pytest
from clusters import Cluster
from colours import Colour, close, execute, inner
from databases import Database
from psycopg.rows import dict_row

import pgreplkit
from pgreplkit import AsyncPrimary, PublishedTable, TableName
from pgreplkit.catalog.logical.publication import ONE_PUBLICATION
from pgreplkit.driver.statements import whole_database
from pgreplkit.rows import GeneratedColumns, IdentityKind, Operation

pytestmark = pytest.mark.one_colour

EXCEPT: dict[str, Any] = {"except_tables": ["keyed"]}
TABLES = (
    "CREATE TABLE keyed (id int PRIMARY KEY, name text, note text)",
    "CREATE TABLE keyless (a int, b text)",
    "CREATE TABLE unique_only (a int NOT NULL, b text, CONSTRAINT unique_a UNIQUE (a))",
    "CREATE TABLE nullable_unique (a int UNIQUE)",
    "CREATE TABLE late_key (a int PRIMARY KEY DEFERRABLE)",
    "CREATE TABLE full_row (a int)",
    "ALTER TABLE full_row REPLICA IDENTITY FULL",
    "CREATE TABLE by_index (a int NOT NULL, b int NOT NULL, UNIQUE (a, b))",
    "ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_a_b_key",
    "CREATE TABLE silenced (a int PRIMARY KEY)",
    "ALTER TABLE silenced REPLICA IDENTITY NOTHING",
    'CREATE SCHEMA "Odd"',
    'CREATE TABLE "Odd"."Big ""Table" (a int PRIMARY KEY)',
)


@pytest.fixture
def tables(database: Database) -> Database:
    database.run(*TABLES)
    return database


def published(database: Database, name: str) -> set[object]:
    sql = (
        f"SELECT schemaname || '.' || tablename FROM pg_publication_tables WHERE pubname = '{name}'"
    )
    return {table for (table,) in database.all(sql)}


async def test_a_publication_is_created_read_and_dropped(tables: Database, colour: Colour) -> None:
    async with await colour.primary(tables.conninfo) as primary:
        made = await primary.create_publication(
            "p", tables=["keyed", TableName("Odd", 'Big "Table')], publish=["insert", "update"]
        )
        assert made.name == "p"
        assert made.state.publish == (Operation.INSERT, Operation.UPDATE)
        assert made.state.pubowner == "postgres"
        assert not made.state.puballtables
        named = [str(table.table) for table in await made.tables()]
        assert named == ['"Odd"."Big ""Table"', "public.keyed"]
        assert [p.state for p in await primary.publications()] == [made.state]
        assert (await primary.publication("p")).state == made.state
        assert "'p', insert, update of some tables" in repr(made)
        await made.drop()
        for gone in (made.refresh, made.drop, lambda: primary.publication("p")):
            with pytest.raises(
                pgreplkit.errors.PublicationNotFound, match="no publication of that name"
            ):
                await gone()


async def test_a_publication_of_a_schema_that_the_role_may_not_use_is_read(
    tables: Database, colour: Colour
) -> None:
    tables.run(
        "REVOKE USAGE ON SCHEMA public FROM PUBLIC",
        "CREATE SCHEMA hidden",
        "CREATE TABLE hidden.t (id int PRIMARY KEY)",
        "CREATE PUBLICATION p FOR TABLE hidden.t",
        "CREATE ROLE outsider LOGIN PASSWORD 'outside'",
    )
    try:
        conninfo = psycopg.conninfo.make_conninfo(
            tables.conninfo, user="outsider", password="outside"
        )
        async with await colour.primary(conninfo) as primary:
            publication = await primary.publication("p")
            assert [str(table.table) for table in await publication.tables()] == ["hidden.t"]
    finally:
        tables.run("DROP ROLE outsider")


async def test_tables_can_be_added_set_and_dropped(tables: Database, colour: Colour) -> None:
    async with await colour.primary(tables.conninfo) as primary:
        nothings: list[dict[str, object]] = [{}, {"tables": []}]
        for nothing in nothings:
            with pytest.raises(ValueError, match="it would publish nothing; choose tables"):
                await create(primary, nothing)
        with pytest.raises(TypeError, match="empty=True cannot be combined"):
            await create(primary, {"empty": True, "all_tables": True})
        publication = await primary.create_publication("p", empty=True)
        assert await publication.tables() == []
        await publication.add_tables("keyed", "full_row")
        await publication.add_tables("by_index")
        assert published(tables, "p") == {"public.keyed", "public.full_row", "public.by_index"}
        await publication.drop_tables("full_row")
        await publication.set_tables("by_index", "full_row")
        assert published(tables, "p") == {"public.full_row", "public.by_index"}
        with pytest.raises(pgreplkit.errors.AlreadyExists):
            await publication.add_tables("keyed", "full_row")
        with pytest.raises(pgreplkit.errors.TableNotFound):
            await publication.add_tables("keyed", "no_such_table")
        assert published(tables, "p") == {"public.full_row", "public.by_index"}
        with pytest.raises(ValueError, match="at least one table is needed"):
            await publication.add_tables()


async def test_name_owner_and_options_can_be_changed(tables: Database, colour: Colour) -> None:
    async with await colour.primary(tables.conninfo) as primary:
        publication = await primary.create_publication("p", tables=["keyed"])
        await publication.rename("Other p")
        assert publication.name == "Other p"
        with pytest.raises(pgreplkit.errors.PublicationNotFound):
            await primary.publication("p")
        await publication.set_owner("observer")
        assert publication.state.pubowner == "observer"
        await publication.set_options(publish=[Operation.INSERT])
        assert publication.state.publish == (Operation.INSERT,)
        with pytest.raises(ValueError, match="no option"):
            await publication.set_options()
        with pytest.raises(ValueError, match="unknown operation 'upsert'"):
            await publication.set_options(publish=["upsert"])
        with pytest.raises(TypeError):
            await publication.set_options(publish="insert")


async def test_a_publication_of_all_tables(tables: Database, colour: Colour) -> None:
    async with await colour.primary(tables.conninfo) as primary:
        with pytest.raises(TypeError, match="cannot be combined"):
            await primary.create_publication("p", tables=["keyed"], all_tables=True)
        with pytest.raises(pgreplkit.errors.ReplicaIdentityMissing) as caught:
            await primary.create_publication("p", all_tables=True)
        assert {*caught.value.remedies} == {
            f"public.{name}"
            for name in ("keyless", "unique_only", "nullable_unique", "late_key", "silenced")
        }
        made = await primary.create_publication("p", all_tables=True, publish=["insert"])
        assert made.state.puballtables
        with pytest.raises(pgreplkit.errors.ReplicaIdentityMissing):
            await made.set_options(publish=["insert", "delete"])
        assert (await made.refresh()).state.publish == (Operation.INSERT,)
        await made.set_options(publish=["insert", "delete"], force=True)


async def test_features_of_19_are_refused_by_earlier_versions(
    tables: Database, colour: Colour
) -> None:
    async with await colour.primary(tables.conninfo) as primary:
        made = await primary.create_publication("p", all_tables=True, publish=["insert"])
        assert (made.state.puballsequences, made.state.except_tables) == (None, None)
        refused: list[tuple[str, Callable[[], Awaitable[object]]]] = [
            ("EXCEPT", partial(primary.create_publication, "q", all_tables=True, **EXCEPT)),
            ("SequencePlan", partial(primary.create_publication, "q", all_sequences=True)),
            ("SET ALL TABLES", partial(made.set_all, all_tables=True)),
            ("SequencePlan", made.sequences),
        ]
        for match, call in refused:
            with pytest.raises(pgreplkit.errors.UnsupportedByServer, match=match):
                await call()
        with pytest.raises(TypeError, match="needs all_tables=True"):
            await primary.create_publication("q", except_tables=["keyed"])
        with pytest.raises(TypeError, match="not one str"):
            await primary.create_publication("q", all_tables=True, except_tables="keyed")
        assert [p.name for p in await primary.publications()] == ["p"]


def test_all_tables_except_some_has_the_syntax_of_19() -> None:
    scope = whole_database(
        lambda feature: None,
        all_tables=True,
        except_tables=["keyed", TableName("Odd", 'Big "Table')],
        all_sequences=True,
    )
    assert [part.as_string() for part in scope] == [
        'ALL TABLES EXCEPT (TABLE ONLY "public"."keyed", TABLE ONLY "Odd"."Big ""Table")',
        "ALL SEQUENCES",
    ]


async def test_the_repr_has_the_publications_contents(tables: Database, colour: Colour) -> None:
    everything: dict[str, dict[str, Any]] = {
        "some tables": {},
        "all tables but 1": {"puballtables": True, "except_tables": [("public", "keyed")]},
        "all tables, all sequences": {"puballtables": True, "puballsequences": True},
        "all sequences": {"puballsequences": True},
    }
    async with await colour.primary(tables.conninfo) as primary:
        publication = await primary.create_publication("p", empty=True, publish=["update"])
        state = publication.state
        for contents, columns in everything.items():
            inner(publication).state = attrs.evolve(state, **columns)  # type: ignore[attr-defined]
            assert repr(publication).endswith(f" 'p', update of {contents}>")


@pytest.mark.pg(">=18")
async def test_excluded_tables_of_19_are_read_by_name(tables: Database) -> None:
    # No server of 19 exists yet: the SQL is edited to read the published tables where 19
    # would have the excluded ones.
    tables.run('CREATE PUBLICATION p FOR TABLE keyed, "Odd"."Big ""Table"')
    asked = ONE_PUBLICATION.sql(19)
    for name, instead in (("AND prexcept", ""), ("puballsequences", "true AS puballsequences")):
        assert name in asked
        asked = asked.replace(name, instead)
    with psycopg.connect(tables.conninfo, row_factory=dict_row) as connection:
        [record] = connection.execute(asked, ["p"])
    state = ONE_PUBLICATION.read(record)
    assert state.except_tables == (TableName("Odd", 'Big "Table'), TableName("public", "keyed"))


async def test_publications_that_would_break_the_publisher_are_refused(
    tables: Database, colour: Colour
) -> None:
    async with await colour.primary(tables.conninfo) as primary:
        with pytest.raises(pgreplkit.errors.ReplicaIdentityMissing) as caught:
            await primary.create_publication("p", tables=["keyed", "keyless", "unique_only"])
        assert caught.value.remedies == {
            "public.keyless": "ALTER TABLE public.keyless REPLICA IDENTITY FULL",
            "public.unique_only": (
                "ALTER TABLE public.unique_only REPLICA IDENTITY USING INDEX unique_a"
            ),
        }
        assert "REPLICA IDENTITY FULL" in str(caught.value)
        assert await primary.publications() == []
        tables.run("DELETE FROM keyless", *caught.value.remedies.values())
        made = await primary.create_publication("p", tables=["keyed", "keyless", "unique_only"])
        with pytest.raises(pgreplkit.errors.ReplicaIdentityMissing):
            await made.add_tables("silenced")
        await made.add_tables("silenced", force=True)
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
            tables.run("DELETE FROM silenced")


async def test_replica_identities_equal_the_servers(tables: Database, colour: Colour) -> None:
    async with await colour.primary(tables.conninfo) as primary:
        verdicts = {v.table.name: v for v in await primary.replica_identity()}
        chosen = await primary.replica_identity(["keyless", 'public."keyed"'])
        with pytest.raises(pgreplkit.errors.TableNotFound, match=r"no table public\.missing"):
            await primary.replica_identity(["keyed", "missing"])
        with pytest.raises(ValueError, match="tables is empty"):
            await primary.replica_identity([])
    assert chosen == [verdicts["keyed"], verdicts["keyless"]]
    assert verdicts["keyed"].columns == ("id",)
    assert verdicts["by_index"].kind is IdentityKind.INDEX
    assert verdicts["by_index"].columns == ("a", "b")
    assert verdicts["silenced"].remedy == "ALTER TABLE public.silenced REPLICA IDENTITY DEFAULT"
    tables.run("CREATE PUBLICATION p FOR ALL TABLES")
    for verdict in verdicts.values():
        # No row matches; the server refuses the statement all the same.
        statement = f"DELETE FROM {verdict.table}"
        if verdict.is_usable:
            assert verdict.remedy == ""
            tables.run(statement)
        else:
            with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
                tables.run(statement)
            tables.run(verdict.remedy, statement)


@pytest.mark.pg(">=15")
async def test_column_lists_and_row_filters(tables: Database, colour: Colour) -> None:
    some = PublishedTable("keyed", columns=["id", "name"], where="id > 5 AND id % 2 = 0")
    async with await colour.primary(tables.conninfo) as primary:
        publication = await primary.create_publication("p", tables=[some])
        [back] = await publication.tables()
        assert back.columns == ("id", "name")
        assert back.where == "((id > 5) AND ((id % 2) = 0))"
        await publication.set_tables(back)
        assert await publication.tables() == [back]
        for broken in (
            PublishedTable("keyed", columns=["name"]),
            PublishedTable("keyed", where="note IS NULL"),
        ):
            with pytest.raises(pgreplkit.errors.ReplicaIdentityMissing, match="replica identity"):
                await publication.set_tables(broken)
            assert await publication.tables() == [back]
            await publication.set_tables(broken, force=True)
            with pytest.raises(psycopg.errors.InvalidColumnReference):
                tables.run("UPDATE keyed SET name = name")
            await publication.set_options(publish=["insert"])
            with pytest.raises(pgreplkit.errors.ReplicaIdentityMissing):
                await publication.set_options(publish=["insert", "update"])
            await publication.set_tables(back)
            await publication.set_options(publish=[*Operation])


@pytest.mark.pg(">=15")
async def test_a_publication_of_schemas(tables: Database, colour: Colour) -> None:
    async with await colour.primary(tables.conninfo) as primary:
        publication = await primary.create_publication("p", schemas=["Odd"])
        assert publication.state.schemas == ("Odd",)
        with pytest.raises(pgreplkit.errors.ReplicaIdentityMissing):
            await publication.add_schemas("public")
        await publication.add_schemas("public", force=True)
        assert len(await publication.tables()) == 9
        await publication.drop_schemas("public")
        assert (await publication.refresh()).state.schemas == ("Odd",)
        with pytest.raises(pgreplkit.errors.ReplicaIdentityMissing):
            await publication.set_schemas("public")
        await publication.set_schemas("public", force=True)
        assert publication.state.schemas == ("public",)
        await publication.set_tables("keyed")
        assert not publication.state.schemas


@pytest.mark.pg(">=13")
async def test_partitions_are_published_under_their_root(
    database: Database, colour: Colour
) -> None:
    database.run(
        "CREATE TABLE root (a int, b text) PARTITION BY LIST (a)",
        "CREATE TABLE one PARTITION OF root (PRIMARY KEY (a)) FOR VALUES IN (1)",
        "CREATE TABLE two PARTITION OF root FOR VALUES IN (2)",
    )
    async with await colour.primary(database.conninfo) as primary:
        for via_root in (False, True):
            with pytest.raises(pgreplkit.errors.ReplicaIdentityMissing) as caught:
                await primary.create_publication("p", tables=["root"], via_partition_root=via_root)
            assert [*caught.value.remedies] == ["public.two"]
        database.run("ALTER TABLE two ADD PRIMARY KEY (a)")
        publication = await primary.create_publication("p", tables=["root"])
        assert [str(t.table) for t in await publication.tables()] == ["public.one", "public.two"]
        await publication.set_options(via_partition_root=True)
        assert [str(t.table) for t in await publication.tables()] == ["public.root"]
        assert publication.state.pubviaroot


@pytest.mark.pg(">=18")
async def test_generated_columns_are_published_on_request(
    database: Database, colour: Colour
) -> None:
    database.run("CREATE TABLE t (a int PRIMARY KEY, b int GENERATED ALWAYS AS (a + 1) STORED)")
    async with await colour.primary(database.conninfo) as primary:
        publication = await primary.create_publication(
            "p", tables=["t"], publish_generated_columns=GeneratedColumns.STORED
        )
        assert publication.state.pubgencols is GeneratedColumns.STORED
        assert [t.columns for t in await publication.tables()] == [("a", "b")]
        await publication.set_options(publish_generated_columns=GeneratedColumns.NONE)
        assert [t.columns for t in await publication.tables()] == [("a",)]


NEEDS: Mapping[int, tuple[dict[str, object], ...]] = {
    11: ({"publish": ["truncate"]},),
    13: ({"via_partition_root": True},),
    15: (
        {"schemas": ["public"]},
        {"tables": [PublishedTable("keyed", columns=["id"])]},
        {"tables": [PublishedTable("keyed", where="true")]},
    ),
    18: ({"publish_generated_columns": "s"},),
}


async def test_unsupported_options_are_refused_before_anything_is_sent(
    cluster: Cluster, tables: Database, colour: Colour
) -> None:
    async with await colour.primary(tables.conninfo) as primary:
        for since, calls in NEEDS.items():
            for options in calls if cluster.major < since else ():
                with pytest.raises(pgreplkit.errors.UnsupportedByServer) as caught:
                    await create(primary, options)
                assert caught.value.since == since
        await create(primary, {"empty": True})


async def create(primary: AsyncPrimary, options: Mapping[str, object]) -> None:
    await primary.create_publication("p", **options)  # type: ignore[arg-type]


async def test_waiting_for_a_lock_times_out(tables: Database, colour: Colour) -> None:
    async with await colour.primary(tables.conninfo) as primary:
        publication = await primary.create_publication("p", empty=True)
        with psycopg.connect(tables.conninfo) as holder:
            holder.execute("LOCK TABLE keyed")
            with pytest.raises(pgreplkit.errors.StatementTimeout):
                await publication.add_tables("keyed", timeout=0.1)
        await publication.add_tables("keyed", timeout=5)


async def test_changes_belong_to_the_callers_transaction(tables: Database, colour: Colour) -> None:
    primary = await colour.primary_on(tables.conninfo, autocommit=False)
    await execute(primary.connection, "SELECT 1")
    publication = await primary.create_publication("p", tables=["keyed"])
    with pytest.raises(pgreplkit.errors.ReplicaIdentityMissing):
        await publication.add_tables("keyless")
    assert len(await publication.tables()) == 1
    [(shown,)] = await execute(primary.connection, "SHOW statement_timeout")
    assert shown == "0"
    await close(primary.connection)
    assert published(tables, "p") == set()


@pytest.mark.pg(">=15")
async def test_only_superusers_may_publish_schemas(tables: Database, colour: Colour) -> None:
    tables.run("CREATE PUBLICATION p", "ALTER PUBLICATION p OWNER TO stranger")
    async with await colour.primary(tables.as_role("stranger")) as primary:
        publication = await primary.publication("p")
        with pytest.raises(pgreplkit.errors.InsufficientPrivilege, match="SUPERUSER"):
            await publication.add_schemas("public")
        tables.run("ALTER PUBLICATION p ADD TABLES IN SCHEMA public")
        await publication.drop_schemas("public")
        assert (await publication.refresh()).state.schemas == ()


async def test_an_unprivileged_role_gets_an_error_with_the_missing_privilege(
    tables: Database, colour: Colour
) -> None:
    tables.run("CREATE PUBLICATION p")
    async with await colour.primary(tables.as_role("stranger")) as primary:
        with pytest.raises(
            pgreplkit.errors.InsufficientPrivilege, match="GRANT CREATE ON DATABASE"
        ):
            await primary.create_publication("q", empty=True)
        publication = await primary.publication("p")
        with pytest.raises(pgreplkit.errors.InsufficientPrivilege, match="GRANT postgres TO"):
            await publication.drop()
