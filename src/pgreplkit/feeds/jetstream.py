"""The subjects of NATS, and the settings of a stream of JetStream that a feed can rely on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from urllib.parse import urlsplit

import attrs

from pgreplkit._text import counted
from pgreplkit.errors import FeedError, SinkFenced, SinkNotFitting, SinkRefused, SinkUnreachable
from pgreplkit.feeds.frames import BATCH, COMMIT
from pgreplkit.values.several import several

HEADERS_SIZE = 512
"""Bytes of the headers that are added to a message."""
_LEAST_AGE = 60.0
"""Seconds: with a shorter max_age the position would have to be stored all the time."""
_LEAST_SIZE = 2 * HEADERS_SIZE
_LONGEST_NAME, _LONGEST_SUBJECT = 255, 3000
"""Bytes. The server ends a connection on which a line, with subject and reply, is longer than
4096."""
_WRONG_SEQUENCE = {10071, 10164}
_LATER = {10005, 10023, 10025, 10047, 10077, 10118}
"""No suitable peers, insufficient resources, storage, maximum bytes, stream offline: the engine may
take the messages later."""


def error_of(operation: str, code: int, number: int, description: str) -> FeedError:
    """Return the error for an error that JetStream has answered, with its code and its number."""
    found = f"{description} (error {number})"
    if number in _WRONG_SEQUENCE:
        return SinkFenced(operation, f"another writer has stored messages: {found}")
    # The server is up, and cannot store now: the same messages may be stored later.
    if number in _LATER or code == 503:
        return SinkUnreachable(operation, found)
    return SinkRefused(operation, found)


_SCHEMES = ("nats", "tls", "ws", "wss")
_FORBIDDEN = ("authorization violation", "authentication", "permissions violation")


def is_forbidden(found: str) -> bool:
    """Return whether an error of NATS says that the server does not allow something to the user."""
    return any(words in found.casefold() for words in _FORBIDDEN)


def checked_servers(servers: str | Iterable[str]) -> tuple[str, ...]:
    """Return the addresses of servers.

    Raises: TypeError; ValueError, which does not repeat an address: a part may be a password.
    """
    found = (servers,) if isinstance(servers, str) else several(servers, "servers", at_least=1)
    for server in found:
        if not isinstance(server, str):
            raise TypeError(f"an address of servers must be a str, not {type(server).__name__}")
        try:
            parts = urlsplit(server if "://" in server else f"nats://{server}")
            is_address = parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_address = False
        if not is_address or any(mark in server for mark in ", ") or not server.isprintable():
            raise ValueError(
                "servers has a text that is not the address of a NATS server, such as"
                " nats://127.0.0.1:4222; several addresses are a list"
            )
    return found


def is_stream_name(name: str) -> bool:
    """Return whether a stream can have this name."""
    return (
        0 < len(name.encode("utf-8", "replace")) <= _LONGEST_NAME
        and name.isprintable()
        and not any(mark in name for mark in " .*>/\\")
    )


def is_inside_batch(headers: Mapping[str, str]) -> bool:
    """Return whether a message has these headers that is in an atomic batch, but not its last."""
    return BATCH in headers and COMMIT not in headers


def matches(pattern: str, subject: str) -> bool:
    """Return whether a subject matches one with the wildcards ``*`` and ``>``."""
    wanted, given = pattern.split("."), subject.split(".")
    for number, part in enumerate(wanted):
        # It stands for one or more tokens, never for none.
        if part == ">":
            return len(given) > number
        if number >= len(given) or part not in ("*", given[number]):
            return False
    return len(wanted) == len(given)


def is_subject(subject: str) -> bool:
    """Return whether a message can be published to a subject."""
    tokens = subject.split(".")
    return (
        len(subject) <= _LONGEST_SUBJECT
        and subject.isprintable()
        # Subjects with $ belong to the server: a message there would call its API.
        and not subject.startswith("$")
        and all(token and token not in ("*", ">") and " " not in token for token in tokens)
    )


def position_subject(subjects: Sequence[str], feed: str) -> str | None:
    """Return a subject of a stream for positions without messages; None if it has none."""
    for pattern in subjects:
        # Only there a subject of its own cannot be one of the users' destinations by accident.
        if pattern == ">" or pattern.endswith(".>"):
            # A subject to which messages are published has no wildcards.
            parts = ["_position" if part == "*" else part for part in pattern.split(".")[:-1]]
            return ".".join([*parts, "_position", feed])
    return None


@attrs.frozen(kw_only=True)
class StreamFacts:
    """The settings of a stream that matter to a feed."""

    name: str
    retention: str
    discard: str
    storage: str
    max_age: float
    """Seconds; 0 for no limit."""
    max_messages: int
    """-1 for no limit, as for the others."""
    max_bytes: int
    max_per_subject: int
    max_message: int
    is_sealed: bool
    answers: bool
    """Whether the server says that it has stored a message."""
    copies_others: bool
    """Whether the stream is a mirror, or has sources."""
    allows_atomic: bool
    knows_atomic: bool
    """Whether the server's version has atomic batches."""


