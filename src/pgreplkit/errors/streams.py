"""What can be wrong with a stream of the replication protocol."""

from __future__ import annotations

from pgreplkit.errors.base import Error
from pgreplkit.errors.server import ServerError
from pgreplkit.errors.values import InvalidValue, shorten

_DIFFERENCES_SHOWN = 3


class StreamClosed(ServerError):
    """Something was asked of a stream that has ended."""


class WalRemoved(ServerError):
    """The server does not have that WAL any more."""

    def __str__(self) -> str:
        return f"{super().__str__()}; take it from an archive, or begin anew with a base backup"


class AheadOfServer(ServerError):
    """A position that the server's WAL does not reach: another server had it, or this one lost it.

    A stream that began there would pass over what this server writes up to that position.

    Attributes:
        start: the position.
        reached: where the server's WAL ends.
    """

    start: str
    reached: str

    def __init__(self, tried: str, start: str, reached: str) -> None:
        super().__init__(tried, f"its WAL ends at {reached}, before {start}")
        self.start, self.reached = start, reached

    def __reduce__(self) -> tuple[type[AheadOfServer], tuple[str, str, str]]:
        return AheadOfServer, (self.tried, self.start, self.reached)

    def __str__(self) -> str:
        return (
            f"{super().__str__()}: what lies between was lost in a failover, or this is another"
            " cluster; compare the data, then begin without a start"
        )


class InvalidAcknowledgement(InvalidValue):
    """A position that was not delivered yet, so that nobody can have it."""

    what: str = "acknowledgement"
    expected: str = "the end_lsn of a change that the stream has given"


class InvalidWalMessage(InvalidValue):
    """A message of a physical stream that is none, or that does not go on where the last ended."""

    what: str = "message of a WAL stream"
    expected: str = "WAL data or a keepalive of the replication protocol, without a gap"


class InvalidBackupMessage(InvalidValue):
    """A message of a base backup that is none, or an archive in it that no server writes."""

    what: str = "message of a base backup"
    expected: str = "archives, their data and a manifest, as BASE_BACKUP sends them"


class BackupDamaged(Error):
    """A base backup whose files are not as its manifest says.

    Attributes:
        tried: what was to be done.
        differences: each file that is missing, too many, or other than it should be.
    """

    tried: str
    differences: tuple[str, ...]

    def __init__(self, tried: str, differences: tuple[str, ...]) -> None:
        super().__init__(tried, differences)
        self.tried, self.differences = tried, differences

    def __str__(self) -> str:
        more = len(self.differences) - _DIFFERENCES_SHOWN
        shown = "; ".join(self.differences[:_DIFFERENCES_SHOWN])
        return f"{self.tried}: {shown}{f'; and {more} more' if more > 0 else ''}: take it anew"


class ValueNotLoadable(Error):
    """A value of a row that cannot be made a Python value.

    Attributes:
        table: the table, as SQL writes it.
        column: its column.
        value: the value as the server sent it, shortened when it is long.
        reason: what the loader said.
    """

    table: str
    column: str
    value: str
    reason: str

    def __init__(self, table: str, column: str, value: str, reason: str) -> None:
        super().__init__(table, column, value, reason)
        self.table, self.column, self.value, self.reason = table, column, value, reason

    @classmethod
    def of(cls, table: str, column: str, value: bytes, error: Exception) -> ValueNotLoadable:
        """Of the bytes that were sent, and what the loader raised."""
        return cls(table, column, shorten(value.decode("utf-8", "backslashreplace")), str(error))

    def __str__(self) -> str:
        return (
            f"load {self.table}, column {self.column}: {self.value}: {self.reason};"
            " register a loader for its type on the connection's adapters"
        )
