"""PlainJson: changes as JSON objects."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from json.encoder import encode_basestring
from typing import Literal, TypeAlias

from pgreplkit.feeds.change import FeedChange, FeedOperation, FeedSource
from pgreplkit.feeds.destinations import Destination, Destinations
from pgreplkit.feeds.encoding.rows import RowForm, RowOptions, failed
from pgreplkit.feeds.encoding.tables import RowEncoding
from pgreplkit.feeds.encoding.values import commit_micros, converter, instant, rules_of
from pgreplkit.feeds.message import FeedMessage
from pgreplkit.protocol.pgoutput.tables import Table
from pgreplkit.values.flags import checked_flags

Messages: TypeAlias = FeedMessage | Sequence[FeedMessage] | None

ROWS = "cdc.{db}.{schema}.{table}"
MESSAGES = "cdc.{db}.{prefix}"


class PlainJson:
    """Encodes each change as a JSON object with the row, and where the change comes from.

    ``destination`` is a template with ``{db}``, ``{schema}`` and ``{table}``, or a function of the
    change and its table; ``messages`` is the template for logical messages, with ``{db}`` and
    ``{prefix}``. ``keys`` names the key columns of tables with REPLICA IDENTITY FULL, by
    ``schema.table``.

    Raises: InvalidDestination; TypeError; ValueError.
    """

    def __init__(
        self,
        destination: Destination = ROWS,
        *,
        messages: str = MESSAGES,
        times: Literal["iso", "micros"] = "iso",
        json: Literal["embedded", "text"] = "embedded",
        fill: Literal["none", "old"] = "none",
        tombstones: bool = False,
        keys: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        checked_flags(tombstones=tombstones)
        self._encoding: RowEncoding[Mapping[FeedOperation, str]] = RowEncoding(
            RowOptions(fill=fill, tombstones=tombstones, keys=keys),
            Destinations(destination, messages),
            partial(converter, rules=rules_of(times, json)),
            _heads,
        )

    def encode(self, change: FeedChange) -> Messages:
        """Return the messages of a change.

        Raises: EncodingFailed for values that cannot be encoded.
        """
        encoding, operation = self._encoding, change.operation
        if operation is FeedOperation.MESSAGE:
            body = f'{{"op":"message",{_place(change)},{content_of(change)}}}'
            return FeedMessage(encoding.destinations.of(change, None), None, body.encode())
        if operation is FeedOperation.TRUNCATE:
            return [
                FeedMessage(
                    encoding.destination(change, prepared),
                    None,
                    f"{prepared.constant[operation]}{_place(change)}}}".encode(),
                )
                for prepared in (encoding.of(change, table) for table in change.tables)
            ]
        try:
            prepared = encoding.of(change, change.table)
            # Joined from prepared texts: json.dumps would cost more than all the rest of a row.
            body = f"{prepared.constant[operation]}{row_members(change, prepared.form)}"
            body = f"{body},{_place(change)}}}"
            destination = encoding.destination(change, prepared)
            return keyed(change, prepared.form, destination, body.encode(), ())
        except ValueError as error:
            raise failed(change, change.table, error) from error


def row_members(change: FeedChange, form: RowForm) -> str:
    """Return the members of a JSON object that are a row: row, old, unchanged.

    Raises: ValueError.
    """
    if change.operation is FeedOperation.DELETE:
        return f'"old":{form.old(change)}'
    new = form.new(change)
    body = f'"row":{form.row(new)}'
    old, unchanged = form.old(change), form.unchanged(new)
    # The server sends old values only if the key changed, or with REPLICA IDENTITY FULL.
    if old is not None:
        body = f'{body},"old":{old}'
    return f'{body},"unchanged":{unchanged}' if unchanged else body


def content_of(change: FeedChange) -> str:
    """Return the members of a JSON object that are a logical message: prefix, content.

    A content that is not UTF-8 becomes ``content_base64``.
    """
    prefix = f'"prefix":{encode_basestring(change.prefix)}'
    try:
        return f'{prefix},"content":{encode_basestring(change.content.decode())}'
    except UnicodeDecodeError:
        # Another name, so that a reader never takes encoded bytes for a text.
        return f'{prefix},"content_base64":"{b64encode(change.content).decode()}"'


def keyed(
    change: FeedChange,
    form: RowForm,
    destination: str,
    body: bytes,
    headers: tuple[tuple[str, str], ...],
) -> Messages:
    """Return the message of a row with its key, and the tombstone of a key that no longer exists.

    An UPDATE that changes the key leaves the old key without a row.

    Raises: ValueError.
    """
    if change.operation is FeedOperation.DELETE:
        key = form.key(change.old)
        message = FeedMessage(destination, key, body, headers)
        if key is None or not form.has_tombstones:
            return message
        return message, FeedMessage(destination, key, None)
    key = form.key(form.new(change))
    message = FeedMessage(destination, key, body, headers)
    # Without old values the key did not change.
    if key is None or change.old is None or not form.has_tombstones:
        return message
    before = form.key(change.old)
    if before == key:
        return message
    # The tombstone first: if a consumer stops between the two, no row is under two keys.
    return FeedMessage(destination, before, None), message


def _heads(source: FeedSource, table: Table) -> Mapping[FeedOperation, str]:
    schema, name = encode_basestring(table.schema), encode_basestring(table.name)
    return {
        operation: f'{{"op":"{operation.value}","schema":{schema},"table":{name},'
        for operation in FeedOperation
    }


def _place(change: FeedChange) -> str:
    """Return the members of a JSON object that name a change."""
    of = _of_transaction(change.xid, change.microseconds)
    return f'"lsn":"{change.lsn}","n":{change.number},{of}'


# The changes of a transaction share it, and few transactions are encoded at a time.
@lru_cache(maxsize=8)
def _of_transaction(xid: int, microseconds: int) -> str:
    time = f',"time":"{instant(commit_micros(microseconds))}"' if microseconds else ""
    return f'"xid":{xid}{time}'
