"""Errors for invalid values."""

from __future__ import annotations

from pgreplkit.errors.base import Error

_SHOWN = 80


def shorten(text: str) -> str:
    """Return ``repr(text)``, shortened in the middle if the text is long."""
    if len(text) <= _SHOWN:
        return repr(text)
    half = _SHOWN // 2
    return f"{text[:half]!r}…{text[-half // 2 :]!r} ({len(text)} characters)"


class InvalidValue(Error, ValueError):
    """A text or number that is not a valid value of its type.

    Attributes:
        value: the argument as text, shortened if it is long.
        reason: the reason why it is invalid.
        expected: the accepted form.
    """

    what: str = "value"
    expected: str = ""
    value: str
    reason: str

    def __init__(self, value: object, reason: str, expected: str = "") -> None:
        self.value = value if isinstance(value, _Shown) else _Shown(_show(value))
        self.reason = reason
        if expected:
            self.expected = expected
        super().__init__(self.value, reason)

    def __str__(self) -> str:
        expected = f"; expected {self.expected}" if self.expected else ""
        return f"not a valid {self.what}: {self.value}: {self.reason}{expected}"


class _Shown(str):
    """Text that has been shortened already, so that unpickling does not quote it again."""

    __slots__ = ()


def _show(value: object) -> str:
    if isinstance(value, str):
        return shorten(value)
    if isinstance(value, int):
        # repr() of an int with thousands of digits is quadratic, or refused by Python itself.
        return repr(int(value)) if value.bit_length() <= 256 else f"a {value.bit_length()}-bit int"
    if isinstance(value, bytes):
        size = len(value)
        return repr(value) if size <= _SHOWN else f"{size} bytes"
    return f"a {type(value).__name__}"


class InvalidLSN(InvalidValue):
    """Text that the server's pg_lsn does not accept, or a position outside 0…2⁶⁴−1."""

    what: str = "LSN"
    expected: str = (
        "two parts of 1 to 8 hex digits such as '16/B374D848', or an int from 0 to 2**64 - 1"
    )


class InvalidSegmentSize(InvalidValue):
    """A WAL segment size that no server can have."""

    what: str = "WAL segment size"
    expected: str = "a power of two from 1 MiB to 1 GiB, in bytes or as text such as '16MB'"


class InvalidWalFileName(InvalidValue):
    """A name that no file in pg_wal or in a WAL archive can have."""

    what: str = "WAL file name"
    expected: str = "24 hex digits such as '0000000100000004000000DF'"


class InvalidWalRange(InvalidValue):
    """A range of WAL that ends before it starts."""

    what: str = "WAL range"
    expected: str = "a start that is at or before the end"


class InvalidTimelineHistory(InvalidValue):
    """Text that is not a timeline history file."""

    what: str = "timeline history"
    expected: str = "lines of 'timeline<TAB>switchpoint<TAB>reason' with ascending timelines"


class InvalidSyncStandbyNames(InvalidValue):
    """A value that the setting synchronous_standby_names does not accept."""

    what: str = "synchronous_standby_names"
    expected: str = "'FIRST 1 (a, b)', 'ANY 2 (*)', '2 (a, b)', 'a, b' or ''"


class InvalidThreshold(InvalidValue):
    """Text that is not a threshold in the notation of monitoring plugins."""

    what: str = "threshold"
    expected: str = "a range such as '10', '10:', '~:10', '10:20' or '@10:20'"


class InvalidBackupLabel(InvalidValue):
    """Text that is not a backup_label or a backup history file."""

    what: str = "backup label"
    expected: str = "the lines of a backup_label file, beginning with 'START WAL LOCATION: …'"


class InvalidControlFile(InvalidValue):
    """Bytes that are not a control file of a supported server."""

    what = "control file"
    expected = "the content of global/pg_control of 10 to 18, in this machine's byte order"


class InvalidBackupManifest(InvalidValue):
    """Text that is not a backup_manifest, or a manifest whose own checksum does not match."""

    what: str = "backup manifest"
    expected: str = "the JSON that pg_basebackup writes from 13 on, unchanged"


class InvalidSystemIdentity(InvalidValue):
    """A system identifier or timeline that IDENTIFY_SYSTEM cannot return."""

    what: str = "system identity"
    expected: str = "a system identifier from 1 to 2**64 - 1 and a timeline from 1 to 2**32 - 1"


class InvalidServerVersion(InvalidValue):
    """Text or a number that is not a server version."""

    what: str = "server version"
    expected: str = "a major version (18), text ('18.4') or a server_version_num (180004)"


class InvalidSlotName(InvalidValue):
    """A name that no replication slot can have."""

    what: str = "slot name"
    expected: str = "1 to 63 lower-case letters, digits and underscores, such as 'replica_1'"


class InvalidRoleName(InvalidValue):
    """A name that no role can have, or that is reserved."""

    what: str = "role name"
    expected: str = "1 to 63 bytes of UTF-8 without NUL, not starting with 'pg_'"


class InvalidTableName(InvalidValue):
    """Text that is not a table name."""

    what: str = "table name"
    expected: str = "name or schema.name in SQL notation, each part of 1 to 63 bytes"


class InvalidChangeMessage(InvalidValue):
    """Bytes that are not a valid pgoutput message."""

    what: str = "pgoutput message"
    expected: str = "one complete message of the protocol"


class NodeNotFound(Error, KeyError):
    """A node that a cluster does not contain.

    Attributes:
        name: the requested name.
        nodes: the names of the nodes.
    """

    name: str
    nodes: tuple[str, ...]

    def __init__(self, name: str, nodes: tuple[str, ...]) -> None:
        super().__init__(name, nodes)
        self.name, self.nodes = name, nodes

    def __str__(self) -> str:
        return (
            f"could not find node {self.name!r}: it is not a member;"
            f" use one of {', '.join(self.nodes) or 'none'}"
        )


class CheckNotFound(Error, KeyError):
    """A check that a readiness report does not contain.

    Attributes:
        check: the requested check.
        checks: the checks of the report.
    """

    check: str
    checks: tuple[str, ...]

    def __init__(self, check: str, checks: tuple[str, ...]) -> None:
        super().__init__(check, checks)
        self.check, self.checks = check, checks

    def __str__(self) -> str:
        return (
            f"could not find check {self.check!r}: it is not in the report;"
            f" use one of {', '.join(self.checks) or 'none'}"
        )


class ColumnNotFound(Error, KeyError):
    """A column that a row does not contain.

    Attributes:
        name: the requested name.
        columns: the names of the row's columns.
    """

    name: str
    columns: tuple[str, ...]

    def __init__(self, name: str, columns: tuple[str, ...]) -> None:
        super().__init__(name, columns)
        self.name, self.columns = name, columns

    def __str__(self) -> str:
        return (
            f"could not find column {self.name!r}: it is not in the row;"
            f" use one of {', '.join(self.columns) or 'none'}"
        )


class TimelineNotInHistory(Error, LookupError):
    """A timeline that a history does not contain.

    Attributes:
        timeline: the requested timeline.
        history: the timelines of the history, oldest first.
    """

    timeline: int
    history: tuple[int, ...]

    def __init__(self, timeline: int, history: tuple[int, ...]) -> None:
        super().__init__(timeline, history)
        self.timeline, self.history = timeline, history

    def __str__(self) -> str:
        shown = [*map(str, self.history)]
        path = " → ".join(shown if len(shown) < 9 else [*shown[:4], "…", *shown[-4:]])
        return f"timeline {self.timeline} is not in this history ({path}); use one of its timelines"