def insist_on_fitting(stream: StreamFacts, *, may_discard: bool) -> None:
    """Refuse a stream that would lose or refuse messages.

    Raises: SinkNotFitting.
    """
    for setting, found, remedy in _problems(stream, may_discard=may_discard):
        raise SinkNotFitting(f"use the stream {stream.name!r}", setting, found, remedy=remedy)


def _problems(stream: StreamFacts, *, may_discard: bool) -> Iterator[tuple[str, str, str]]:
    edit = f"nats stream edit {stream.name}"
    # The order is that of the least possible repair: what no setting can change comes first.
    if stream.is_sealed:
        yield "sealed", "it is sealed, and takes no messages", "use another stream"
    if stream.copies_others:
        found = "it is a mirror or has sources: others write to it"
        yield "sources", found, "use a stream that only this feed writes to"
    if stream.retention != "limits":
        found = f"its retention is {stream.retention}, which removes messages, and the position"
        yield "retention", found, "use a stream with the retention limits"
    if not stream.answers:
        found = "with no_ack it does not say what it has stored"
        yield "no_ack", found, "use a stream without no_ack"
    if 0 < stream.max_message < _LEAST_SIZE:
        found = f"its max_msg_size is {stream.max_message}, and headers take {HEADERS_SIZE} bytes"
        yield "max_msg_size", found, f"{edit} --max-msg-size=-1"
    # An older server stores one message at a time.
    if stream.knows_atomic and not stream.allows_atomic:
        yield "allow_atomic", "it allows no atomic batches", f"{edit} --allow-batch"
    yield from _limits(stream, may_discard=may_discard, edit=edit)


def _limits(stream: StreamFacts, *, may_discard: bool, edit: str) -> Iterator[tuple[str, str, str]]:
    remedy = f"{edit} without that limit; or JetStream(…, may_discard=True), if that is intended"
    if 0 < stream.max_age < _LEAST_AGE:
        found = f"its max_age is {stream.max_age:g} s, and the position must last {_LEAST_AGE:g} s"
        yield "max_age", found, f"{edit} --max-age=1h"
    if may_discard:
        return
    if stream.storage == "memory":
        found = "it is in memory: a restart of the server loses its messages"
        remedy_of_memory = "use a stream in files; or JetStream(…, may_discard=True)"
        yield "storage", found, remedy_of_memory
    if stream.max_age:
        found = f"it removes messages after {stream.max_age:g} s, whether they were read or not"
        yield "max_age", found, remedy
    # A stream that refuses new messages when it is full loses none: the slot keeps the changes.
    limits: Iterable[tuple[str, int]] = (
        ("max_msgs", stream.max_messages),
        ("max_bytes", stream.max_bytes),
    )
    for setting, limit in limits:
        if limit > 0 and stream.discard == "old":
            found = f"beyond {limit} it removes old messages, whether they were read or not"
            yield setting, found, f"{edit} --discard=new; or {remedy}"
    if stream.max_per_subject > 0:
        found = f"it keeps {counted(stream.max_per_subject, 'message')} of a subject"
        yield "max_msgs_per_subject", found, remedy
