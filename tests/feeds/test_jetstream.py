"""Subjects of NATS, and the streams that a feed refuses."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from pgreplkit.errors import SinkFenced, SinkNotFitting, SinkRefused, SinkUnreachable
from pgreplkit.feeds import JetStream
from pgreplkit.feeds.frames import BATCH, COMMIT
from pgreplkit.feeds.jetstream import (
    StreamFacts,
    checked_servers,
    error_of,
    insist_on_fitting,
    is_forbidden,
    is_inside_batch,
    is_stream_name,
    is_subject,
    matches,
    position_subject,
)

FITTING = StreamFacts(
    name="CDC",
    retention="limits",
    discard="old",
    storage="file",
    max_age=0,
    max_messages=-1,
    max_bytes=-1,
    max_per_subject=-1,
    max_message=-1,
    answers=True,
    is_sealed=False,
    copies_others=False,
    allows_atomic=True,
    knows_atomic=True,
)


@pytest.mark.parametrize(
    ("pattern", "subject", "expected"),
    [
        ("cdc.>", "cdc.a", True),
        ("cdc.>", "cdc.a.b", True),
        ("cdc.>", "cdc", False),
        (">", "a", True),
        ("cdc.*.b", "cdc.a.b", True),
        ("cdc.*.b", "cdc.a.c", False),
        ("cdc.*", "cdc.a.b", False),
        ("cdc.a", "cdc.a", True),
        ("cdc.a.b", "cdc.a", False),
    ],
)
def test_a_subject_matches_the_wildcards_of_a_stream(
    pattern: str, subject: str, expected: bool
) -> None:
    assert matches(pattern, subject) == expected


@pytest.mark.parametrize(
    "subject", ["", "a..b", "a.", ".a", "a b", "a.*", "a.>", "$JS.a", "a\n", "a" * 3001]
)
def test_names_that_nats_forbids_are_not_subjects(subject: str) -> None:
    assert not is_subject(subject)
    assert is_subject("cdc.public.t")
    assert is_subject("a" * 3000)


@pytest.mark.parametrize("name", ["", "a b", "a.b", "*", ">", "a/b", "a\\b", "a\n", "é" * 128])
def test_a_name_that_no_stream_can_have_is_refused_before_anything_is_asked(name: str) -> None:
    assert is_stream_name("CDC")
    assert is_stream_name("é" * 127)
    assert not is_stream_name(name)
    with pytest.raises(ValueError, match="stream is not the name of a stream"):
        JetStream("nats://a", name)
    with pytest.raises(TypeError, match="stream must be a str, not int"):
        JetStream("nats://a", 7)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "server",
    [
        *("", "nats://", "nats://a:b", "nats://a:99999", "nats://a:0", "nats://[::1", "http://a"),
        *("a,b", "nats://a:1,nats://b:1", "a b", "nats://joe:secret@a:b", "a\n"),
    ],
)
def test_an_address_that_is_no_servers_is_refused_without_repeating_it(server: str) -> None:
    for servers in (server, ["nats://a", server]):
        with pytest.raises(ValueError, match="not the address of a NATS server") as refused:
            JetStream(servers, "CDC")
        assert "secret" not in str(refused.value)


def test_the_address_of_a_server_may_be_short() -> None:
    addresses = ["a", "a:4222", "nats://joe:secret@a", "tls://a:1", "wss://a", "nats://[::1]:1"]
    assert checked_servers(addresses) == tuple(addresses)
    assert checked_servers("a") == ("a",)
    for servers, kind in ((5, TypeError), ([5], TypeError), ([], ValueError)):
        with pytest.raises(kind):
            checked_servers(servers)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "number", "expected"),
    [
        (400, 10071, SinkFenced),
        (400, 10164, SinkFenced),
        (400, 10077, SinkUnreachable),
        (503, 10008, SinkUnreachable),
        (400, 10065, SinkRefused),
        (500, 10052, SinkRefused),
    ],
)
def test_an_error_that_would_come_again_differs_from_one_that_may_pass(
    code: int, number: int, expected: type[Exception]
) -> None:
    error = error_of("use it", code, number, "subjects overlap")
    assert type(error) is expected
    assert f"subjects overlap (error {number})" in str(error)


def test_a_position_has_a_subject_below_a_wildcard() -> None:
    assert position_subject(["cdc.a", "cdc.>"], "shop") == "cdc._position.shop"
    assert position_subject([">"], "shop") == "_position.shop"
    assert position_subject(["cdc.*"], "shop") is None
    below = position_subject(["cdc.*.x.>"], "shop")
    assert below == "cdc._position.x._position.shop"
    assert is_subject(below)
    assert matches("cdc.*.x.>", below)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ("nats: 'Authorization Violation'", True),
        ("nats: 'User Authentication Expired'", True),
        ('nats: permissions violation for publish to "cdc.a"', True),
        ("nats: unexpected EOF", False),
    ],
)
def test_a_refusal_of_the_user_differs_from_a_lost_connection(found: str, expected: bool) -> None:
    assert is_forbidden(found) == expected


def test_the_last_message_of_a_batch_commits_it() -> None:
    assert is_inside_batch({BATCH: "1"})
    assert not is_inside_batch({BATCH: "1", COMMIT: "1"})
    assert not is_inside_batch({})


@pytest.mark.parametrize(
    ("setting", "facts"),
    [
        ("sealed", {"is_sealed": True}),
        ("sources", {"copies_others": True}),
        ("no_ack", {"answers": False}),
        ("max_msg_size", {"max_message": 1023}),
        ("storage", {"storage": "memory"}),
        ("retention", {"retention": "workqueue"}),
        ("retention", {"retention": "interest"}),
        ("allow_atomic", {"allows_atomic": False}),
        ("max_age", {"max_age": 86400.0}),
        ("max_msgs", {"max_messages": 1000}),
        ("max_bytes", {"max_bytes": 1000}),
        ("max_msgs_per_subject", {"max_per_subject": 1}),
    ],
)
def test_a_stream_that_loses_messages_is_refused(setting: str, facts: dict[str, Any]) -> None:
    insist_on_fitting(FITTING, may_discard=False)
    stream = attrs.evolve(FITTING, **facts)
    with pytest.raises(SinkNotFitting, match="could not use the stream 'CDC'") as raised:
        insist_on_fitting(stream, may_discard=False)
    assert raised.value.setting == setting
    assert raised.value.remedy
    if setting in ("storage", "max_age", "max_msgs", "max_bytes", "max_msgs_per_subject"):
        insist_on_fitting(stream, may_discard=True)


def test_a_server_without_atomic_batches_fits() -> None:
    older = attrs.evolve(FITTING, knows_atomic=False, allows_atomic=False)
    insist_on_fitting(older, may_discard=False)


def test_a_full_stream_that_refuses_new_messages_loses_none() -> None:
    full = attrs.evolve(FITTING, max_bytes=1000, max_messages=10, max_message=1024, discard="new")
    insist_on_fitting(full, may_discard=False)


def test_a_position_must_last_longer_than_the_feed_needs_to_store_it_again() -> None:
    with pytest.raises(SinkNotFitting, match="its max_age is 5 s"):
        insist_on_fitting(attrs.evolve(FITTING, max_age=5.0), may_discard=True)
