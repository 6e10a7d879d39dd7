"""Feeds into Kafka."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from itertools import count
from uuid import uuid4

import pytest
from colours import Colour
from databases import Database
from feedfacts import Lines, end_of, feed_of, written
from kafkas import brokers, create, records

from pgreplkit import LSN
from pgreplkit.errors import SinkFenced, SinkNotFitting, SinkRefused, SinkUnreachable
from pgreplkit.feeds import FeedBatch, FeedMessage, FeedPosition, FeedStage, Kafka
from pgreplkit.sinks.kafka import _Deadline
from pgreplkit.testing import sink_laws

# The engine does not depend on the server: its version is left to the other tests of feeds.
pytestmark = pytest.mark.pg(">=18")

numbers = count(1)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with brokers(tmp_path_factory.mktemp("kafka")) as servers:
        yield servers


@pytest.fixture
def topic(kafka: str) -> str:
    """A topic without records."""
    name = f"cdc_{uuid4().hex[:8]}"
    create(kafka, name)
    return name


def batch(*messages: tuple[str, bytes | None], is_whole: bool = True) -> FeedBatch:
    lsn = LSN(next(numbers) << 8)
    return FeedBatch(
        [FeedMessage(destination, b"key", body) for destination, body in messages],
        FeedPosition(lsn, len(messages), is_whole, FeedStage.STREAMING, 7, 1),
        [(lsn, number) for number in range(1, len(messages) + 1)],
    )


@pytest.mark.skipif(
    "PGREPLKIT_KAFKA" not in os.environ,
    reason="PGREPLKIT_KAFKA names no broker, and Tansu shows records of aborted transactions",
)
async def test_topics_keep_the_laws_of_sinks(kafka: str, topic: str) -> None:
    async def read() -> list[bytes]:
        return [body or b"" for _, body, _ in await asyncio.to_thread(records, kafka, topic)]

    def sink() -> Kafka:
        return Kafka({"bootstrap.servers": kafka}, position_topic=f"{topic}.position")

    laws = await sink_laws(sink, read, destination=topic, crashes=30)
    assert laws.messages > 1000


@pytest.mark.one_colour
async def test_changes_come_into_a_topic_once_and_in_order(
    colour: Colour, database: Database, kafka: str, topic: str
) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY)", "CREATE PUBLICATION p FOR TABLE t")
    sink, encoder = Kafka({"bootstrap.servers": kafka}), Lines(topic, doubles=True)
    feed = feed_of(colour, database, topic, sink=sink, encoder=encoder)
    await feed.run(stop_at=LSN("0/1"), timeout=20)
    database.run("INSERT INTO t SELECT generate_series(1, 2500)", "DELETE FROM t WHERE id = 1")
    report = await feed.run(stop_at=end_of(database), timeout=30)
    assert (report.messages, report.transactions) == (2502, 2)
    stored = records(kafka, topic)
    assert stored[-1][1] is None
    found = written([body for _, body, _ in stored[:-1]])
    assert [line[4] for line in found] == [*map(str, range(1, 2501)), "1"]
    assert stored[6][2] == {"Pgreplkit-Id": f"{found[6][0]} 7"}
    positions = records(kafka, f"{topic}.position")
    key, position, _ = positions[-1]
    assert (key, FeedPosition.parse(str(position or b"", "utf-8")).lsn) == (
        topic.encode(),
        report.position,
    )


async def test_a_later_process_fences_an_earlier_one(kafka: str, topic: str) -> None:
    conf = {"bootstrap.servers": kafka}
    earlier, later = Kafka(conf), Kafka(conf)
    assert await earlier.open(topic) is None
    first = batch((topic, b"1"), (topic, b"2"), is_whole=False)
    await earlier.send(first)
    assert await later.open(topic) == first.position
    with pytest.raises(SinkFenced, match="another process has opened the feed"):
        await earlier.send(batch((topic, b"of the earlier")))
    await earlier.close()
    # As if two processes had found no topic for positions, and created it at once.
    admin = later._admin
    assert admin is not None
    assert not await asyncio.to_thread(later._create_position_topic, admin, _Deadline(10))
    name = f"{topic}.position"
    [partitions] = (one.partitions for one in admin.list_topics(name).topics.values())
    assert len(partitions) == 1
    await later.send(batch((topic, None)))
    await later.close()
    assert [body for _, body, _ in records(kafka, topic)] == [b"1", b"2", None]


async def test_topics_that_do_not_fit_are_refused(kafka: str, topic: str) -> None:
    conf = {"bootstrap.servers": kafka}
    create(kafka, f"{topic}.deleted", cleanup_policy="delete")
    with pytest.raises(SinkNotFitting, match=r"its cleanup\.policy is 'delete'"):
        await Kafka(conf, position_topic=f"{topic}.deleted").open(topic)
    sink = Kafka(conf, transactional=False)
    assert await sink.open(topic) is None
    for destination, found in [
        (f"{topic}.missing", "it does not exist; run: kafka-topics --create"),
        (f"{topic}.position", "it has the positions of feeds"),
        ("a b", "it is not the name of a topic"),
    ]:
        with pytest.raises(SinkRefused, match=found):
            await sink.send(batch((topic, b"1"), (destination, b"2")))
    with pytest.raises(SinkRefused, match="size too large"):
        await sink.send(batch((topic, bytes(2_000_000))))
    sent = batch((topic, b"3"))
    await sink.send(sent)
    # Without transactions, too, the position is found; the refused batches have stored nothing.
    assert await sink.open(topic) == sent.position
    assert [body for _, body, _ in records(kafka, topic)] == [b"3"]
    await sink.close()


async def test_a_record_of_another_program_among_the_positions_is_noticed(
    kafka: str, topic: str
) -> None:
    from confluent_kafka import Producer

    name = f"{topic}.position"
    create(kafka, name, cleanup_policy="compact")
    conf = {"bootstrap.servers": kafka}
    # Tansu counts the last batch of a topic as one record.
    producer = Producer({**conf, "batch.num.messages": 1})
    position = batch().position
    producer.produce(name, str(position).encode(), topic.encode())
    for number in range(200):
        producer.produce(name, b"of another feed", b"%d" % number)
    producer.flush(10)
    sink = Kafka(conf, transactional=False)
    assert await sink.open(topic) == position
    producer.produce(name, b"nonsense", topic.encode())
    producer.flush(10)
    with pytest.raises(SinkFenced, match="others have written to it: not a valid feed position"):
        await sink.open(topic)


async def test_brokers_that_do_not_answer_are_reported() -> None:
    pytest.importorskip("confluent_kafka", reason="confluent-kafka is not installed")
    with pytest.raises(SinkUnreachable, match=r"connect to Kafka at 127\.0\.0\.1:1: .*refused"):
        await Kafka({"bootstrap.servers": "127.0.0.1:1"}, timeout=2).open("shop")
    conf = {"bootstrap.servers": "127.0.0.1:1", "no.setting": "1"}
    with pytest.raises(SinkNotFitting, match="No such configuration property"):
        await Kafka(conf).open("shop")
