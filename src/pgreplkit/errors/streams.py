"""Errors of streams of the replication protocol."""

from __future__ import annotations

from pgreplkit.errors.base import Error, OperationError
from pgreplkit.errors.server import ServerError
from pgreplkit.errors.values import InvalidValue, shorten

_DIFFERENCES_SHOWN = 3


class StreamClosed(ServerError):
    """An operation on a stream that has ended."""


class WalRemoved(ServerError):
    """The server has already removed the requested WAL."""

    remedy = "restore it from an archive, or start again from a new base backup"


class AheadOfServer(ServerError):
    """A position beyond the end of the server's WAL.

    Another server wrote that WAL, or this one lost it. A stream started there would skip what this
    server writes up to that position.

    Attributes:
        start: the requested position.
        reached: the end of the server's WAL.
    """

    remedy = (
        "the WAL between was lost in a failover, or this is another cluster; compare the data,"
        " then start without a position"
    )

    start: str
    reached: str

    def __init__(self, operation: str, start: str, reached: str) -> None:
        super().__init__(operation, f"its WAL ends at {reached}, before {start}")
        self.start, self.reached = start, reached

    def __reduce__(self) -> tuple[type[AheadOfServer], tuple[str, str, str]]:
        return AheadOfServer, (self.operation, self.start, self.reached)


class InvalidAcknowledgement(InvalidValue):
    """A position that the stream has not delivered yet, and so cannot be acknowledged."""

    what: str = "acknowledgement"
    expected: str = "the end_lsn of a change that the stream has delivered"


class InvalidWalMessage(InvalidValue):
    """A malformed message of a physical stream, or one that leaves a gap in the WAL."""

    what: str = "message of a WAL stream"
    expected: str = "WAL data or a keepalive of the replication protocol, without a gap"


class InvalidBackupMessage(InvalidValue):
    """A malformed base-backup message or archive."""

    what: str = "message of a base backup"
    expected: str = "archives, their data and a manifest, as BASE_BACKUP sends them"


class BackupDamaged(OperationError):
    """A base backup whose files do not match its manifest.

    Attributes:
        operation: the operation.
        differences: each file that is missing, unexpected or changed.
    """

    remedy = "take another backup"

    differences: tuple[str, ...]

    def __init__(self, operation: str, differences: tuple[str, ...]) -> None:
        more = len(differences) - _DIFFERENCES_SHOWN
        shown = "; ".join(differences[:_DIFFERENCES_SHOWN])
        super().__init__(operation, f"{shown}{f'; and {more} more' if more > 0 else ''}")
        self.differences = differences

    def __reduce__(self) -> tuple[type[BackupDamaged], tuple[str, tuple[str, ...]]]:
        return BackupDamaged, (self.operation, self.differences)


class ValueNotLoadable(Error):
    """A value of a row that cannot be converted to a Python value.

    Attributes:
        table: the table's name in SQL.
        column: the column's name.
        value: the value as the server sent it, shortened if it is long.
        reason: the loader's error.
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
        """Return the error for the bytes that were sent and the loader's exception."""
        return cls(table, column, shorten(value.decode("utf-8", "backslashreplace")), str(error))

    def __str__(self) -> str:
        return (
            f"could not load {self.table}, column {self.column}: {self.value}: {self.reason};"
            " register a loader for its type on the connection's adapters"
        )
