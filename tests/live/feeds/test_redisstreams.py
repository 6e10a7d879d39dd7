"""Feeds into Redis Streams."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from colours import Colour
from databases import Database
from feedfacts import Lines, end_of, feed_of, written
from redis.asyncio import Redis
from redisstreams import bodies, entries

from pgreplkit import LSN
from pgreplkit.errors import (
    ServerNotFound,
    SinkFenced,
    SinkNotFitting,
    SinkRefused,
    SinkUnreachable,
)
from pgreplkit.feeds import FeedBatch, FeedMessage, FeedPosition, FeedStage, RedisStreams
from pgreplkit.lab import Broker, Lab
from pgreplkit.supervised import STUCK
from pgreplkit.testing import sink_laws

# The engine does not depend on the server: its version is left to the other tests of feeds.
pytestmark = pytest.mark.pg(">=18")

numbers = count(1)


@pytest.fixture(scope="session")
def redis(pgreplkit_lab: Lab) -> Iterator[Broker]:
    try:
        broker = pgreplkit_lab.redis()
    except ServerNotFound as missing:
        pytest.skip(str(missing))
    yield broker
    broker.kill()


@pytest.fixture
def key() -> str:
    """The key of a stream that does not exist."""
    return f"cdc{next(numbers)}"


@pytest.mark.matrix
async def test_streams_keep_the_laws_of_sinks(redis: Broker) -> None:
    async def read() -> list[bytes]:
        return await bodies(redis.url, "laws")

    laws = await sink_laws(lambda: RedisStreams(redis.url), read, destination="laws", crashes=12)
    assert laws.messages > 1000


async def test_changes_come_into_a_stream_once_and_in_order(
    colour: Colour, database: Database, redis: Broker, key: str
) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY)", "CREATE PUBLICATION p FOR TABLE t")
    sink, encoder = RedisStreams(redis.url), Lines(key, doubles=True)
    feed = feed_of(colour, database, key, sink=sink, encoder=encoder)
    await feed.run(stop_at=LSN("0/1"), timeout=20)
    database.run("INSERT INTO t SELECT generate_series(1, 2500)", "DELETE FROM t WHERE id = 1")
    report = await feed.run(stop_at=end_of(database), timeout=30)
    assert (report.messages, report.transactions) == (2502, 2)
    stored = await entries(redis.url, key)
    assert stored[-1][1] == {b"tombstone": b"1"}
    found = written([fields[b"body"] for _, fields in stored[:-1]])
    assert [line[4] for line in found] == [*map(str, range(1, 2501)), "1"]
    assert stored[6][0] == f"{int(LSN(found[6][0]))}-7000"


async def test_other_writers_are_noticed(redis: Broker, key: str) -> None:
    position = FeedPosition(LSN("0/5"), 1, True, FeedStage.STREAMING, 7, 1)

    def batch(destination: str) -> FeedBatch:
        messages = [FeedMessage(name, None, b"x") for name in (f"{key}.first", destination)]
        return FeedBatch(messages, position, [(LSN("0/5"), 1), (LSN("0/5"), 2)])

    client, sink = Redis.from_url(redis.url), RedisStreams(redis.url)
    await client.xadd(f"{key}.later", {"of": "another"})
    await client.set(f"{key}.text", "no stream")
    assert await sink.open(key) is None
    with pytest.raises(SinkFenced, match=r"another writer has added a later entry: cdc\d+\.later"):
        await sink.send(batch(f"{key}.later"))
    with pytest.raises(SinkRefused, match=r"the key is not a stream: cdc\d+\.text string"):
        await sink.send(batch(f"{key}.text"))
    with pytest.raises(SinkRefused, match="has the feed's position"):
        await sink.send(batch(f"pgreplkit:feed:{key}"))
    # The refused batches have stored nothing.
    assert await entries(redis.url, f"{key}.first") == []
    await sink.send(batch(f"{key}.fine"))
    await client.set(f"pgreplkit:feed:{key}", "of another")
    with pytest.raises(SinkFenced, match="others have written to it: not a valid feed position"):
        await sink.open(key)
    await client.aclose()


async def test_a_user_who_may_not_store_the_position_stores_no_message(
    redis: Broker, key: str
) -> None:
    """A script does not roll back: the messages would be there, and the position would not."""

    def batch(number: int) -> FeedBatch:
        lsn = LSN(number)
        position = FeedPosition(lsn, 1, True, FeedStage.STREAMING, 7, 1)
        return FeedBatch([FeedMessage(key, None, b"x")], position, [(lsn, 1)])

    client = Redis.from_url(redis.url)
    joe = {"enabled": True, "passwords": ["+secret"], "keys": ["*"]}
    await client.acl_setuser("joe", commands=["+@all"], **joe)  # type: ignore[arg-type]
    sink = RedisStreams(redis.url.replace("redis://", "redis://joe:secret@"))
    try:
        assert await sink.open(key) is None
        await sink.send(batch(5))
        await client.acl_setuser("joe", commands=["-set"], **joe)  # type: ignore[arg-type]
        with pytest.raises(SinkRefused, match="can't run this command"):
            await sink.send(batch(6))
        await client.acl_setuser("joe", commands=["+set"], **joe)  # type: ignore[arg-type]
        assert str(await sink.open(key)).endswith("0/5 1")
        await sink.send(batch(6))
        assert len(await entries(redis.url, key)) == 2
    finally:
        await sink.close()
        await client.acl_deluser("joe")
        await client.aclose()


@pytest.mark.parametrize("option", ["nonsense=1", "socket_timeout=abc"])
async def test_an_option_that_the_client_does_not_know_is_refused(option: str) -> None:
    with pytest.raises(SinkNotFitting, match="an option of its URL is wrong") as refused:
        await RedisStreams(f"redis://joe:secret@cache?{option}").open("shop")
    assert "secret" not in str(refused.value)


async def test_a_server_that_is_down_or_loses_messages_is_refused(redis: Broker) -> None:
    with pytest.raises(SinkUnreachable, match=r"connect to Redis at redis://127\.0\.0\.1:1: "):
        await RedisStreams("redis://joe:secret@127.0.0.1:1", timeout=2).open("shop")
    client = Redis.from_url(redis.url)
    await client.config_set("appendonly", "no")
    try:
        with pytest.raises(SinkNotFitting, match="it writes no append-only file"):
            await RedisStreams(redis.url).open("shop")
        sink = RedisStreams(redis.url, may_discard=True)
        assert await sink.open("shop") is None
        await sink.close()
    finally:
        await client.config_set("appendonly", "yes")
        await client.aclose()


async def test_answers_that_pass_are_told_from_those_that_do_not(redis: Broker, key: str) -> None:
    position = FeedPosition(LSN("0/5"), 1, True, FeedStage.STREAMING, 7, 1)
    batch = FeedBatch([FeedMessage(key, None, b"x")], position, [(LSN("0/5"), 1)])
    client, sink = Redis.from_url(redis.url), RedisStreams(redis.url)
    await client.acl_setuser("joe", enabled=True, passwords=["+secret"], commands=["-@all"])
    try:
        assert await sink.open(key) is None
        await client.script_flush()
        with pytest.raises(SinkUnreachable, match="No matching script"):
            await sink.send(batch)
        assert await sink.open(key) is None
        await client.config_set("min-replicas-to-write", 1)
        with pytest.raises(SinkUnreachable, match="NOREPLICAS"):
            await sink.send(batch)
        host = redis.url.removeprefix("redis://")
        for url, found in (
            (f"redis://{host}?username=joe&password=wrong", "invalid username-password pair"),
            (f"redis://joe:secret@{host}", "no permissions to run the 'info' command"),
        ):
            with pytest.raises(SinkRefused, match=f"{found}.*; correct the user"):
                await RedisStreams(url).open(key)
    finally:
        await client.config_set("min-replicas-to-write", 0)
        await client.acl_deluser("joe")
        await client.aclose()
    assert await sink.open(key) is None
    await sink.send(batch)
    await sink.close()


async def test_the_command_runs_its_feeds_until_it_is_stopped_and_says_which_has_failed(
    database: Database, redis: Broker, key: str, tmp_path: Path
) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY)", "CREATE PUBLICATION p FOR TABLE t")
    # A slot without a position in the sink: changes may be lost.
    database.run(f"SELECT pg_create_logical_replication_slot('{key}_lost', 'pgoutput')")
    feed = """[feeds.{0}]
        source = "{1}"
        publications = ["p"]
        snapshot = "initial"
        encoder = {{ format = "plain", destination = "{2}.{{table}}" }}
        sink = {{ engine = "redis", url = "{3}" }}
    """
    config = tmp_path / "feeds.toml"
    config.write_text(
        "".join(
            feed.format(name, database.conninfo, key, redis.url) for name in (key, f"{key}_lost")
        )
    )
    database.run("INSERT INTO t VALUES (1)")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pgreplkit.feeds", str(config)), stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    log = ""
    try:
        async with asyncio.timeout(60):
            while "has failed" not in log:
                log += (await process.stderr.readline()).decode()
            while not await bodies(redis.url, f"{key}.t"):
                await asyncio.sleep(0.05)
    finally:
        process.terminate()
        log += (await process.communicate())[1].decode()
    assert process.returncode == STUCK
    assert f"the feed {key}_lost has failed: could not run the feed" in log
    assert f"the feed {key} is stopped at" in log
