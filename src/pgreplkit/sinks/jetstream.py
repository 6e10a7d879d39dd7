"""JetStream: a sink that stores messages in a stream of NATS JetStream."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from pgreplkit._text import one_line
from pgreplkit.errors import (
    FeedError,
    InvalidFeedPosition,
    SinkFenced,
    SinkNotFitting,
    SinkRefused,
    SinkUnreachable,
)
from pgreplkit.errors.extras import needs_extra
from pgreplkit.feeds.batches import FeedBatch
from pgreplkit.feeds.frames import BATCH, COMMIT, EXPECTED, batch_frames, message_headers
from pgreplkit.feeds.jetstream import (
    HEADERS_SIZE,
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
from pgreplkit.feeds.message import FeedMessage, id_of
from pgreplkit.feeds.position import FeedPosition
from pgreplkit.feeds.sink import SinkLimits
from pgreplkit.values.flags import checked_flags
from pgreplkit.values.lsn import LSN
from pgreplkit.values.seconds import Timeout, checked_seconds
from pgreplkit.values.several import several

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js.api import RawStreamMsg, StreamInfo

T = TypeVar("T")

FEED, POSITION = "Pgreplkit-Feed", "Pgreplkit-Position"
"""Headers of a batch's last message."""
_ATOMIC_SINCE = (2, 12)
_MOST = 1000
"""Messages of an atomic batch: the server's default limit."""
_HOLD = 150.0
"""Seconds: the server's default sync_interval is 2 minutes, before which messages may not be on
disk."""
_PAUSE = 0.01
"""Seconds: the server stores the rest of a batch within milliseconds."""


