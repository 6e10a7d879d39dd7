"""Kafka: a sink that stores messages in topics of Apache Kafka."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from pgreplkit._text import counted
from pgreplkit.errors import (
    InvalidFeedPosition,
    SinkFenced,
    SinkNotFitting,
    SinkRefused,
    SinkUnreachable,
)
from pgreplkit.errors.extras import needs_extra
from pgreplkit.feeds.batches import FeedBatch
from pgreplkit.feeds.kafka import (
    POSITION_SETTINGS,
    addresses,
    admin_conf,
    checked_conf,
    consumer_conf,
    error_of,
    insist_on_compacted,
    insist_on_size,
    is_topic,
    largest_message,
    producer_conf,
    record_headers,
)
from pgreplkit.feeds.position import FeedPosition
from pgreplkit.feeds.sink import SinkLimits
from pgreplkit.values.flags import checked_flags
from pgreplkit.values.seconds import Timeout, checked_seconds

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError, Message, Producer
    from confluent_kafka.admin import AdminClient

T = TypeVar("T")

_BACK = 64
"""Records: the position is searched for in that many at first, and in 64 times more each time."""
_CLOSING = 1.0
"""Seconds for the end of an interrupted transaction, which the next open() ends otherwise."""
_MORE = 1.0
"""Seconds after the deadline of a call, which then says itself that it was late."""
_MESSAGES = 1000
"""Messages of a batch: a transaction costs several round trips, which they share."""


class Kafka:
    """Topics of Kafka; the destination of a message is its topic.

    Each batch is one transaction of Kafka, with the messages and a record in a compacted topic for
    positions, whose key is the feed. Readers must use ``isolation.level=read_committed``. The
    transactional ID is made of the feed's name, so that a process that opens the feed fences an
    earlier one.

    With ``transactional=False`` the position is stored after the messages, and a message may come
    twice: after a crash, and from a process that was replaced while it was sending.

    ``conf`` has the settings of the client, librdkafka, such as ``bootstrap.servers``. The topic
    ``position_topic``, by default the feed's name and ``.position``, is created if it does not
    exist; the other topics must exist.

    ``hold`` is 0 by default, since the brokers answer when enough replicas have a message:
    ``min.insync.replicas`` says how many are enough.
    """

    def __init__(
        self,
        conf: Mapping[str, object],
        *,
        position_topic: str | None = None,
        transactional: bool = True,
        timeout: Timeout = 10.0,
    ) -> None:
        checked_flags(transactional=transactional)
        self._conf = checked_conf(conf)
        if position_topic is not None and not is_topic(position_topic):
            raise ValueError(f"position_topic is not the name of a topic: {position_topic!r}")
        self._given_topic, self._transactional = position_topic, transactional
        self._timeout = checked_seconds(timeout, "timeout")
        self._servers = addresses(self._conf)
        self._thread: ThreadPoolExecutor | None = None
        self._producer: Producer | None = None
        self._admin: AdminClient | None = None
        self._feed = self._position_topic = ""
        self._known: set[str] = set()
        """The destinations that were found to be topics."""
        self._failed: KafkaError | None = None
        """The error of the first message of a batch that was not stored."""
        self._heard = self._forbidden = ""
        """The last error of a connection, which says more than that of a call; and the last one
        of a login, which the client repeats until the call is late."""
        self._limits = SinkLimits()

    def limits(self) -> SinkLimits:
        """Return the limits of the open cluster."""
        return self._limits

    async def open(self, feed: str) -> FeedPosition | None:
        """Connect, check the topics, fence other processes, and return the position of the feed.

        Raises: SinkUnreachable; SinkNotFitting; SinkFenced; ExtraMissing.
        """
        await self.close()
        with needs_extra("kafka", "confluent-kafka"):
            import confluent_kafka  # noqa: F401
        self._thread = ThreadPoolExecutor(1, "pgreplkit-kafka")
        try:
            return await self._in_thread(lambda: self._open(feed))
        except BaseException:
            await self.close()
            raise

    async def send(self, batch: FeedBatch) -> None:
        """Store a batch; see ``Sink``."""
        producer = self._producer
        if producer is None:
            raise SinkUnreachable(self._storing, "it is not open")
        await self._in_thread(lambda: self._send(producer, batch))

    async def close(self) -> None:
        """Disconnect."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        try:
            # After the call that is under way there, whose waits have their deadline.
            await asyncio.get_running_loop().run_in_executor(thread, self._close)
        finally:
            thread.shutdown(wait=False)

    def __repr__(self) -> str:
        return f"<Kafka {self._servers}>"

    # The client's calls block, so that these methods run in the sink's thread.

    @property
    def _storing(self) -> str:
        return f"store messages in Kafka at {self._servers}"

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def _open(self, feed: str) -> FeedPosition | None:
        from confluent_kafka import Consumer
        from confluent_kafka.admin import AdminClient

        self._feed, self._position_topic = feed, self._given_topic or f"{feed}.position"
        self._known, self._failed, self._heard, self._forbidden = set(), None, "", ""
        deadline = _Deadline(self._timeout)
        producer = self._producer = self._new_producer()
        with self._translated(f"connect to Kafka at {self._servers}"):
            facts = producer.list_topics(self._position_topic, timeout=deadline.left)
            conf: dict[str, Any] = {**admin_conf(self._conf), "error_cb": self._hear}
            admin = self._admin = AdminClient(conf)
            exists = facts.topics[self._position_topic].error is None
            is_new = not exists and self._create_position_topic(admin, deadline)
            if not is_new:
                topic = self._position_topic
                insist_on_compacted(topic, _setting(admin, topic, "cleanup.policy", deadline))
        largest = largest_message(self._conf)
        self._limits = SinkLimits(messages=_MESSAGES, message_bytes=largest)
        if self._transactional:
            with self._translated(f"begin transactions in Kafka at {self._servers}"):
                # Before the position is read: it ends the transaction of an earlier process.
                producer.init_transactions(deadline.left)
        if is_new:
            return None
        with self._translated(f"read the topic {self._position_topic!r}"):
            end = _end_of(admin, self._position_topic, deadline)
            consumer = Consumer({**consumer_conf(self._conf, feed), "error_cb": self._hear})
            try:
                return self._last_position(consumer, end, deadline)
            finally:
                consumer.close()

    def _new_producer(self) -> Producer:
        from confluent_kafka import KafkaException, Producer

        transactional = self._transactional
        conf = producer_conf(self._conf, self._feed, self._timeout, transactional=transactional)
        try:
            return Producer({**conf, "error_cb": self._hear, "on_delivery": self._note})
        except KafkaException as error:
            raise SinkNotFitting("use the client's settings", "conf", _message_of(error)) from error

    def _create_position_topic(self, admin: AdminClient, deadline: _Deadline) -> bool:
        """Create the topic for positions; return False if another process has done it.

        Raises: SinkNotFitting.
        """
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

        topic, wait = self._position_topic, deadline.left
        # -1 is the replication factor that the brokers have as their default.
        new = NewTopic(topic, 1, -1, config={**POSITION_SETTINGS})
        [created] = admin.create_topics(
            [new], operation_timeout=wait, request_timeout=wait
        ).values()
        try:
            created.result(wait + _MORE)
        except KafkaException as error:
            if error.args[0].name() == "TOPIC_ALREADY_EXISTS":
                return False
            found = f"it does not exist, and could not be created: {_message_of(error)}"
            settings = " and ".join(f"{name}={value}" for name, value in POSITION_SETTINGS.items())
            remedy = f"create it with 1 partition, {settings}"
            operation = f"use the topic {topic!r} for positions"
            raise SinkNotFitting(operation, "topic", found, remedy=remedy) from error
        return True

    def _last_position(
        self, consumer: Consumer, end: int, deadline: _Deadline
    ) -> FeedPosition | None:
        back, start, found = _BACK, end, None
        # Compaction leaves many old positions, so the topic is read from its end.
        while found is None and start > 0:
            start, back = max(0, end - back), back * _BACK
            found = self._last_record(consumer, start, end, deadline)
        if found is None:
            return None
        try:
            return FeedPosition.parse(found.decode("utf-8", "backslashreplace"))
        except InvalidFeedPosition as error:
            operation = f"read the topic {self._position_topic!r}"
            raise SinkFenced(operation, f"others have written to it: {error}") from None

    def _last_record(
        self, consumer: Consumer, start: int, end: int, deadline: _Deadline
    ) -> bytes | None:
        """Return the feed's last record from an offset on, when those before ``end`` are read."""
        from confluent_kafka import KafkaError, KafkaException, TopicPartition

        consumer.assign([TopicPartition(self._position_topic, 0, start)])
        found, key, reached = None, self._feed.encode(), -1
        while reached < end:
            message = consumer.poll(deadline.left)
            if message is None:
                wait = f"the records up to {end} were not readable in time"
                heard = self._heard or "a transaction of another feed may be open"
                raise SinkUnreachable(
                    f"read the topic {self._position_topic!r}", f"{wait}: {heard}"
                )
            error = message.error()
            if error is None:
                found = message.value() if message.key() == key else found
            elif error.code() == KafkaError._PARTITION_EOF:
                # It comes after the markers of transactions, which have offsets, and comes again
                # when a transaction has ended.
                reached = message.offset() or 0
            else:
                raise KafkaException(error)
        return found

    def _send(self, producer: Producer, batch: FeedBatch) -> None:
        deadline = _Deadline(self._timeout)
        self._failed = None
        for message in batch.messages:
            self._insist_on_topic(producer, message.destination, deadline)
        with self._translated(self._storing):
            if not self._transactional:
                self._produce(producer, batch)
                self._flush(producer, deadline)
                self._produce_position(producer, batch)
                self._flush(producer, deadline)
                return
            producer.begin_transaction()
            self._produce(producer, batch)
            self._produce_position(producer, batch)
            producer.commit_transaction(deadline.left)

    def _insist_on_topic(self, producer: Producer, topic: str, deadline: _Deadline) -> None:
        if topic in self._known:
            return
        operation = f"send to the topic {topic!r}"
        if not is_topic(topic):
            raise SinkRefused(operation, "it is not the name of a topic")
        if topic == self._position_topic:
            raise SinkRefused(operation, "it has the positions of feeds")
        with self._translated(operation):
            found = producer.list_topics(topic, timeout=deadline.left).topics[topic]
        if found.error is not None:
            code, reason = found.error.name(), found.error.str()
            if code not in ("UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC"):
                raise error_of(operation, code, reason)
            remedy = f"run: kafka-topics --create --topic {topic}"
            raise SinkRefused(operation, "it does not exist", remedy=remedy)
        if self._admin is not None:
            limit = _setting(self._admin, topic, "max.message.bytes", deadline)
            insist_on_size(topic, self._conf, limit)
        self._known.add(topic)

    @staticmethod
    def _produce(producer: Producer, batch: FeedBatch) -> None:
        for message, name in zip(batch.messages, batch.names, strict=True):
            headers: list[tuple[str, str | bytes | None]] = [*record_headers(message, name)]
            producer.produce(message.destination, message.body, message.key, headers=headers)

    def _produce_position(self, producer: Producer, batch: FeedBatch) -> None:
        position = str(batch.position).encode()
        producer.produce(self._position_topic, position, self._feed.encode(), partition=0)

    def _flush(self, producer: Producer, deadline: _Deadline) -> None:
        """Wait until all messages are stored.

        Raises: SinkUnreachable; SinkRefused.
        """
        waiting = producer.flush(deadline.left)
        if self._failed is not None:
            raise error_of(self._storing, self._failed.name(), self._failed.str())
        if waiting:
            found = f"{counted(waiting, 'message was', 'messages were')} not answered in time"
            raise SinkUnreachable(self._storing, self._with_heard(found))

    def _close(self) -> None:
        from confluent_kafka import KafkaException

        producer, self._producer, self._admin = self._producer, None, None
        if producer is None:
            return
        producer.purge()
        if self._transactional:
            # Nothing is open, or the producer is fenced, or never began: then it fails at once.
            with suppress(KafkaException):
                producer.abort_transaction(_CLOSING)
        # It raises a fatal error that no call has raised yet.
        with suppress(KafkaException):
            producer.flush(0)

    def _note(self, error: KafkaError | None, _: Message) -> None:
        # A purged message failed because of another one.
        if error is not None and self._failed is None and not error.name().startswith("_PURGE"):
            self._failed = error

    def _hear(self, error: KafkaError) -> None:
        if error.name() == "_AUTHENTICATION":
            self._forbidden = error.str()
        if error.name() != "_ALL_BROKERS_DOWN" or not self._heard:
            self._heard = error.str()

    def _with_heard(self, found: str) -> str:
        return f"{found}: {self._heard}" if self._heard else found

    @contextmanager
    def _translated(self, operation: str) -> Iterator[None]:
        """Translate the errors of the client."""
        from confluent_kafka import KafkaException

        try:
            yield
        except KafkaException as raised:
            error = raised.args[0]
            if self._producer is not None:
                # It is a poll that calls the callbacks; a fatal error is raised instead, and is
                # the cause of all others.
                try:
                    self._producer.poll(0)
                except KafkaException as fatal:
                    error = fatal.args[0]
            result = error_of(operation, error.name(), error.str())
            if not isinstance(result, SinkFenced) and self._failed is not None:
                result = error_of(operation, self._failed.name(), self._failed.str())
            if isinstance(result, SinkUnreachable) and self._forbidden:
                remedy = "correct the user and its password in conf"
                result = SinkRefused(operation, self._forbidden, remedy=remedy)
            elif isinstance(result, SinkUnreachable):
                result = SinkUnreachable(operation, self._with_heard(result.found))
            raise result from raised
        except BufferError as full:
            setting, remedy = "queue.buffering.max.messages", "let conf have the default"
            raise SinkNotFitting(operation, setting, str(full), remedy=remedy) from full
        except TimeoutError as late:
            raise SinkUnreachable(operation, self._with_heard("no answer in time")) from late


