"""CloudEvents: changes as events of the CloudEvents specification, version 1.0."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import partial
from json.encoder import encode_basestring
from typing import Literal
from urllib.parse import quote

from pgreplkit.feeds.change import FeedChange, FeedOperation
from pgreplkit.feeds.destinations import Destination, Destinations
from pgreplkit.feeds.encoding.plain import MESSAGES, ROWS, Messages, keyed, row_members
from pgreplkit.feeds.encoding.rows import RowOptions, failed
from pgreplkit.feeds.encoding.tables import RowEncoding
from pgreplkit.feeds.encoding.values import commit_micros, converter, instant, rules_of
from pgreplkit.feeds.message import FeedMessage
from pgreplkit.protocol.pgoutput.tables import Table
from pgreplkit.values.flags import checked_flags

_MODES = ("structured", "binary")
_PREFIXES = ("ce-", "ce_")
_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
"""The characters that the HTTP binding, which that of NATS follows, leaves in a header."""
_JSON = "application/json"


class CloudEvents:
    """Encodes each change as a CloudEvent.

    With ``mode="structured"`` the body is the whole event; with ``"binary"`` it is the data, and
    the attributes are headers, named ``ce-id`` as for NATS and HTTP, or with
    ``header_prefix="ce_"`` as for Kafka. The id is ``system identifier/LSN/number``, so that it is
    unique, and the same when a change is sent again. The other arguments are those of PlainJson.

    Raises: InvalidDestination; TypeError; ValueError.
    """

    def __init__(
        self,
        destination: Destination = ROWS,
        *,
        mode: Literal["structured", "binary"] = "structured",
        header_prefix: Literal["ce-", "ce_"] = "ce-",
        messages: str = MESSAGES,
        times: Literal["iso", "micros"] = "iso",
        json: Literal["embedded", "text"] = "embedded",
        fill: Literal["none", "old"] = "none",
        tombstones: bool = False,
        keys: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        checked_flags(tombstones=tombstones)
        for name, given, known in (
            ("mode", mode, _MODES),
            ("header_prefix", header_prefix, _PREFIXES),
        ):
            if given not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {given!r}")
        self._is_binary, self._prefix = mode == "binary", header_prefix
        self._encoding: RowEncoding[None] = RowEncoding(
            RowOptions(fill=fill, tombstones=tombstones, keys=keys),
            Destinations(destination, messages),
            partial(converter, rules=rules_of(times, json)),
            lambda source, table: None,
        )

    def encode(self, change: FeedChange) -> Messages:
        """Return the messages of a change.

        Raises: EncodingFailed for values that cannot be encoded.
        """
        encoding, operation = self._encoding, change.operation
        if operation is FeedOperation.MESSAGE:
            headers, body = self._event(change, change.prefix, change.content, None)
            return FeedMessage(encoding.destinations.of(change, None), None, body, headers)
        if operation is FeedOperation.TRUNCATE:
            messages: list[FeedMessage] = []
            for place, table in enumerate(change.tables):
                # One change becomes several events, and each needs an id.
                headers, body = self._event(change, _subject(table), None, None, place)
                destination = encoding.destination(change, encoding.of(change, table))
                messages.append(FeedMessage(destination, None, body, headers))
            return messages
        try:
            prepared = encoding.of(change, change.table)
            form = prepared.form
            gone = operation is FeedOperation.DELETE
            key = form.key(change.old if gone else form.new(change))
            data = f"{{{row_members(change, form)}}}"
            headers, body = self._event(change, _subject(change.table), data, key)
            return keyed(change, form, encoding.destination(change, prepared), body, headers)
        except ValueError as error:
            raise failed(change, change.table, error) from error

    def _event(
        self,
        change: FeedChange,
        subject: str,
        data: str | bytes | None,
        key: bytes | None,
        place: int = 0,
    ) -> tuple[tuple[tuple[str, str], ...], bytes]:
        """Return the headers and the body of an event."""
        attributes = _attributes(change, subject, key, place)
        content_type = _JSON if isinstance(data, str) else "application/octet-stream"
        if self._is_binary:
            is_kafka = self._prefix == "ce_"
            headers = [
                (f"{self._prefix}{name}", value if is_kafka else quote(value, safe=_SAFE))
                for name, value in attributes
            ]
            if data is not None:
                headers.append(("content-type", content_type))
            body = data.encode() if isinstance(data, str) else data or b""
            return tuple(headers), body
        members = [f'"{name}":{encode_basestring(value)}' for name, value in attributes]
        if isinstance(data, str):
            members += [f'"datacontenttype":"{_JSON}"', f'"data":{data}']
        elif data is not None:
            encoded = b64encode(data).decode()
            members += [f'"datacontenttype":"{content_type}"', f'"data_base64":"{encoded}"']
        headers = [("content-type", "application/cloudevents+json; charset=UTF-8")]
        return tuple(headers), f"{{{','.join(members)}}}".encode()


def _attributes(
    change: FeedChange, subject: str, key: bytes | None, place: int
) -> list[tuple[str, str]]:
    source = change.source
    # Not the timeline: a change that is read again after a failover must keep its id.
    id_ = f"{source.system_id}/{change.lsn}/{change.number}" + (f".{place}" if place else "")
    attributes = [
        ("specversion", "1.0"),
        ("id", id_),
        ("source", f"/postgresql/{source.system_id}/{quote(source.database, safe='')}"),
        ("type", f"pgreplkit.{change.operation.value}"),
    ]
    if subject:
        attributes.append(("subject", subject))
    if change.operation is not FeedOperation.READ:
        attributes.append(("time", instant(commit_micros(change.microseconds))))
    # These two are documented extensions; texts of one length sort as the changes do.
    attributes.append(("sequence", f"{int(change.lsn):016X}-{change.number:010}"))
    if key is not None:
        attributes.append(("partitionkey", key.decode()))
    return attributes


def _subject(table: Table) -> str:
    return f"{table.schema}.{table.name}"
