"""CloudEvents: changes as events of the CloudEvents specification, version 1.0."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from json.encoder import encode_basestring
from typing import Literal, TypeAlias
from urllib.parse import quote

from pgreplkit.feeds.change import FeedChange, FeedOperation, FeedSource
from pgreplkit.feeds.destinations import Destination, Destinations
from pgreplkit.feeds.encoding.plain import MESSAGES, ROWS, Messages, keyed, row_members
from pgreplkit.feeds.encoding.rows import RowOptions, failed
from pgreplkit.feeds.encoding.tables import RowEncoding
from pgreplkit.feeds.encoding.values import commit_micros, converter, instant, rules_of
from pgreplkit.feeds.message import FeedMessage
from pgreplkit.values.flags import checked_flags

_MODES = ("structured", "binary")
_PREFIXES = ("ce-", "ce_")
_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
_UNSAFE = re.compile(r'[^!-~]|["%]')
_JSON = "application/json"
_STRUCTURED = (("content-type", "application/cloudevents+json; charset=UTF-8"),)
_TYPES = {operation: f"pgreplkit.{operation.value}" for operation in FeedOperation}

_Attributes: TypeAlias = tuple[tuple[str, str], ...]


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
        self._encoding: RowEncoding[_Attributes] = RowEncoding(
            RowOptions(fill=fill, tombstones=tombstones, keys=keys),
            Destinations(destination, messages),
            partial(converter, rules=rules_of(times, json)),
            lambda source, table: _constant(source, f"{table.schema}.{table.name}"),
        )

    def encode(self, change: FeedChange) -> Messages:
        """Return the messages of a change.

        Raises: EncodingFailed for values that cannot be encoded.
        """
        encoding, operation = self._encoding, change.operation
        if operation is FeedOperation.MESSAGE:
            constant = _constant(change.source, change.prefix)
            headers, body = self._event(change, constant, change.content, None)
            return FeedMessage(encoding.destinations.of(change, None), None, body, headers)
        if operation is FeedOperation.TRUNCATE:
            messages: list[FeedMessage] = []
            for place, table in enumerate(change.tables):
                prepared = encoding.of(change, table)
                # One change becomes several events, and each needs an id.
                headers, body = self._event(change, prepared.constant, None, None, place)
                destination = encoding.destination(change, prepared)
                messages.append(FeedMessage(destination, None, body, headers))
            return messages
        try:
            prepared = encoding.of(change, change.table)
            form = prepared.form
            gone = operation is FeedOperation.DELETE
            key = form.key(change.old if gone else form.new(change))
            data = f"{{{row_members(change, form)}}}"
            headers, body = self._event(change, prepared.constant, data, key)
            return keyed(change, form, encoding.destination(change, prepared), body, headers)
        except ValueError as error:
            raise failed(change, change.table, error) from error

    def _event(
        self,
        change: FeedChange,
        constant: _Attributes,
        data: str | bytes | None,
        key: bytes | None,
        place: int = 0,
    ) -> tuple[tuple[tuple[str, str], ...], bytes]:
        """Return the headers and the body of an event."""
        attributes = (*constant, *_attributes(change, key, place))
        # Only the content of a logical message is bytes, and its format is the application's.
        content_type = _JSON if isinstance(data, str) else "application/octet-stream"
        if self._is_binary:
            prefix, is_kafka = self._prefix, self._prefix == "ce_"
            headers = [
                # Kafka's headers are bytes, in which the binding wants plain UTF-8.
                (prefix + name, value if is_kafka else _quoted(value))
                for name, value in attributes
            ]
            if data is not None:
                headers.append(("content-type", content_type))
            return tuple(headers), data.encode() if isinstance(data, str) else data or b""
        members = [f'"{name}":{encode_basestring(value)}' for name, value in attributes]
        if isinstance(data, str):
            members += [f'"datacontenttype":"{_JSON}"', f'"data":{data}']
        elif data is not None:
            encoded = b64encode(data).decode()
            members += [f'"datacontenttype":"{content_type}"', f'"data_base64":"{encoded}"']
        return _STRUCTURED, f"{{{','.join(members)}}}".encode()


def _constant(source: FeedSource, subject: str) -> _Attributes:
    """Return the attributes that all events of a table have."""
    # The source is a URI, and a database may have any name.
    database = quote(source.database, safe="")
    of = ("specversion", "1.0"), ("source", f"/postgresql/{source.system_id}/{database}")
    return (*of, ("subject", subject)) if subject else of


def _attributes(change: FeedChange, key: bytes | None, place: int) -> _Attributes:
    name = f"{change.source.system_id}/{change.lsn}/{change.number}"
    # Not the timeline: a change that is read again after a failover must keep its id.
    attributes = [
        ("id", f"{name}.{place}" if place else name),
        ("type", _TYPES[change.operation]),
        # This and partitionkey are documented extensions; the texts sort as the changes do.
        ("sequence", f"{int(change.lsn):016X}-{change.number:010}"),
    ]
    if change.microseconds:
        attributes.append(("time", _time(change.microseconds)))
    if key is not None:
        attributes.append(("partitionkey", key.decode()))
    return tuple(attributes)


@lru_cache(maxsize=8)
def _time(microseconds: int) -> str:
    return instant(commit_micros(microseconds))


def _quoted(value: str) -> str:
    """Return a value as the HTTP binding, which that of NATS follows, writes it in a header."""
    return quote(value, safe=_SAFE) if _UNSAFE.search(value) else value
