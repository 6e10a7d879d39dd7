"""RedisStreams: a sink that stores messages in streams of Redis."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pgreplkit.errors import (
    InvalidFeedPosition,
    SinkFenced,
    SinkNotFitting,
    SinkRefused,
    SinkUnreachable,
)
from pgreplkit.errors.extras import needs_extra
from pgreplkit.feeds.batches import FeedBatch
from pgreplkit.feeds.position import FeedPosition
from pgreplkit.feeds.redisstreams import (
    RedisFacts,
    address_of,
    entry_fields,
    entry_ids,
    error_of,
    insist_on_fitting,
)
from pgreplkit.feeds.sink import SinkLimits
from pgreplkit.values.flags import checked_flags
from pgreplkit.values.seconds import Timeout, checked_seconds

if TYPE_CHECKING:
    from redis.asyncio import Redis

_PREFIX = "pgreplkit:feed:"
"""The key of a feed's position begins with it."""
_LONGEST = 16 << 20
"""Bytes of a message: the server holds the arguments of a script in memory more than once."""
# A script runs alone, and is one transaction in the append-only file. It does not roll back, so
# everything that could fail is checked first: the position, the last ID of each stream, and whether
# the user may store a position, by storing the one that is there. IDs are compared as text, because
# numbers of Lua have 53 bits.
_STORE = """
local function padded(id)
  local high, low = string.match(id, '^(%d+)-(%d+)$')
  return string.rep('0', 20 - #high) .. high .. string.rep('0', 20 - #low) .. low
end
local stored = redis.call('GET', KEYS[1])
if (stored or '') ~= ARGV[1] then return 'fenced' end
if stored then redis.call('SET', KEYS[1], stored) end
local seen, at = {}, 3
while at <= #ARGV do
  local stream = KEYS[tonumber(ARGV[at])]
  if not seen[stream] then
    seen[stream] = true
    local kind = redis.call('TYPE', stream)['ok']
    if kind == 'stream' then
      local info = redis.call('XINFO', 'STREAM', stream)
      for field = 1, #info, 2 do
        if info[field] == 'last-generated-id' and padded(info[field + 1]) >= padded(ARGV[at + 1])
        then return 'later ' .. stream .. ' ' .. info[field + 1] end
      end
    elseif kind ~= 'none' then return 'kind ' .. stream .. ' ' .. kind end
  end
  at = at + 3 + tonumber(ARGV[at + 2])
end
at = 3
while at <= #ARGV do
  local last = at + 2 + tonumber(ARGV[at + 2])
  redis.call('XADD', KEYS[tonumber(ARGV[at])], ARGV[at + 1], unpack(ARGV, at + 3, last))
  at = last + 1
end
redis.call('SET', KEYS[1], ARGV[2])
return 'stored'
"""


