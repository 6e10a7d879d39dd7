"""The entries of Redis Streams, and the settings of a Redis server that a feed can rely on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from urllib.parse import SplitResult, urlsplit

import attrs

from pgreplkit.errors import FeedError, SinkNotFitting, SinkRefused, SinkUnreachable
from pgreplkit.feeds.message import FeedMessage
from pgreplkit.values.lsn import LSN

_FIELDS = 5000
"""Names and values of an entry: the script passes them as arguments, of which Lua takes 8000."""
ENTRIES_OF_A_CHANGE = 1000
"""The numbers of the changes of a transaction are that far apart, for changes with several
messages."""
_HOLDS = {"always": 0.0, "everysec": 5.0}
"""Seconds by appendfsync: with everysec, Redis waits up to 2 seconds for a fsync that is slow."""
_OTHER_HOLD = 60.0
"""Seconds; without fsync the kernel writes after 30 seconds, by default."""

_SCHEMES = ("redis", "rediss", "unix")
_FORBIDDEN = {
    "AuthenticationError",
    "AuthenticationWrongNumberOfArgsError",
    "AuthorizationError",
    "NoPermissionError",
}
"""The client's classes of errors for a wrong password, and for a role without a permission. They
have no class of their own: to the client, some of them are errors of the connection."""
_PASSING = {
    "BusyLoadingError",
    "ClusterDownError",
    "MasterDownError",
    "NoScriptError",
    "OutOfMemoryError",
    "ReadOnlyError",
    "TryAgainError",
}
"""Its classes of answers that another attempt may not get. The script is loaded when the sink is
opened; a master that became a replica is replaced by another one."""
# A server of before 7 puts the code of a script's command behind its own.
_PASSING_CODE = re.compile(
    r"(?:^|-)(?:BUSY|LOADING|MASTERDOWN|MISCONF|NOREPLICAS|NOSCRIPT|OOM|READONLY|UNKILLABLE) "
)


def error_of(operation: str, kind: str, found: str, answered: bool) -> FeedError:
    """Return the error for a class of the client's errors, and its text.

    ``answered`` says that the server has answered: other errors are those of the connection.
    """
    if kind in _FORBIDDEN:
        remedy = "correct the user and its password, or its permissions: ACL SETUSER"
        return SinkRefused(operation, found, remedy=remedy)
    if not answered or kind in _PASSING or _PASSING_CODE.search(found):
        return SinkUnreachable(operation, found or kind)
    return SinkRefused(operation, found)


def address_of(url: str) -> str:
    """Return the address of a server without what may be secret: the user, and the options.

    Raises: ValueError, which does not repeat the URL: a part of it may be a password.
    """
    try:
        parts = urlsplit(url)
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        parts, port = SplitResult("", "", "", "", ""), ""
    if parts.scheme not in _SCHEMES:
        raise ValueError(
            "url is not the address of a Redis server: it must begin with redis://, rediss:// or"
            " unix://, and special characters of a password are escaped"
        )
    host = parts.hostname or ""
    # An IPv6 address has colons of its own.
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}{port}{parts.path}"


def entry_ids(names: Sequence[tuple[LSN, int]]) -> Iterator[str]:
    """Yield the ID of each message's entry: the end of the transaction, and a number in it.

    Raises: SinkRefused for a change with too many messages.
    """
    before, part = None, 0
    for name in names:
        part = part + 1 if name == before else 0
        before = name
        if part >= ENTRIES_OF_A_CHANGE:
            found = f"it became more than {ENTRIES_OF_A_CHANGE} messages"
            raise SinkRefused(f"send the change {name[0]}, number {name[1]}", found)
        yield f"{int(name[0])}-{name[1] * ENTRIES_OF_A_CHANGE + part}"


def entry_fields(message: FeedMessage) -> list[bytes | str]:
    """Return the fields of an entry, each followed by its value.

    Raises: SinkRefused for a message with too many headers.
    """
    if 2 * len(message.headers) > _FIELDS:
        found = f"it has {len(message.headers)} headers, and an entry takes {_FIELDS // 2}"
        raise SinkRefused(f"send a message to {message.destination!r}", found)
    fields: list[bytes | str] = []
    for header in message.headers:
        # A flat list, as XADD takes them.
        fields += header
    if message.key is not None:
        fields += ["key", message.key]
    return [*fields, *(("tombstone", "1") if message.body is None else ("body", message.body))]


@attrs.frozen(kw_only=True)
class RedisFacts:
    """The settings of a Redis server that matter to a feed."""

    role: str
    evicts: str
    """The policy maxmemory-policy."""
    max_memory: int
    """Bytes; 0 for no limit."""
    writes_log: bool
    """Whether the server writes an append-only file."""
    fsync: str
    """appendfsync; empty if the role may not read it."""
    is_cluster: bool

    @property
    def hold(self) -> float:
        """Seconds after which what was answered is on disk."""
        return _HOLDS.get(self.fsync, _HOLDS["everysec"] if not self.fsync else _OTHER_HOLD)


def insist_on_fitting(redis: RedisFacts, *, may_discard: bool) -> None:
    """Refuse a server that would lose messages.

    Raises: SinkNotFitting; SinkUnreachable for a replica, which refuses writes.
    """
    if redis.role != "master":
        # After a failover the address may lead to the new master a moment later.
        found = f"its role is {redis.role}"
        raise SinkUnreachable("use the Redis server", found, remedy="connect to the master")
    for setting, found, remedy in _problems(redis, may_discard=may_discard):
        raise SinkNotFitting("use the Redis server", setting, found, remedy=remedy)


def _problems(redis: RedisFacts, *, may_discard: bool) -> Iterator[tuple[str, str, str]]:
    if redis.is_cluster:
        found = "it is a node of a cluster, where one script cannot write to all streams"
        yield "cluster-enabled", found, "use a server that is not part of a cluster"
    # The volatile policies remove only keys with a time to live, which streams and positions lack.
    if redis.max_memory and redis.evicts.startswith("allkeys"):
        found = f"its maxmemory-policy is {redis.evicts}, which removes streams and positions"
        yield "maxmemory-policy", found, "CONFIG SET maxmemory-policy noeviction"
    if not redis.writes_log and not may_discard:
        found = "it writes no append-only file: a restart loses messages"
        remedy = "CONFIG SET appendonly yes; or RedisStreams(…, may_discard=True)"
        yield "appendonly", found, remedy