class _Deadline:
    """The time that is left for the calls of one operation."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds; the client takes 0 and less for other things than a wait that has ended."""
        return max(0.05, self._end - time.monotonic())


def _setting(admin: AdminClient, topic: str, setting: str, deadline: _Deadline) -> str | None:
    """Return a setting of a topic; None if the cluster does not let the feed read it."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import ConfigResource  # type: ignore[attr-defined]

    resource = ConfigResource("topic", topic)
    wait = deadline.left
    [answer] = admin.describe_configs([resource], request_timeout=wait).values()
    try:
        found = answer.result(wait + _MORE).get(setting)
    except KafkaException as error:
        if error.args[0].name() in ("_TIMED_OUT", "_TRANSPORT"):
            raise
        return None
    return None if found is None or found.value is None else str(found.value)


def _end_of(admin: AdminClient, topic: str, deadline: _Deadline) -> int:
    """Return the offset after the last record, whether its transaction has ended or not."""
    from confluent_kafka import IsolationLevel, TopicPartition
    from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]

    latest, wait = OffsetSpec.latest(), deadline.left  # type: ignore[no-untyped-call]
    [answer] = admin.list_offsets(
        {TopicPartition(topic, 0): latest},
        isolation_level=IsolationLevel.READ_UNCOMMITTED,
        request_timeout=wait,
    ).values()
    return int(answer.result(wait + _MORE).offset)


def _message_of(error: BaseException) -> str:
    return str(getattr(error.args[0], "str", lambda: error)())