class RedisStreams:
    """Streams of a Redis server; the destination of a message is the key of its stream.

    A script stores the messages of a batch and the position of the feed, unless another position is
    stored since. The ID of an entry is the end of its transaction, as a number, and the number of
    the change in it: Redis itself refuses an entry that is not later than the last one.

    Redis loses what it has answered if its machine loses power: up to a second with ``appendfsync
    everysec``. So ``hold`` is 5 seconds by default then, and 0 with ``always``. Messages that
    a failover to a replica has lost are sent again if they are not older than that; otherwise
    ``PositionLost`` is raised. ``may_discard`` accepts a server without an append-only file.
    """

    def __init__(self, url: str, *, may_discard: bool = False, timeout: Timeout = 10.0) -> None:
        checked_flags(may_discard=may_discard)
        if not isinstance(url, str):
            raise TypeError(f"url must be a str, not {type(url).__name__}")
        self._url, self._may_discard = url, may_discard
        self._address = address_of(url)
        self._timeout = checked_seconds(timeout, "timeout")
        self._client: Redis | None = None
        self._key = self._position = self._script = ""
        self._limits = SinkLimits()

    def limits(self) -> SinkLimits:
        """Return the limits of the open server."""
        return self._limits

    async def open(self, feed: str) -> FeedPosition | None:
        """Connect, check the server, and return the position of the feed.

        Raises: SinkUnreachable; SinkNotFitting; SinkFenced.
        """
        await self.close()
        client = self._client = self._connect()
        self._key = _PREFIX + feed
        try:
            with self._translated(f"connect to Redis at {self._address}"):
                facts = await _facts(client)
                insist_on_fitting(facts, may_discard=self._may_discard)
                self._script = str(await client.script_load(_STORE))
                stored = _text(await client.get(self._key))
        except BaseException:
            await self.close()
            raise
        self._limits = SinkLimits(message_bytes=_LONGEST, hold=facts.hold)
        self._position = stored or ""
        if stored is None:
            return None
        try:
            return FeedPosition.parse(self._position)
        except InvalidFeedPosition as error:
            await self.close()
            raise SinkFenced(f"read {self._key!r}", f"others have written to it: {error}") from None

    def _connect(self) -> Redis:
        with needs_extra("redis", "redis"):
            from redis.asyncio import Redis
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff

        try:
            # A script that is sent again would find its own position, as if another feed had
            # written.
            client = Redis.from_url(
                self._url,
                single_connection_client=True,
                socket_timeout=self._timeout,
                socket_connect_timeout=self._timeout,
                retry=Retry(NoBackoff(), 0),
            )
            # Here the client looks at the options of the URL; it connects later.
            client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        except (TypeError, ValueError) as error:
            found = f"an option of its URL is wrong: {error}"
            raise SinkNotFitting(f"use Redis at {self._address}", "url", found) from error
        return client

    async def send(self, batch: FeedBatch) -> None:
        """Store a batch; see ``Sink``."""
        client = self._client
        operation = f"store messages in Redis at {self._address}"
        if client is None:
            raise SinkUnreachable(operation, "it is not open")
        position = str(batch.position)
        keys, arguments = {self._key: 1}, [self._position, position]
        given: list[bytes | str | int] = [*arguments]
        for message, entry in zip(batch.messages, entry_ids(batch.names), strict=True):
            if message.destination == self._key:
                raise SinkRefused(operation, f"the key {self._key!r} has the feed's position")
            fields = entry_fields(message)
            key = keys.setdefault(message.destination, len(keys) + 1)
            given += [key, entry, len(fields), *fields]
        with self._translated(operation):
            answer = await client.evalsha(self._script, len(keys), *keys, *given)
        word, _, found = (_text(answer) or "").partition(" ")
        if word == "fenced":
            raise SinkFenced(operation, "another writer has stored a position of the feed")
        if word == "later":
            raise SinkFenced(operation, f"another writer has added a later entry: {found}")
        if word == "kind":
            raise SinkRefused(operation, f"the key is not a stream: {found}")
        self._position = position

    @contextmanager
    def _translated(self, operation: str) -> Iterator[None]:
        """Translate the errors of the client."""
        from redis import exceptions

        try:
            yield
        except exceptions.RedisError as error:
            answered = isinstance(error, exceptions.ResponseError)
            raise error_of(operation, type(error).__name__, str(error), answered) from error
        except (OSError, TimeoutError) as error:
            raise SinkUnreachable(operation, str(error) or type(error).__name__) from error

    async def close(self) -> None:
        """Disconnect."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def __repr__(self) -> str:
        return f"<RedisStreams {self._address}>"


async def _facts(client: Redis) -> RedisFacts:
    from redis.exceptions import ResponseError

    info = await client.info("everything")
    if info.get("loading"):
        # The settings of its append-only file are others then.
        raise SinkUnreachable("use the Redis server", "it is reading its files")
    try:
        fsync = (await client.config_get("appendfsync")).get("appendfsync", "")
    except ResponseError:
        # Managed servers forbid CONFIG.
        fsync = ""
    return RedisFacts(
        role=str(info.get("role", "")),
        evicts=str(info.get("maxmemory_policy", "")),
        max_memory=int(info.get("maxmemory", 0)),
        writes_log=bool(info.get("aof_enabled", 0)),
        fsync=str(fsync),
        is_cluster=bool(info.get("cluster_enabled", 0)),
    )


def _text(answer: bytes | str | None) -> str | None:
    return answer.decode("utf-8", "backslashreplace") if isinstance(answer, bytes) else answer
