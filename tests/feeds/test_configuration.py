"""The configuration file of the feeds' command."""

from __future__ import annotations

import inspect
import re
import signal
from pathlib import Path

import pytest

from pgreplkit.errors import PositionLost
from pgreplkit.feedcommand import main
from pgreplkit.feeds import (
    AsyncFeed,
    AsyncFleet,
    CloudEvents,
    DebeziumJson,
    FeedReport,
    FeedStatus,
    JetStream,
    Kafka,
    PlainJson,
    RedisStreams,
)
from pgreplkit.feeds.configuration import parse_configuration
from pgreplkit.supervised import DEFECT, DONE, FAILED, MISCONFIGURED, STUCK
from pgreplkit.values.rows import Rows

WHOLE = """
[feeds.orders]
source = "host=a password=secret"
publications = ["shop"]
snapshot = "initial"
encoder = "debezium"
hold = 2.5
messages = true

[feeds.orders.sink]
engine = "jetstream"
servers = ["nats://a", "nats://b"]
stream = "ORDERS"
timeout = 5

[feeds.users]
source = "host=b"
slot = "other"
publications = ["users"]

[feeds.users.encoder]
format = "cloudevents"
mode = "binary"
keys = { "public.users" = ["mail"] }

[feeds.users.sink]
engine = "redis"
url = "redis://a"
"""


def keys_of(*kinds: type) -> set[str]:
    """The names of the arguments of these classes."""
    return {name for kind in kinds for name in inspect.signature(kind).parameters}


SINKS = {"jetstream": JetStream, "kafka": Kafka, "redis": RedisStreams}
ENCODERS = keys_of(CloudEvents, DebeziumJson, PlainJson)
FEED = '[feeds.a]\nsource = ""\npublications = ["p"]\n'
SINK = '[feeds.a.sink]\nengine = "redis"\nurl = "redis://a"\n'
LEAST = f'{FEED}encoder = "plain"\n{SINK}'


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("[feeds.a]\nx = 1\n", keys_of(AsyncFeed)),
        (f"{FEED}[feeds.a.encoder]\nformat = 'plain'\nx = 1\n", ENCODERS),
        *(
            (f"{FEED}encoder = 'plain'\nsink = {{ engine = '{engine}', x = 1 }}\n", keys_of(kind))
            for engine, kind in (
                ("jetstream", JetStream),
                ("kafka", Kafka),
                ("redis", RedisStreams),
            )
        ),
    ],
)
def test_every_argument_is_a_key(text: str, known: set[str]) -> None:
    if "sink" not in text:
        text += SINK
    with pytest.raises(ValueError, match="unknown key 'x'") as refused:
        parse_configuration(text)
    assert {*str(refused.value).partition("known are ")[2].split(", ")} == known


