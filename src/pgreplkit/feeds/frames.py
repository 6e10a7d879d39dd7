"""The messages of a batch as a client of NATS sends them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pgreplkit.errors import SinkRefused
from pgreplkit.feeds.message import ID, FeedMessage
from pgreplkit.values.lsn import LSN

KEY, TOMBSTONE = "Pgreplkit-Key", "Pgreplkit-Tombstone"
"""Headers of a message: its key, and whether its key is deleted."""
EXPECTED = "Nats-Expected-Last-Sequence"
_RESERVED = "nats-", "pgreplkit-"
"""Beginnings of headers with which NATS drops or replaces messages, or the feed finds its
position."""
BATCH, COMMIT = "Nats-Batch-Id", "Nats-Batch-Commit"
"""Headers of a message of an atomic batch, which the server keeps; the last one has both."""


def message_headers(message: FeedMessage, shown: str) -> Iterator[tuple[str, str]]:
    """Yield the headers of a message; ``shown`` is the name of its change.

    Raises: SinkRefused.
    """
    for name, value in message.headers:
        # A line break would end the header, and begin another one.
        if ":" in name or any(mark in name or mark in value for mark in "\r\n"):
            operation = f"send a message to {message.destination!r}"
            raise SinkRefused(operation, f"NATS has no header {name!r} with the value {value!r}")
        if name.casefold().startswith(_RESERVED):
            operation = f"send a message to {message.destination!r}"
            found = f"the header {name!r} is one of NATS or of the feed itself"
            raise SinkRefused(operation, found, remedy="let the encoder use another name")
        yield name, value
    yield ID, shown
    if message.key is not None:
        yield KEY, _shown(message.key)
    if message.body is None:
        yield TOMBSTONE, "true"


def _shown(key: bytes) -> str:
    """Return a key as the value of a header."""
    text = key.decode("utf-8", "backslashreplace")
    return text.replace("\r", "\\r").replace("\n", "\\n")


def batch_frames(
    messages: Sequence[FeedMessage], names: Sequence[tuple[LSN, int]], batch: str, expected: int
) -> Iterator[bytes]:
    """Yield the frames of the messages that begin an atomic batch, one HPUB for each.

    The first one expects the stream's last sequence to be ``expected``.

    Raises: SinkRefused.
    """
    # A client that puts the headers of each message into a mapping takes four times as long.
    lines = f"NATS/1.0\r\n{BATCH}: {batch}\r\n{EXPECTED}: {expected}\r\n"
    lsn, shown = None, ""
    for number, (message, name) in enumerate(zip(messages, names, strict=True), 1):
        if name[0] is not lsn:
            lsn = name[0]
            shown = str(lsn)
        key, sequence = message.key, f"{lines}Nats-Batch-Sequence: {number}\r\n"
        if message.headers or key is None or message.body is None:
            found = message_headers(message, f"{shown} {name[1]}")
            others = "".join([f"{header}: {value}\r\n" for header, value in found])
            headers = f"{sequence}{others}\r\n".encode()
        else:
            # The usual message, without the generator.
            headers = f"{sequence}{ID}: {shown} {name[1]}\r\n{KEY}: {_shown(key)}\r\n\r\n".encode()
        body = message.body or b""
        size = len(headers)
        subject = message.destination.encode()
        yield b"HPUB %b %d %d\r\n%b%b\r\n" % (subject, size, size + len(body), headers, body)
        if number == 1:
            lines = f"NATS/1.0\r\n{BATCH}: {batch}\r\n"
