"""Replication between major versions: each step of an upgrade, and the way back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from clusters import Cluster, Clusters
from colours import Colour, inner
from conftest import majors
from databases import Pair, both, make_pair, remove_databases, subscribed

import pgreplkit
from pgreplkit import AsyncPrimary
from pgreplkit.rows import RowDiff

pytestmark = pytest.mark.matrix
SUBSCRIBERS = {10: 18, 11: 15, 12: 16, 13: 16, 14: 10, 15: 15, 16: 13, 17: 18, 18: 17}
"""Of which major the subscriber is, by the publisher's."""


@pytest.fixture
def across(request: pytest.FixtureRequest, clusters: Clusters, cluster: Cluster) -> Iterator[Pair]:
    """A publisher of the major version under test, and a subscriber of another one."""
    other = SUBSCRIBERS[cluster.major]
    if other not in majors(request.config):
        pytest.skip(f"PostgreSQL {other} is not among the majors")
    if other == cluster.major:
        settings = {"wal_level": "logical"}
        subscriber = clusters.lab.primary(version=other, settings=settings)
    else:
        subscriber = clusters.of(other).primary
    pair = make_pair(cluster.primary, subscriber)
    yield pair
    remove_databases(pair.subscriber, pair.publisher)


async def differences(
    publisher: AsyncPrimary, subscriber: AsyncPrimary, tables: list[str] | None = None
) -> list[RowDiff]:
    here, there = inner(publisher), inner(subscriber)
    if isinstance(here, pgreplkit.Server) and isinstance(there, pgreplkit.Server):
        return [diff for step in pgreplkit.compare(here, there, tables) for diff in step.diffs]
    steps = pgreplkit.acompare(publisher, subscriber, tables)
    return [diff async for step in steps for diff in step.diffs]


async def test_a_subscriber_of_another_major_version_follows(across: Pair, colour: Colour) -> None:
    typed = """CREATE TABLE typed (id serial PRIMARY KEY, f float8, g real, t timestamptz, j jsonb,
        n numeric, a int[], e text COLLATE "C", fs float8[], p point)"""
    for each in (across.publisher, across.subscriber):
        each.run(typed)
    # Before 12 the server copies floats with 15 digits unless extra_float_digits is set.
    across.publisher.run(
        f"ALTER DATABASE {across.publisher.name} SET extra_float_digits = 3",
        """INSERT INTO typed (f, g, t, j, n, a, e, fs, p) SELECT n / 7.0, n / 3.0, now(),
            '{"a": 1}', n / 9.0, ARRAY[n], 'é' || n, ARRAY[n / 7.0], point(n / 7.0, n / 3.0)
            FROM generate_series(1, 500) AS n""",
        "ALTER PUBLICATION p ADD TABLE typed",
    )
    async with both(across, colour) as (publisher, subscriber):
        subscription = await subscribed(across, subscriber)
        await subscription.wait_for_sync(timeout=60)
        across.publisher.run(
            "UPDATE typed SET f = f / 3 WHERE id % 2 = 0", "DELETE FROM one WHERE id > 900"
        )
        await subscription.wait_for_catchup(timeout=30)
        assert across.rows("one") == (900, 900)
        assert await differences(publisher, subscriber) == []
        across.subscriber.run("UPDATE typed SET f = f + 1e-9 WHERE id = 5")
        [diff] = await differences(publisher, subscriber)
        assert (diff.key, diff.columns) == ({"id": "5"}, ("f",))
        here, there = inner(publisher), inner(subscriber)
        if isinstance(here, pgreplkit.Server) and isinstance(there, pgreplkit.Server):
            pgreplkit.SequencePlan.read(here, there).run()
            drifts = pgreplkit.schema_drift(here, there).drifts
        else:
            await (await pgreplkit.AsyncSequencePlan.read(publisher, subscriber)).run()
            drifts = (await pgreplkit.aschema_drift(publisher, subscriber)).drifts
        assert drifts == ()
        assert across.subscriber.one("SELECT nextval('typed_id_seq')") == 501
        assert (await subscription.drop()).leftovers == ()
        assert await subscriber.subscriptions() == []


FLOATS = (
    "CREATE TYPE spot AS (f float8, g real, note text)",
    "CREATE TYPE place AS (spot spot, path spot[])",
    "CREATE TYPE span AS RANGE (subtype = float8)",
    """CREATE FUNCTION spot(float8, real, text) RETURNS spot LANGUAGE sql
        AS 'SELECT $1, $2, $3'""",
    """CREATE FUNCTION spots(float8, real) RETURNS spot[] LANGUAGE sql
        AS 'SELECT ARRAY[spot($1, $2, NULL), NULL, spot(NULL, NULL, NULL)]'""",
    "CREATE DOMAIN rate AS float8",
    "CREATE DOMAIN fine_rate AS rate",
    """CREATE TABLE floating (f float8, g real, d fine_rate, s spot, ss spot[], p place, r span,
        rs span[], ds fine_rate, b box, PRIMARY KEY (f, g))""",
    """INSERT INTO floating
        SELECT f, g, f, spot(f, g, 'x'), spots(f, g),
            ROW(spot(f, g, 'y'), spots(g, f::real))::place, span(f, f + 1, '[]'),
            ARRAY[span(NULL, f), 'empty'], f, box(point(f, f), point(g, g))
        FROM (SELECT (n / 7.0)::float8 AS f, (n / 3.0)::real AS g
            FROM generate_series(1, 50) AS n) AS numbers""",
    """INSERT INTO floating (f, g)
        VALUES ('NaN', 1), ('Infinity', 0.1), (1e300, 1e-30), (0.1, 16777216)""",
)


async def test_floats_are_compared_by_their_bits_wherever_they_are(
    across: Pair, colour: Colour
) -> None:
    for each in (across.publisher, across.subscriber):
        each.run(*FLOATS)
    next_up = "f * (1 + 2.3e-16)"
    changes = {
        "d": next_up,
        "s": f"spot({next_up}, g, 'x')",
        "ss": f"spots({next_up}, g)",
        "p": f"ROW(spot({next_up}, g, 'y'), spots(g, f::real))::place",
        "r": f"span({next_up}, f + 1, '[]')",
        "rs": f"ARRAY[span(NULL, {next_up}), 'empty']",
    }
    async with both(across, colour) as (publisher, subscriber):
        assert await differences(publisher, subscriber, ["floating"]) == []
        for place, (column, changed) in enumerate(changes.items(), 1):
            across.subscriber.run(
                f"UPDATE floating SET {column} = {changed} WHERE f = ({place} / 7.0)::float8"
            )
        found = await differences(publisher, subscriber, ["floating"])
        assert sorted(diff.columns for diff in found) == sorted((name,) for name in changes)


async def test_a_key_with_floats_within_another_type_is_refused_before_12(
    across: Pair, colour: Colour
) -> None:
    for each in (across.publisher, across.subscriber):
        each.run(
            "CREATE TABLE keyed (fs float8[] PRIMARY KEY)", "INSERT INTO keyed VALUES ('{0.1}')"
        )
    is_mixed = min(across.publisher.node.major, across.subscriber.node.major) < 12
    async with both(across, colour) as (publisher, subscriber):
        if is_mixed:
            with pytest.raises(pgreplkit.errors.KeyMissing, match="fs holds floats"):
                await differences(publisher, subscriber, ["keyed"])
        else:
            assert await differences(publisher, subscriber, ["keyed"]) == []