def test_a_configuration_becomes_the_arguments_of_feeds_and_sinks() -> None:
    found = parse_configuration(WHOLE)
    orders, users = found["orders"], found["users"]
    assert (orders.source, orders.slot) == ("host=a password=secret", "orders")
    assert "secret" not in repr(found)
    assert orders.engine == "jetstream"
    assert orders.sink == {"servers": ["nats://a", "nats://b"], "stream": "ORDERS", "timeout": 5}
    options = dict(orders.options)
    assert isinstance(options.pop("encoder"), DebeziumJson)
    assert options == {
        "publications": ["shop"],
        "snapshot": "initial",
        "hold": 2.5,
        "messages": True,
    }
    assert (users.slot, users.engine, users.sink) == ("other", "redis", {"url": "redis://a"})
    assert isinstance(users.options["encoder"], CloudEvents)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("= 1", "not TOML"),
        ("", "'feeds' is missing"),
        ("feeds = 1", "'feeds' must be a table of tables"),
        ("[feeds]", "'feeds' is empty"),
        ("other = 1\n" + LEAST, "unknown key 'other'; known are feeds"),
        ("[feeds]\na = 1", "'feeds.a' must be a table, got 1"),
        (FEED + 'encoder = "plain"', "'sink' is missing in 'feeds.a'"),
        (FEED + SINK, "'encoder' is missing in 'feeds.a'"),
        (FEED + "nonsense = 1\n" + SINK, "unknown key 'nonsense' in 'feeds.a'; known are encoder"),
        (LEAST.replace('["p"]', '"p"'), "'feeds.a.publications' must be a list of strings"),
        (LEAST.replace('source = ""', "source = 1"), "'feeds.a.source' must be a string, got 1"),
        (FEED + 'hold = true\nencoder = "plain"\n' + SINK, "'feeds.a.hold' must be a number"),
        (FEED + 'encoder = "plain"\nsink = "redis"', "'feeds.a.sink' must be a table"),
        (FEED + "encoder = 1\n" + SINK, "'feeds.a.encoder' must be a string or a table"),
        (FEED + 'encoder = "xml"\n' + SINK, "'feeds.a.encoder.format' must be one of plain, cloud"),
        (
            LEAST.replace('"redis"', '"sqs"'),
            "'feeds.a.sink.engine' must be one of jetstream, kafka",
        ),
        (
            LEAST.replace('"redis"', '"kafka"'),
            "unknown key 'url' in 'feeds.a.sink'; known are conf",
        ),
        (LEAST.replace('"redis"', "[]"), r"'feeds.a.sink.engine' must be one of .*, got \[\]"),
        (FEED + "encoder = {format = []}\n" + SINK, r"'feeds.a.encoder.format' must .*, got \[\]"),
        (LEAST.replace("url", "uri"), "unknown key 'uri' in 'feeds.a.sink'"),
        (LEAST.replace('"redis"', '"jetstream"'), "unknown key 'url' in 'feeds.a.sink'"),
        (LEAST + "may_discard = 1", "'feeds.a.sink.may_discard' must be true or false, got 1"),
        (WHOLE.replace('"nats://a"', "1"), "'feeds.orders.sink.servers' must be a list of strings"),
        (WHOLE.replace('mode = "binary"', 'mode = "x"'), "'feeds.users.encoder': mode must be one"),
        (LEAST.replace('"plain"', '{format = "plain", mode = "x"}'), "'feeds.a.encoder': .*mode"),
    ],
)
def test_a_wrong_configuration_names_its_key(text: str, found: str) -> None:
    with pytest.raises(ValueError, match=found):
        parse_configuration(text)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"\xff\xfe", "is not UTF-8"),
        (LEAST.replace("[feeds.a", "[feeds.A").encode(), "'feeds.A': .*slot"),
        (FEED.encode() + b'snapshot = "x"\nencoder = "plain"\n' + SINK.encode(), "snapshot must"),
        ((LEAST + "timeout = -1").encode(), "'feeds.a.sink': timeout must"),
        (
            LEAST.replace('"redis"', '"kafka"').replace('url = "redis://a"', "conf = {}").encode(),
            "'feeds.a.sink': conf has no bootstrap.servers",
        ),
    ],
)
def test_the_command_says_what_is_wrong_in_its_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes, found: str
) -> None:
    file = tmp_path / "feeds.toml"
    file.write_bytes(content)
    assert main([str(file), "--check"]) == MISCONFIGURED
    assert re.search(found, caplog.text)
    assert main([str(tmp_path / "missing.toml")]) == MISCONFIGURED


def test_tables_are_added_to_a_feed_of_the_file(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "feeds.toml"
    file.write_text(LEAST.replace('source = ""', 'source = "host=/nonexistent"'))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    for given in (["b", "t"], ["a"]):
        assert main([str(file), "--add-tables", *given]) == MISCONFIGURED
        assert "--add-tables takes a feed and its tables; the feeds are a" in caplog.text
        caplog.clear()
    assert main([str(file), "--add-tables", "a", "t"]) == FAILED
    assert "the feed a: could not connect to" in caplog.text
    given_tables: list[str] = []

    async def added(feed: AsyncFeed, tables: list[str]) -> FeedReport:
        given_tables.extend(tables)
        return feed.report

    monkeypatch.setattr(AsyncFeed, "add_tables", added)
    assert main([str(file), "--add-tables", "a", "t", "s.u"]) == DONE
    assert given_tables == ["t", "s.u"]
    assert "copied_rows" in capsys.readouterr().out


def test_the_status_says_whether_a_later_check_may_succeed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "feeds.toml"
    file.write_text(LEAST.replace('source = ""', 'source = "host=/nonexistent"'))
    assert main([str(file), "--check"]) == FAILED
    assert "the feed a: could not connect to" in caplog.text
    monkeypatch.setattr(AsyncFeed, "check", lambda feed: feed.no_attribute)
    assert main([str(file), "--check"]) == DEFECT
    assert "no_attribute" in caplog.text


@pytest.mark.parametrize(
    ("errors", "status"),
    [
        ({}, DONE),
        ({"a": PositionLost("run the feed 'a'", None, None)}, STUCK),
        ({"a": PositionLost("run the feed 'a'", None, None), "b": KeyError("b")}, DEFECT),
    ],
)
def test_the_status_says_whether_a_feed_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, errors: dict[str, Exception], status: int
) -> None:
    async def ended(fleet: AsyncFleet) -> Rows[FeedStatus]:
        return fleet.status()

    file = tmp_path / "feeds.toml"
    file.write_text(LEAST)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(AsyncFleet, "errors", errors)
    # The fleet is stopped before it runs.
    monkeypatch.setattr(
        AsyncFleet, "_is_stopping", property(lambda _: True, lambda *_: None), False
    )
    assert main([str(file)]) == status
