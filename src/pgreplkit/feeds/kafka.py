"""The topics of Kafka, and the settings of a cluster and a client that a feed can rely on."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

from pgreplkit.errors import FeedError, SinkFenced, SinkNotFitting, SinkRefused, SinkUnreachable
from pgreplkit.feeds.message import ID, FeedMessage, id_of
from pgreplkit.values.lsn import LSN

POSITION_SETTINGS: Mapping[str, str] = {
    "cleanup.policy": "compact",
    # Only closed segments are compacted: with the default, 1 GiB of positions would be kept.
    "segment.bytes": str(16 << 20),
}
"""The settings of the topic for positions."""
_HEADERS = 512
"""Bytes of the headers and the framing that are added to a message."""
_CLIENT_MAX = 1_000_000
"""The client's default message.max.bytes."""
# Errors are raised: the client would also write them to stderr. 2 is critical, and worse.
_QUIET: Mapping[str, object] = {"log_level": 2, "logger": logging.getLogger("pgreplkit.kafka")}
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}", re.ASCII)
_OWN = (
    "acks",
    "delivery.report.only.error",
    "enable.idempotence",
    "error_cb",
    "isolation.level",
    "on_delivery",
    "transactional.id",
)
_ADDRESSES = ("bootstrap.servers", "metadata.broker.list")
_FENCED = {
    "INVALID_PRODUCER_EPOCH",
    "PRODUCER_FENCED",
    "TRANSACTION_COORDINATOR_FENCED",
    "_FENCED",
}
_REFUSED = {
    "CLUSTER_AUTHORIZATION_FAILED",
    "INVALID_MSG",
    "INVALID_MSG_SIZE",
    "INVALID_RECORD",
    "INVALID_REQUIRED_ACKS",
    "INVALID_TRANSACTION_TIMEOUT",
    "MSG_SIZE_TOO_LARGE",
    "POLICY_VIOLATION",
    "RECORD_LIST_TOO_LARGE",
    "TOPIC_AUTHORIZATION_FAILED",
    "TOPIC_EXCEPTION",
    "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
    "UNKNOWN_TOPIC_OR_PART",
    "UNSUPPORTED_FOR_MESSAGE_FORMAT",
    "UNSUPPORTED_VERSION",
    "GROUP_AUTHORIZATION_FAILED",
    "ILLEGAL_SASL_STATE",
    "SASL_AUTHENTICATION_FAILED",
    "UNSUPPORTED_SASL_MECHANISM",
    "_AUTHENTICATION",
    "_INVALID_ARG",
    "_UNKNOWN_PARTITION",
    "_UNKNOWN_TOPIC",
    "_UNSUPPORTED_FEATURE",
}
"""Codes that the same messages would meet again."""


def is_topic(name: str) -> bool:
    """Return whether Kafka accepts ``name`` as a topic's name."""
    return _TOPIC.fullmatch(name) is not None and name not in (".", "..")


def checked_conf(conf: Mapping[str, object]) -> dict[str, object]:
    """Return a copy of the settings of a client.

    Raises: TypeError; ValueError for settings that the sink sets itself.
    """
    if not isinstance(conf, Mapping):
        raise TypeError(f"conf must be a mapping, not {type(conf).__name__}")
    taken = [name for name in _OWN if name in conf]
    if taken:
        raise ValueError(f"conf sets {', '.join(taken)}, which the sink sets itself")
    if not any(conf.get(name) for name in _ADDRESSES):
        raise ValueError("conf has no bootstrap.servers")
    for name in _ADDRESSES:
        # The client would take the text of a list for an address.
        if not isinstance(conf.get(name, ""), str):
            raise TypeError(f"conf[{name!r}] is a str, with commas between several addresses")
    return dict(conf)


def addresses(conf: Mapping[str, object]) -> str:
    """Return the addresses of the brokers."""
    return next(str(conf[name]) for name in _ADDRESSES if conf.get(name))


def producer_conf(
    conf: Mapping[str, object], feed: str, timeout: float, *, transactional: bool
) -> dict[str, object]:
    """Return the settings of a feed's producer."""
    milliseconds = max(1000, int(timeout * 1000))
    defaults: dict[str, object] = {
        **_QUIET,
        # A topic that a typing error has created would go unnoticed.
        "allow.auto.create.topics": False,
        "message.timeout.ms": milliseconds,
        # The clients in Java put a key into the same partition.
        "partitioner": "murmur2_random",
    }
    own: dict[str, object] = {"enable.idempotence": True, "delivery.report.only.error": True}
    if transactional:
        own["transactional.id"] = f"pgreplkit.{feed}"
        # Longer than a batch takes: after a crash, readers wait for it at most that long.
        defaults["transaction.timeout.ms"] = 3 * milliseconds
    return {**defaults, **conf, **own}


def consumer_conf(conf: Mapping[str, object], feed: str) -> dict[str, object]:
    """Return the settings of the consumer that reads a feed's position."""
    return {
        **_QUIET,
        **conf,
        # The client insists on a group, which it does not join.
        "group.id": f"pgreplkit.{feed}",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        # Otherwise the end of the topic is known half a second later.
        "fetch.wait.max.ms": 10,
        "isolation.level": "read_committed",
    }


def admin_conf(conf: Mapping[str, object]) -> dict[str, object]:
    """Return the settings of the client that asks for settings and offsets."""
    return {**_QUIET, **conf}


def largest_message(conf: Mapping[str, object]) -> int:
    """Return the most bytes of a message, as the client limits them."""
    return _client_max(conf) - _HEADERS


def insist_on_size(topic: str, conf: Mapping[str, object], limit: str | None) -> None:
    """Refuse a topic that takes less than the client sends at once, also of small messages.

    ``limit`` is its max.message.bytes; None if the cluster does not let the feed read it.

    Raises: SinkNotFitting.
    """
    if limit is not None and limit.isdecimal() and int(limit) < _client_max(conf):
        found = f"its max.message.bytes is {limit}, and the client sends {_client_max(conf)}"
        remedy = f"set message.max.bytes in conf to {limit}"
        operation = f"send to the topic {topic!r}"
        raise SinkNotFitting(operation, "max.message.bytes", found, remedy=remedy)


def _client_max(conf: Mapping[str, object]) -> int:
    return int(str(conf.get("message.max.bytes", _CLIENT_MAX)))


def insist_on_compacted(topic: str, policy: str | None) -> None:
    """Refuse a topic for positions that would lose the last one.

    ``policy`` is its cleanup.policy; None if the cluster does not let the feed read it.

    Raises: SinkNotFitting.
    """
    if policy is not None and policy.strip() != "compact":
        found = f"its cleanup.policy is {policy!r}, which removes the feed's position"
        remedy = (
            f"kafka-configs --alter --topic {topic} --add-config cleanup.policy=compact; or use"
            " another topic with position_topic=…"
        )
        operation = f"use the topic {topic!r} for positions"
        raise SinkNotFitting(operation, "cleanup.policy", found, remedy=remedy)


def record_headers(message: FeedMessage, name: tuple[LSN, int]) -> list[tuple[str, str]]:
    """Return the headers of a record: those of the message, and the name of its change."""
    return [*message.headers, (ID, id_of(name))]


def error_of(operation: str, code: str, found: str) -> FeedError:
    """Return the error for the code of a client's error."""
    if code in _FENCED:
        return SinkFenced(operation, f"another process has opened the feed: {found}")
    if code in _REFUSED:
        return SinkRefused(operation, found)
    return SinkUnreachable(operation, found)
