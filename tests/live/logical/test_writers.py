"""Writers of replicated tables: find them, revoke their privileges, restore them."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from colours import Colour
from databases import Pair, both, subscribed

import pgreplkit

pytestmark = pytest.mark.one_colour


ACL = """SELECT relname, relacl::text FROM pg_class
    WHERE relname IN ('one', 'two') UNION ALL
    SELECT attname, attacl::text FROM pg_attribute WHERE attacl IS NOT NULL ORDER BY 1, 2"""


@pytest.fixture
def granted(pair: Pair) -> Iterator[Pair]:
    pair.subscriber.run(
        "CREATE ROLE \"The App\" LOGIN PASSWORD 'app'",
        'GRANT SELECT, INSERT, UPDATE ON one TO "The App" WITH GRANT OPTION',
        "GRANT SELECT, DELETE ON one TO PUBLIC",
        "GRANT UPDATE (id), INSERT (id) ON two TO observer",
        "GRANT TRUNCATE ON two TO observer",
    )
    yield pair
    pair.subscriber.run('DROP OWNED BY "The App"', 'DROP ROLE "The App"')


async def test_writers_are_found_revoked_and_restored(granted: Pair, colour: Colour) -> None:
    pair = granted
    async with both(pair, colour) as (_, subscriber):
        await subscribed(pair, subscriber)
        before = pair.subscriber.all(ACL)
        writers = await subscriber.find_writers()
        reported = {(g.table.name, g.role, g.privilege, g.columns) for g in writers.grants}
        assert reported == {
            ("one", "The App", "INSERT", ()),
            ("one", "The App", "UPDATE", ()),
            ("one", None, "DELETE", ()),
            ("two", "observer", "INSERT", ("id",)),
            ("two", "observer", "UPDATE", ("id",)),
            ("two", "observer", "TRUNCATE", ()),
        }
        assert "postgres" in writers.unstoppable
        assert "observer" not in writers.unstoppable
        assert writers.sessions == ()
        await subscriber.revoke_writes(writers)
        assert (await subscriber.find_writers()).grants == ()
        with (
            psycopg.connect(pair.subscriber.as_role("observer"), autocommit=True) as app,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            app.execute("DELETE FROM one")
        await subscriber.restore_writes(writers)
        assert (await subscriber.find_writers()).grants == writers.grants
        assert {*pair.subscriber.all(ACL)} == {*before}


async def test_a_writing_session_is_reported(pair: Pair, colour: Colour) -> None:
    async with both(pair, colour) as (_, subscriber):
        subscription = await subscribed(pair, subscriber)
        await subscription.wait_for_sync(timeout=60)
        with psycopg.connect(pair.subscriber.conninfo, application_name="naughty") as app:
            app.execute("INSERT INTO two VALUES (99)")
            [session] = (await subscriber.find_writers(["two"])).sessions
            assert (session.pid, session.application_name) == (app.info.backend_pid, "naughty")
            assert (await subscriber.find_writers(["one"])).sessions == ()


async def test_all_privileges_are_revoked_or_none(granted: Pair, colour: Colour) -> None:
    async with both(granted, colour) as (_, subscriber):
        writers = await subscriber.find_writers(["one", "two"])
        granted.subscriber.run("DROP TABLE two")
        with pytest.raises(pgreplkit.errors.TableNotFound):
            await subscriber.revoke_writes(writers)
        assert len((await subscriber.find_writers(["one"])).grants) == 3
