"""Sequences, which logical replication does not copy."""

from __future__ import annotations

import pytest
from clusters import Cluster
from colours import Colour, inner, wrapped
from databases import Pair, both, granted

import pgreplkit
from pgreplkit import AsyncPrimary, AsyncSequencePlan, TableName
from pgreplkit.rows import Severity

pytestmark = pytest.mark.one_colour


SEQUENCES = (
    "CREATE TABLE with_serial (id serial PRIMARY KEY)",
    "CREATE TABLE with_identity (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY)",
    "CREATE SEQUENCE down INCREMENT -5 MINVALUE -100000",
    "CREATE SEQUENCE fresh START 7",
    "CREATE SEQUENCE short MAXVALUE 100",
    "CREATE SEQUENCE around MAXVALUE 100 CYCLE",
    'CREATE SEQUENCE "It\'s ""odd"""',
)
USED = (
    "SELECT setval('with_serial_id_seq', 500)",
    "SELECT setval('with_identity_id_seq', 9000)",
    "SELECT setval('down', -50)",
    "SELECT setval('short', 90)",
    "SELECT setval('around', 90)",
    'SELECT setval(\'"It\'\'s ""odd"""\', 3)',
)


@pytest.fixture
def sequences(pair: Pair) -> Pair:
    for each in (pair.publisher, pair.subscriber):
        each.run(*SEQUENCES)
    pair.publisher.run(*USED)
    return pair


async def plan_of(
    publisher: AsyncPrimary, subscriber: AsyncPrimary, *names: str, margin: int = 0
) -> AsyncSequencePlan:
    """Return a plan in the servers' colour."""
    here, there, chosen = inner(publisher), inner(subscriber), names or None
    if isinstance(here, pgreplkit.Server) and isinstance(there, pgreplkit.Server):
        plan = pgreplkit.SequencePlan.read(here, there, margin=margin, sequences=chosen)
        return wrapped(plan)  # type: ignore[return-value]
    return await AsyncSequencePlan.read(publisher, subscriber, margin=margin, sequences=chosen)


def values(pair: Pair, name: str) -> tuple[object, object]:
    sql = f"SELECT nextval('{name}')"
    return pair.publisher.one(sql), pair.subscriber.one(sql)


async def test_the_subscribers_sequences_continue_at_the_publishers_values(
    sequences: Pair, colour: Colour
) -> None:
    async with both(sequences, colour) as (publisher, subscriber):
        plan = await plan_of(publisher, subscriber)
        by_name = {str(change.name): change for change in plan.changes}
        assert by_name["public.with_serial_id_seq"].source.owner == "public.with_serial.id"
        assert by_name["public.with_identity_id_seq"].source.is_identity
        assert by_name["public.fresh"].sql == ""
        assert plan.problems == ()
        assert "6 of 7 sequences to set, 0 problems" in repr(plan)
        # Reading changes no sequence.
        assert sequences.subscriber.one("SELECT last_value FROM down") == -1
        done = await plan.run()
        assert len(done) == 6
        for name in ("with_serial_id_seq", "with_identity_id_seq", "down", "fresh", "short"):
            here, there = values(sequences, name)
            assert here == there, name
        again = await plan_of(publisher, subscriber)
        assert [change.sql for change in again.changes] == [""] * 7
        # A sequence that is ahead is not set back; the reverse plan uses swapped servers.
        sequences.subscriber.run("SELECT setval('fresh', 1000)")
        assert await (await plan_of(publisher, subscriber, "fresh")).run() == []
        await (await plan_of(subscriber, publisher, "fresh")).run()
        assert values(sequences, "fresh") == (1001, 1001)


async def test_a_margin_is_added_to_each_value(sequences: Pair, colour: Colour) -> None:
    async with both(sequences, colour) as (publisher, subscriber):
        plan = await plan_of(publisher, subscriber, margin=100)
        problems = {f.check: f for f in plan.problems}
        assert {*problems} == {"sequence public.short", "sequence public.around"}
        assert "nextval() fails" in problems["sequence public.short"].found
        assert "repeats values" in problems["sequence public.around"].found
        await plan.run()
        assert sequences.subscriber.one("SELECT nextval('with_serial_id_seq')") == 601
        assert sequences.subscriber.one("SELECT nextval('down')") == -555
        assert sequences.subscriber.one("SELECT nextval('fresh')") == 108


async def test_sequences_that_differ_in_definition_are_reported(
    sequences: Pair, colour: Colour
) -> None:
    sequences.subscriber.run(
        "DROP SEQUENCE fresh",
        "ALTER SEQUENCE down INCREMENT 5 MAXVALUE 100 MINVALUE -100000",
        "ALTER SEQUENCE short CYCLE",
    )
    async with both(sequences, colour) as (publisher, subscriber):
        plan = await plan_of(publisher, subscriber)
        worst: dict[str, Severity] = {}
        for finding in plan.problems:
            worst[finding.check] = max(finding.severity, worst.get(finding.check, Severity.OK))
        assert worst == {
            "sequence public.down": Severity.CRITICAL,
            "sequence public.fresh": Severity.CRITICAL,
            "sequence public.short": Severity.WARNING,
        }
        assert TableName("public", "fresh") not in {change.name for change in await plan.run()}
        with pytest.raises(pgreplkit.errors.TableNotFound, match=r"no sequence public\.nope"):
            await plan_of(publisher, subscriber, "nope")
        with pytest.raises(ValueError, match="margin"):
            await plan_of(publisher, subscriber, margin=-1)


async def test_all_sequences_are_set_or_none(sequences: Pair, colour: Colour) -> None:
    sequences.subscriber.run("GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO observer")
    sequences.subscriber.run("GRANT UPDATE ON down TO observer")
    async with (
        await colour.primary(sequences.publisher.conninfo) as publisher,
        await colour.primary(sequences.subscriber.as_role("observer")) as subscriber,
    ):
        plan = await plan_of(publisher, subscriber)
        with pytest.raises(
            pgreplkit.errors.InsufficientPrivilege, match="GRANT UPDATE ON SEQUENCE"
        ):
            await plan.run()
        assert sequences.subscriber.one("SELECT last_value FROM down") == -1


async def test_running_a_plan_on_a_standby_is_refused(
    sequences: Pair, colour: Colour, cluster: Cluster
) -> None:
    cluster.catch_up()
    conninfo = f"{cluster.standby.conninfo} dbname={sequences.subscriber.name}"
    async with (
        await colour.primary(sequences.publisher.conninfo) as publisher,
        await colour.standby(conninfo) as standby,
    ):
        plan = await plan_of(publisher, standby)  # type: ignore[arg-type]
        with pytest.raises(pgreplkit.errors.NotAPrimary):
            await plan.run()


@pytest.mark.matrix
async def test_the_named_grants_are_enough_where_the_schema_is_revoked(
    sequences: Pair, colour: Colour
) -> None:
    for database in (sequences.publisher, sequences.subscriber):
        database.run("REVOKE ALL ON SCHEMA public FROM public")
    async with (
        await colour.primary(sequences.publisher.as_role("stranger")) as publisher,
        await colour.primary(sequences.subscriber.as_role("stranger")) as subscriber,
    ):
        for database in (sequences.publisher, sequences.subscriber):
            with pytest.raises(pgreplkit.errors.InsufficientPrivilege) as refused:
                await plan_of(publisher, subscriber)
            database.run(*granted(refused.value))
        plan = await plan_of(publisher, subscriber)
        with pytest.raises(pgreplkit.errors.InsufficientPrivilege) as refused:
            await plan.run()
        sequences.subscriber.run(*granted(refused.value))
        assert len(await plan.run()) == 6