class JetStream:
    """A stream of NATS JetStream, which only one feed writes to.

    From NATS 2.12 on, the messages of a batch are one atomic batch, which expects the stream's last
    sequence to be the one that the feed knows. The last message has the position in its headers.
    An older server stores one message after the other, which is slow, and takes no change that
    becomes several messages. With ``subjects`` the stream is created if it does not exist.
    ``may_discard`` accepts a stream whose limits remove messages that no one has read, or that is
    in memory.

    ``hold`` is 150 seconds by default, since the server answers before messages are on disk; set
    it to 0 in ``Feed`` if the server has ``sync_interval: always``.
    """

    def __init__(
        self,
        servers: str | Iterable[str],
        stream: str,
        *,
        subjects: Iterable[str] | None = None,
        may_discard: bool = False,
        timeout: Timeout = 10.0,
    ) -> None:
        checked_flags(may_discard=may_discard)
        self._servers = checked_servers(servers)
        if not isinstance(stream, str):
            raise TypeError(f"stream must be a str, not {type(stream).__name__}")
        if not is_stream_name(stream):
            raise ValueError(f"stream is not the name of a stream: {stream!r}")
        self.stream: str = stream
        self._create = None if subjects is None else several(subjects, "subjects", at_least=1)
        self._may_discard, self._timeout = may_discard, checked_seconds(timeout, "timeout")
        self._client: Client | None = None
        self._closed, self._forbidden = asyncio.Event(), ""
        self._subjects: Sequence[str] = ()
        self._known: set[str] = set()
        """The destinations that were found to be subjects of the stream."""
        self._feed = self._position_subject = ""
        self._sequence = 0
        """The sequence of the stream's last message."""
        self._batch = 0
        # A batch that a killed feed has begun must not be continued by the batch of the next one.
        self._own = secrets.token_hex(8)
        self._limits = SinkLimits()

    @property
    def _operation(self) -> str:
        return f"use the stream {self.stream!r}"

    def limits(self) -> SinkLimits:
        """Return the limits of the open stream."""
        return self._limits

    async def open(self, feed: str) -> FeedPosition | None:
        """Connect, check the stream, and return the position in its last message.

        Raises: SinkUnreachable; SinkRefused; SinkNotFitting; SinkFenced.
        """
        await self.close()
        client = self._client = await self._connect()
        try:
            self._check(client, await self._asked(self._stream_info(client)), feed)
            self._feed = feed
            message = await self._last_message(client)
            return None if message is None else self._position_in(message)
        except BaseException:
            await self.close()
            raise

    async def _connect(self) -> Client:
        with needs_extra("nats", "nats"):
            from nats.errors import Error as NatsError
        failed: Exception | None = None
        # One after the other: without reconnections the client tries the first one only.
        for server in self._servers:
            try:
                return await self._connect_to(server)
            except (OSError, TimeoutError, NatsError) as error:
                failed = error
        operation = f"connect to NATS at {', '.join(map(_without_password, self._servers))}"
        found = "" if failed is None else _message_of(failed)
        if is_forbidden(found):
            remedy = "correct the user and its password"
            raise SinkRefused(operation, found, remedy=remedy) from failed
        raise SinkUnreachable(operation, found) from failed

    async def _connect_to(self, server: str) -> Client:
        from nats.aio.client import Client

        self._closed, self._forbidden = asyncio.Event(), ""
        closed, client = self._closed, Client()

        async def note_end() -> None:
            closed.set()

        async def note_error(error: Exception) -> None:
            # The server answers a forbidden subject with this error, and the call with nothing.
            if is_forbidden(str(error)):
                self._forbidden = _message_of(error)
                closed.set()

        try:
            async with asyncio.timeout(self._timeout):
                await client.connect(
                    servers=[server],
                    # A client that connects again by itself would publish the rest of a batch
                    # without its begin.
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=max(1, int(self._timeout)),
                    error_cb=note_error,
                    closed_cb=note_end,
                    disconnected_cb=note_end,
                )
        except BaseException:
            # The client leaves its connection open after a refusal. If it has none, it says so.
            with suppress(AssertionError):
                await client.close()
            raise
        return client

    async def _stream_info(self, client: Client) -> StreamInfo:
        from nats.js.api import StreamConfig
        from nats.js.errors import NotFoundError

        streams = client.jetstream(timeout=self._timeout)
        try:
            return await streams.stream_info(self.stream)
        except NotFoundError:
            if self._create is None:
                found, remedy = "it does not exist", "create it, or pass subjects=[…]"
                raise SinkNotFitting(self._operation, "stream", found, remedy=remedy) from None
        config = StreamConfig(name=self.stream, subjects=[*self._create])
        config.allow_atomic = _knows_atomic(client) or None
        return await streams.add_stream(config)

    def _check(self, client: Client, info: StreamInfo, feed: str) -> None:
        config = info.config
        facts = StreamFacts(
            name=self.stream,
            retention=str(config.retention or "limits"),
            discard=str(config.discard or "old"),
            storage=str(config.storage or "file"),
            max_age=config.max_age or 0.0,
            max_messages=config.max_msgs or -1,
            max_bytes=config.max_bytes or -1,
            max_per_subject=config.max_msgs_per_subject,
            max_message=config.max_msg_size or -1,
            answers=not config.no_ack,
            is_sealed=bool(config.sealed),
            copies_others=bool(config.mirror or config.sources),
            allows_atomic=bool(config.allow_atomic),
            knows_atomic=_knows_atomic(client),
        )
        insist_on_fitting(facts, may_discard=self._may_discard)
        self._subjects, self._known = config.subjects or (), set()
        subject = position_subject(self._subjects, feed)
        if subject is None:
            found = f"its subjects are {', '.join(self._subjects)}"
            remedy = "add a subject that ends in .>, below which the feed stores its position"
            raise SinkNotFitting(self._operation, "subjects", found, remedy=remedy)
        self._position_subject = subject
        # The server refuses larger messages, whatever the stream allows.
        largest = client.max_payload
        if (config.max_msg_size or -1) > 0:
            largest = min(largest, config.max_msg_size or largest)
        self._limits = SinkLimits(
            # Without atomic batches, only one message is stored with its position at once.
            messages=_MOST if facts.knows_atomic else 1,
            message_bytes=largest - HEADERS_SIZE,
            hold=_HOLD,
            position_every=facts.max_age or None,
        )

    async def _last_message(self, client: Client) -> RawStreamMsg | None:
        """Return the stream's last message; None if it has none, or removed it."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._timeout
        while True:
            info = await self._asked(self._stream_info(client))
            self._sequence = info.state.last_seq
            message = await self._asked(self._stored(client)) if self._sequence else None
            # A killed feed's batch can come now: the server shows its messages one by one.
            if message is None or not is_inside_batch(message.headers or {}) or clock() > deadline:
                return message
            await asyncio.sleep(_PAUSE)

    async def _stored(self, client: Client) -> RawStreamMsg | None:
        from nats.js.errors import NotFoundError

        streams = client.jetstream(timeout=self._timeout)
        try:
            return await streams.get_msg(self.stream, seq=self._sequence)
        except NotFoundError:
            # It was removed, and the position with it.
            return None

    def _position_in(self, message: RawStreamMsg) -> FeedPosition:
        headers = message.headers or {}
        found = f"message {self._sequence} of {message.subject!r} "
        if headers.get(FEED) != self._feed:
            found += f"is of the feed {headers[FEED]!r}" if FEED in headers else "is of no feed"
            remedy = "a stream takes one feed; remove what others wrote, or use another stream"
            raise SinkFenced(self._operation, found, remedy=remedy)
        try:
            return FeedPosition.parse(headers.get(POSITION, ""))
        except InvalidFeedPosition as error:
            raise SinkFenced(self._operation, f"{found}has no position: {error}") from None

    async def send(self, batch: FeedBatch) -> None:
        """Store a batch; see ``Sink``."""
        client = self._client
        if client is None:
            raise SinkUnreachable(self._operation, "it is not open")
        messages = batch.messages or (FeedMessage(self._position_subject, None, b""),)
        names = batch.names or ((batch.position.lsn, 0),)
        for subject in {message.destination for message in messages} - self._known:
            self._insist_on_subject(subject)
        # Also after an error: a batch whose id was used before could be continued by the server.
        self._batch += 1
        await self._asked(self._publish(client, messages, names, batch.position))

    def _insist_on_subject(self, subject: str) -> None:
        operation = f"send to the subject {subject!r}"
        if not is_subject(subject):
            raise SinkRefused(operation, "it is not a subject of NATS")
        if not any(matches(pattern, subject) for pattern in self._subjects):
            found = f"the stream {self.stream!r} has the subjects {', '.join(self._subjects)}"
            raise SinkRefused(operation, found)
        self._known.add(subject)

    async def _publish(
        self,
        client: Client,
        messages: Sequence[FeedMessage],
        names: Sequence[tuple[LSN, int]],
        position: FeedPosition,
    ) -> None:
        last = len(messages)
        batch = f"{self._own}-{self._batch}"
        headers = dict(message_headers(messages[-1], id_of(names[-1])))
        headers[FEED], headers[POSITION] = self._feed, str(position)
        if last == 1:
            headers[EXPECTED] = str(self._sequence)
        else:
            frames = batch_frames(messages[:-1], names[:-1], batch, self._sequence)
            # Only the commit is answered, so the others need no request. The client has no public
            # method for bytes that are made already.
            await client._send_command(b"".join(frames))
            headers[BATCH] = batch
            headers["Nats-Batch-Sequence"] = str(last)
            headers[COMMIT] = "1"
        answer = await client.request(
            messages[-1].destination,
            messages[-1].body or b"",
            timeout=self._timeout,
            headers=headers,
        )
        self._note(json.loads(answer.data))

    def _note(self, answer: Mapping[str, object]) -> None:
        """Note the sequence of an answer.

        Raises: SinkFenced; SinkUnreachable; SinkRefused.
        """
        error = answer.get("error")
        if error is None:
            self._sequence = int(str(answer["seq"]))
            return
        facts = error if isinstance(error, Mapping) else {}
        code, number = (int(str(facts.get(name, 0))) for name in ("code", "err_code"))
        operation = f"store messages in the stream {self.stream!r}"
        raise error_of(operation, code, number, str(facts.get("description", error)))

    async def _asked(self, call: Coroutine[object, object, T]) -> T:
        """Return the result of a call, unless the connection is lost or it takes too long.

        Raises: SinkUnreachable; SinkRefused.
        """
        from nats.errors import Error as NatsError
        from nats.js.errors import APIError

        # The client itself lets a call wait for its timeout after the connection is lost.
        job, end = asyncio.ensure_future(call), asyncio.ensure_future(self._closed.wait())
        try:
            await asyncio.wait(
                [job, end], timeout=self._timeout, return_when=asyncio.FIRST_COMPLETED
            )
            if not job.done() and self._forbidden:
                remedy = "allow the subject to the user"
                raise SinkRefused(self._operation, self._forbidden, remedy=remedy)
            if not job.done():
                found = "the connection is lost" if end.done() else "it did not answer in time"
                raise SinkUnreachable(self._operation, found)
            return job.result()
        except FeedError:
            raise
        except APIError as error:
            # Of a stream to be created, for example: its subjects may be those of another one.
            code, number = error.code or 0, error.err_code or 0
            found = error.description or _message_of(error)
            raise error_of(self._operation, code, number, found) from error
        except (OSError, TimeoutError, NatsError) as error:
            raise SinkUnreachable(self._operation, _message_of(error)) from error
        finally:
            end.cancel()
            job.cancel()

    async def close(self) -> None:
        """Disconnect."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def __repr__(self) -> str:
        return f"<JetStream {self.stream!r}>"


def _knows_atomic(client: Client) -> bool:
    version = client.connected_server_version
    return (version.major, version.minor) >= _ATOMIC_SINCE


def _message_of(error: BaseException) -> str:
    return one_line(error) or type(error).__name__


def _without_password(server: str) -> str:
    """Return a server's address without the user and the password before it."""
    scheme, has_scheme, rest = server.rpartition("://")
    return f"{scheme}{has_scheme}{rest.rpartition('@')[2]}"
