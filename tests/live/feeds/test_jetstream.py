"""Feeds into NATS JetStream."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import count

import killedfeed
import pytest
from clusters import wait_until
from colours import Colour
from databases import Database
from feedfacts import Lines, end_of, feed_of, written
from jetstreams import bodies, make_stream, messages, publish
from nats import connect

from pgreplkit import LSN
from pgreplkit.errors import (
    MessageTooLarge,
    SinkFenced,
    SinkNotFitting,
    SinkRefused,
    SinkUnreachable,
)
from pgreplkit.feeds import FeedBatch, FeedMessage, FeedPosition, FeedStage, JetStream
from pgreplkit.lab import Broker, Lab
from pgreplkit.testing import sink_laws

# The engine does not depend on the server: its version is left to the other tests of feeds.
pytestmark = pytest.mark.pg(">=18")

numbers = count(1)


@pytest.fixture(scope="session")
def nats(pgreplkit_lab: Lab) -> Iterator[Broker]:
    broker = pgreplkit_lab.nats()
    yield broker
    broker.kill()


@pytest.fixture
def stream(nats: Broker) -> str:
    """The name of a stream that does not exist."""
    return f"cdc{next(numbers)}"


def sink_of(nats: Broker, stream: str) -> JetStream:
    return JetStream(nats.url, stream, subjects=[f"{stream}.>"])


async def test_a_stream_keeps_the_laws_of_sinks(nats: Broker, stream: str) -> None:
    async def read() -> list[bytes]:
        return await bodies(nats.url, stream)

    laws = await sink_laws(
        lambda: sink_of(nats, stream), read, destination=f"{stream}.rows", crashes=12
    )
    assert laws.messages > 1000


async def test_a_server_without_atomic_batches_stores_one_message_at_a_time(
    nats: Broker, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server takes single messages as an older one does, which cannot be installed everywhere.
    monkeypatch.setattr("pgreplkit.sinks.jetstream._ATOMIC_SINCE", (99, 0))

    async def read() -> list[bytes]:
        return await bodies(nats.url, stream)

    sink = sink_of(nats, stream)
    laws = await sink_laws(
        lambda: sink_of(nats, stream), read, destination=f"{stream}.rows", crashes=4
    )
    assert (sink.limits().messages, laws.messages < 20) == (1000, True)
    assert await sink.open("laws") is not None
    assert sink.limits().messages == 1
    await sink.close()


async def test_changes_come_into_a_stream_once_and_in_order(
    colour: Colour, database: Database, nats: Broker, stream: str
) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY)", "CREATE PUBLICATION p FOR TABLE t")
    encoder = Lines(f"{stream}.rows")
    feed = feed_of(colour, database, stream, sink=sink_of(nats, stream), encoder=encoder, hold=0)
    await feed.run(stop_at=LSN("0/1"), timeout=20)
    database.run(
        "INSERT INTO t SELECT generate_series(1, 2500)",
        *(f"DELETE FROM t WHERE id = {number}" for number in (1, 2)),
    )
    report = await feed.run(stop_at=end_of(database), timeout=30)
    assert (report.messages, report.transactions) == (2502, 3)
    stored = await messages(nats.url, stream)
    found = written([message.data for message in stored])
    assert [line[4] for line in found] == [*map(str, range(1, 2501)), "1", "2"]
    assert (stored[7].headers or {})["Pgreplkit-Id"] == f"{found[7][0]} 8"


async def test_other_writers_and_other_feeds_are_noticed(nats: Broker, stream: str) -> None:
    sink = sink_of(nats, stream)
    position = FeedPosition(LSN("0/5"), 1, True, FeedStage.STREAMING, 7, 1)
    batch = FeedBatch((FeedMessage(f"{stream}.t", b"1", None),), position, [(LSN("0/5"), 1)])
    assert await sink.open("shop") is None
    await sink.send(batch)
    [stored] = await messages(nats.url, stream)
    headers = stored.headers or {}
    assert (headers["Pgreplkit-Key"], headers["Pgreplkit-Tombstone"]) == ("1", "true")
    with pytest.raises(SinkFenced, match="of the feed 'shop'"):
        await sink_of(nats, stream).open("another")
    await publish(nats.url, f"{stream}.t")
    with pytest.raises(SinkFenced, match="another writer has stored messages: wrong last seq"):
        await sink.send(batch)
    with pytest.raises(SinkFenced, match="is of no feed; a stream takes one feed"):
        await sink.open("shop")
    await sink.close()


async def test_a_batch_that_a_killed_feed_has_begun_does_not_disturb_the_next(
    nats: Broker, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    position = FeedPosition(LSN("0/5"), 2, True, FeedStage.STREAMING, 7, 1)
    messages_ = [FeedMessage(f"{stream}.t", b"1", body) for body in (b"a", b"b")]
    batch = FeedBatch(messages_, position, [(LSN("0/5"), 1), (LSN("0/5"), 2)])
    killed, following = sink_of(nats, stream), sink_of(nats, stream)
    await killed.open("shop")
    client = killed._client
    assert client is not None
    # All of the batch but its commit is sent.
    monkeypatch.setattr(client, "request", lambda *_, **__: asyncio.sleep(3600))
    job = asyncio.ensure_future(killed.send(batch))
    await asyncio.sleep(0)
    await client.flush()
    job.cancel()
    assert await following.open("shop") is None
    await following.send(batch)
    assert await bodies(nats.url, stream) == [b"a", b"b"]
    await killed.close()
    await following.close()


async def test_a_stream_is_opened_while_the_server_stores_the_batch_of_a_killed_feed(
    nats: Broker, stream: str
) -> None:
    """The server shows the messages of an atomic batch one by one."""
    killed = sink_of(nats, stream)
    await killed.open("shop")
    size = 1000
    positions: list[FeedPosition | None] = []

    async def open_until(stored: asyncio.Future[None]) -> None:
        sink = sink_of(nats, stream)
        while not stored.done():
            positions.append(await sink.open("shop"))
        await sink.close()

    for number in (1, 2, 3):
        lsn = LSN(number)
        position = FeedPosition(lsn, size, True, FeedStage.STREAMING, 7, 1)
        # Large ones, so that storing them takes the server several milliseconds.
        batch = FeedBatch(
            [FeedMessage(f"{stream}.t", b"1", bytes(2000))] * size,
            position,
            [(lsn, at) for at in range(1, size + 1)],
        )
        stored = asyncio.ensure_future(killed.send(batch))
        await asyncio.gather(stored, *(open_until(stored) for _ in range(3)))
    await killed.close()
    assert {at and at.number for at in positions} <= {None, size}


async def test_what_cannot_be_stored_is_refused_before_anything_is(
    nats: Broker, stream: str
) -> None:
    with pytest.raises(SinkNotFitting, match=f"the stream '{stream}': it does not exist; create"):
        await JetStream(nats.url, stream).open("shop")
    await make_stream(nats.url, stream, max_age=3600.0)
    with pytest.raises(SinkNotFitting, match="it removes messages after 3600 s"):
        await JetStream(nats.url, stream).open("shop")
    # The server may be able to store it, and never will: its subjects are those of another stream.
    other = JetStream(nats.url, f"{stream}_other", subjects=[f"{stream}.>"])
    with pytest.raises(SinkRefused, match="subjects overlap with an existing stream"):
        await other.open("shop")
    sink = JetStream(nats.url, stream, may_discard=True)
    assert await sink.open("shop") is None
    assert sink.limits().position_every == 3600.0
    position = FeedPosition(LSN("0/5"), 2, True, FeedStage.STREAMING, 7, 1)
    for subject, found in (("other.t", "has the subjects"), (f"{stream}.>", "not a subject")):
        messages_ = [FeedMessage(f"{stream}.t", None, b""), FeedMessage(subject, None, b"")]
        with pytest.raises(SinkRefused, match=found):
            await sink.send(FeedBatch(messages_, position, [(LSN("0/5"), 1), (LSN("0/5"), 2)]))
    assert await sink.open("shop") is None
    await sink.close()
    with pytest.raises(SinkUnreachable, match=r"at nats://127\.0\.0\.1:1: .*no servers"):
        await JetStream("nats://joe:secret@127.0.0.1:1", "CDC", timeout=2).open("shop")


@pytest.mark.matrix
@pytest.mark.one_colour
async def test_a_feed_waits_for_a_stream_that_is_full_or_killed(
    colour: Colour, database: Database, pgreplkit_lab: Lab, stream: str
) -> None:
    database.run(
        "CREATE TABLE t (id int PRIMARY KEY, pad text)", "CREATE PUBLICATION p FOR TABLE t"
    )
    broker = pgreplkit_lab.nats(name=f"nats_{stream}")
    await make_stream(broker.url, stream, max_bytes=20_000, discard="new")
    options = {"sink": JetStream(broker.url, stream, timeout=2), "encoder": Lines(f"{stream}.t")}
    feed = feed_of(colour, database, stream, hold=0, reconnect=20, **options)
    await feed.run(stop_at=LSN("0/1"), timeout=20)
    database.run("INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(1, 10) AS i")
    await feed.run(stop_at=end_of(database), timeout=20)
    database.run("INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(11, 30) AS i")
    with pytest.raises(SinkUnreachable, match="maximum bytes exceeded"):
        await feed_of(colour, database, stream, hold=0, **options).run(timeout=10)
    assert len(await bodies(broker.url, stream)) == 10
    broker.kill()
    goal = end_of(database)

    async def run() -> None:
        await feed.run(stop_at=goal, timeout=20)

    # In a thread of its own, since a sync feed would keep this one from starting the engine.
    running = asyncio.ensure_future(asyncio.to_thread(lambda: asyncio.run(run())))
    await asyncio.sleep(0.1)
    broker.start()
    await _raise_limit(broker.url, stream)
    await running
    found = written(await bodies(broker.url, stream))
    assert [line[4] for line in found] == [*map(str, range(1, 31))]
    broker.kill()


USERS = """{ users: [
    {user: admin, password: secret},
    {user: joe, password: secret, permissions: {publish: {deny: "cdc.secret.>"}}}
] }"""


@pytest.mark.matrix
async def test_a_wrong_password_and_a_forbidden_subject_are_refusals(pgreplkit_lab: Lab) -> None:
    broker = pgreplkit_lab.nats(name="nats_users", settings={"authorization": USERS})
    address = broker.url.removeprefix("nats://")
    with pytest.raises(SinkRefused, match=r"Authorization Violation.*; correct the user and its"):
        await JetStream(f"nats://joe:wrong@{address}", "CDC").open("shop")
    # Of several servers, those that are down are passed over.
    servers = ["nats://127.0.0.1:1", f"nats://joe:secret@{address}"]
    sink = JetStream(servers, "CDC", subjects=["cdc.>"])
    assert await sink.open("shop") is None
    position = FeedPosition(LSN("0/5"), 1, True, FeedStage.STREAMING, 7, 1)
    batch = FeedBatch((FeedMessage("cdc.secret.t", None, b"x"),), position, [(LSN("0/5"), 1)])
    with pytest.raises(SinkRefused, match=r'permissions violation for publish to "cdc\.secret\.t"'):
        await sink.send(batch)
    await sink.close()
    broker.kill()


async def _raise_limit(url: str, stream: str) -> None:
    import nats

    client = await nats.connect(url)
    config = (await client.jetstream().stream_info(stream)).config
    config.max_bytes = 10_000_000
    await client.jetstream().update_stream(config)
    await client.close()


@pytest.mark.one_colour
async def test_a_message_that_is_larger_than_the_server_takes_stops_the_feed_or_is_parked(
    colour: Colour, database: Database, nats: Broker, stream: str
) -> None:
    database.run("CREATE TABLE t (id int, pad text)", "CREATE PUBLICATION p FOR TABLE t")
    options = {"sink": sink_of(nats, stream), "encoder": Lines(f"{stream}.t"), "hold": 0}
    feed = feed_of(colour, database, stream, **options)
    await feed.run(stop_at=LSN("0/1"), timeout=20)
    database.run(
        "INSERT INTO t VALUES (1, 'small')",
        "INSERT INTO t VALUES (2, repeat('x', 1100000))",
        "INSERT INTO t VALUES (3, 'small')",
    )
    with pytest.raises(MessageTooLarge, match=r"number 1, of public\.t to"):
        await feed.run(stop_at=end_of(database), timeout=20)
    parking = feed_of(colour, database, stream, parked=f"{stream}.parked", **options)
    report = await parking.run(stop_at=end_of(database), timeout=20)
    stored = await messages(nats.url, stream)
    assert [message.subject for message in stored] == [
        f"{stream}.{name}" for name in ("t", "parked", "t")
    ]
    assert report.parked == 1


@pytest.mark.matrix
@pytest.mark.one_colour
async def test_a_feed_that_is_killed_and_one_that_is_paused_leave_each_change_once(
    colour: Colour, database: Database, nats: Broker, stream: str
) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY)", "CREATE PUBLICATION p FOR TABLE t")
    options = {"sink": sink_of(nats, stream), "encoder": Lines(f"{stream}.rows"), "hold": 0}
    feed = feed_of(colour, database, stream, **options)
    await feed.run(stop_at=LSN("0/1"), timeout=20)
    database.run("INSERT INTO t SELECT generate_series(1, 8000)")
    await _stopped(database, nats, stream, signal.SIGKILL, 1)
    wait_until(lambda: _is_free(database, stream))
    database.run("INSERT INTO t SELECT generate_series(8001, 16000)")
    zombie = await _stopped(database, nats, stream, signal.SIGSTOP, 8500)
    try:
        # The server ends a paused client after wal_sender_timeout.
        wait_until(lambda: _is_free(database, stream))
        await feed.run(stop_at=end_of(database), timeout=30)
        zombie.send_signal(signal.SIGCONT)
        assert await asyncio.to_thread(zombie.wait, 20) == 1
    finally:
        zombie.kill()
        zombie.wait()
    found = written(await bodies(nats.url, stream))
    assert [int(line[4]) for line in found] == [*range(1, 16_001)]


def _is_free(database: Database, slot: str) -> bool:
    """End the walsender that uses the slot; return True if there was none."""
    ended = database.all(f"""SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots
        WHERE slot_name = '{slot}' AND active""")
    return not ended


async def _stopped(
    database: Database, nats: Broker, stream: str, number: signal.Signals, least: int
) -> subprocess.Popen[bytes]:
    """Start a feed, and send it a signal when the stream has that many messages."""
    command = [sys.executable, killedfeed.__file__, database.conninfo, stream, nats.url, stream]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    client = await connect(nats.url)
    async with asyncio.timeout(20):
        while (await client.jetstream().stream_info(stream)).state.messages <= least:
            assert process.poll() is None
    process.send_signal(number)
    await client.close()
    if number is signal.SIGKILL:
        process.wait()
    return process
