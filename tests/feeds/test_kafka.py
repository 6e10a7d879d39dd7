"""Topics of Kafka, the settings of its clients, and the errors that a feed meets."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from pgreplkit import LSN
from pgreplkit.errors import (
    ExtraMissing,
    FeedError,
    SinkFenced,
    SinkNotFitting,
    SinkRefused,
    SinkUnreachable,
)
from pgreplkit.feeds import FeedMessage, Kafka
from pgreplkit.feeds.kafka import (
    consumer_conf,
    error_of,
    insist_on_compacted,
    insist_on_size,
    is_topic,
    largest_message,
    producer_conf,
    record_headers,
)

CONF = {"bootstrap.servers": "one:9092,two:9092", "sasl.password": "secret"}


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("shop.public.users-2", True),
        ("a" * 249, True),
        ("a" * 250, False),
        ("", False),
        (".", False),
        ("..", False),
        ("shop:users", False),
        ("größe", False),
    ],
)
def test_names_that_kafka_forbids_are_recognized(name: str, is_one: bool) -> None:
    assert is_topic(name) is is_one


def test_a_producer_is_fenced_by_the_name_of_its_feed() -> None:
    conf = producer_conf(CONF, "shop", 10, transactional=True)
    assert conf["transactional.id"] == "pgreplkit.shop"
    assert conf["sasl.password"] == "secret"
    assert (conf["message.timeout.ms"], conf["transaction.timeout.ms"]) == (10_000, 30_000)
    assert conf["allow.auto.create.topics"] is False
    plain = producer_conf({**CONF, "message.timeout.ms": 5}, "shop", 10, transactional=False)
    assert "transactional.id" not in plain
    assert (plain["enable.idempotence"], plain["message.timeout.ms"]) == (True, 5)


def test_the_position_is_read_without_records_of_aborted_transactions() -> None:
    conf = consumer_conf({**CONF, "group.id": "of the program"}, "shop")
    assert conf["isolation.level"] == "read_committed"
    assert (conf["group.id"], conf["enable.auto.commit"]) == ("pgreplkit.shop", False)


def test_a_topic_that_takes_less_than_the_client_sends_is_refused() -> None:
    assert largest_message({}) == 1_000_000 - 512
    assert largest_message({"message.max.bytes": "2048"}) == 1536
    insist_on_size("t", {}, None)
    insist_on_size("t", {}, "1048588")
    insist_on_size("t", {"message.max.bytes": 2048}, "2048")
    with pytest.raises(SinkNotFitting, match=r"set message\.max\.bytes in conf to 999999"):
        insist_on_size("t", {}, "999999")


def test_a_topic_for_positions_must_be_compacted_and_no_more() -> None:
    insist_on_compacted("shop.position", "compact")
    insist_on_compacted("shop.position", None)
    for policy in ("delete", "compact,delete", ""):
        with pytest.raises(SinkNotFitting, match="which removes the feed's position; kafka-config"):
            insist_on_compacted("shop.position", policy)


def test_a_record_has_the_name_of_its_change() -> None:
    message = FeedMessage("t", b"7", b"{}", (("kind", "row"),))
    headers = record_headers(message, (LSN("0/5"), 3))
    assert headers == [("kind", "row"), ("Pgreplkit-Id", "0/5 3")]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("_FENCED", SinkFenced),
        ("PRODUCER_FENCED", SinkFenced),
        ("INVALID_PRODUCER_EPOCH", SinkFenced),
        ("MSG_SIZE_TOO_LARGE", SinkRefused),
        ("INVALID_RECORD", SinkRefused),
        ("TOPIC_AUTHORIZATION_FAILED", SinkRefused),
        ("_MSG_TIMED_OUT", SinkUnreachable),
        ("NOT_ENOUGH_REPLICAS", SinkUnreachable),
        ("_ALL_BROKERS_DOWN", SinkUnreachable),
    ],
)
def test_the_code_of_an_error_decides_whether_a_feed_tries_again(
    code: str, kind: type[FeedError]
) -> None:
    error = error_of("store messages", code, "found")
    assert type(error) is kind
    assert error.found.endswith("found")


def test_a_kafka_sink_shows_its_brokers_and_no_secrets() -> None:
    assert repr(Kafka(CONF)) == "<Kafka one:9092,two:9092>"


@pytest.mark.parametrize(
    ("conf", "options", "error", "text"),
    [
        ("localhost:9092", {}, TypeError, "conf must be a mapping, not str"),
        ({}, {}, ValueError, "conf has no bootstrap.servers"),
        ({"bootstrap.servers": ["one:9092"]}, {}, TypeError, "is a str, with commas"),
        ({**CONF, "transactional.id": "x"}, {}, ValueError, "conf sets transactional.id"),
        (CONF, {"position_topic": "a b"}, ValueError, "not the name of a topic: 'a b'"),
        (CONF, {"transactional": "no"}, TypeError, "transactional"),
        (CONF, {"timeout": -1}, ValueError, "timeout"),
    ],
)
def test_a_kafka_sink_refuses_wrong_settings(
    conf: Any, options: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        Kafka(conf, **options)


def test_a_client_that_is_missing_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(ExtraMissing, match=r"run: pip install 'pgreplkit\[kafka\]'"):
        asyncio.run(Kafka(CONF).open("shop"))


class Fenced:
    """A producer that finds out by its callbacks that another one has fenced it."""

    def __init__(self, found: Exception) -> None:
        self._found = found

    def poll(self, timeout: float) -> int:
        raise self._found

    def purge(self) -> None:
        pass

    def abort_transaction(self, timeout: float) -> None:
        raise self._found

    def flush(self, timeout: float) -> int:
        raise self._found


def test_a_fatal_error_that_comes_after_another_one_is_the_cause() -> None:
    kafka = pytest.importorskip("confluent_kafka")
    codes = kafka.KafkaError
    fatal = kafka.KafkaException(codes(codes._FENCED, "fenced by a newer instance", True))
    sink = Kafka(CONF)
    sink._producer = Fenced(fatal)  # type: ignore[assignment]
    first = kafka.KafkaException(codes(codes._STATE, "not allowed in this state"))
    with pytest.raises(SinkFenced, match="by a newer instance"), sink._translated("store messages"):
        raise first
    sink._close()
