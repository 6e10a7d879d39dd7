"""What is said of a value that is none."""

from __future__ import annotations

from pgreplkit.errors.base import Error

_SHOWN = 80


def shorten(text: str) -> str:
    """``repr(text)``, cut in the middle when it is long."""
    if len(text) <= _SHOWN:
        return repr(text)
    half = _SHOWN // 2
    return f"{text[:half]!r}…{text[-half // 2 :]!r} ({len(text)} characters)"


class InvalidValue(Error, ValueError):
    """A text or number that is not a value of the type asked for.

    Attributes:
        value: what was given, as text, shortened when it was long.
        reason: why it was refused.
        expected: the form that is accepted.
    """

    what: str = "value"
    expected: str = ""
    value: str
    reason: str

    def __init__(self, value: object, reason: str) -> None:
        self.value = value if isinstance(value, _Shown) else _Shown(_show(value))
        self.reason = reason
        super().__init__(self.value, reason)

    def __str__(self) -> str:
        expected = f"; expected {self.expected}" if self.expected else ""
        return f"not a valid {self.what}: {self.value}: {self.reason}{expected}"


class _Shown(str):
    """A text that was already shortened, so that unpickling does not quote it again."""

    __slots__ = ()


def _show(value: object) -> str:
    if isinstance(value, str):
        return shorten(value)
    if isinstance(value, int):
        # repr() of an int with thousands of digits is quadratic, or refused by Python itself.
        return repr(int(value)) if value.bit_length() <= 256 else f"a {value.bit_length()}-bit int"
    if isinstance(value, bytes):
        size = bytes.__len__(value)
        return repr(value) if size <= _SHOWN else f"{size} bytes"
    return f"a {type(value).__name__}"


class InvalidLSN(InvalidValue):
    """A text that the server's pg_lsn does not accept, or a position outside 0…2⁶⁴−1."""

    what: str = "LSN"
    expected: str = (
        "two parts of 1 to 8 hex digits as in '16/B374D848', or an int from 0 to 2**64 - 1"
    )


class InvalidSegmentSize(InvalidValue):
    """A WAL segment size that no server can have."""

    what: str = "WAL segment size"
    expected: str = "a power of two from 1 MiB to 1 GiB, in bytes or as in '16MB'"


class InvalidWalFileName(InvalidValue):
    """A name that no file in pg_wal or in an archive of it has."""

    what: str = "WAL file name"
    expected: str = "24 hex digits as in '0000000100000004000000DF'"


class InvalidWalRange(InvalidValue):
    """A range of WAL that ends before it starts."""

    what: str = "WAL range"
    expected: str = "a start that is not after the end"


class InvalidTimelineHistory(InvalidValue):
    """Text that is not a timeline history file."""

    what: str = "timeline history"
    expected: str = "lines of 'timeline<TAB>switchpoint<TAB>reason' with rising timelines"


class InvalidSyncStandbyNames(InvalidValue):
    """Text that synchronous_standby_names does not accept."""

    what: str = "synchronous_standby_names"
    expected: str = "'FIRST 1 (a, b)', 'ANY 2 (*)', '2 (a, b)', 'a, b' or ''"


class InvalidBackupLabel(InvalidValue):
    """Text that is not a backup_label or a backup history file."""

    what: str = "backup label"
    expected: str = "the lines of a backup_label file, beginning with 'START WAL LOCATION: …'"


class InvalidControlFile(InvalidValue):
    """Bytes that are no control file of a server that is known."""

    what = "control file"
    expected = "the content of global/pg_control, of 10 to 18 and this machine's byte order"


class InvalidBackupManifest(InvalidValue):
    """Text that is not a backup_manifest, or one whose own checksum does not fit."""

    what: str = "backup manifest"
    expected: str = "the JSON that pg_basebackup writes from 13 on, unchanged"


class InvalidSystemIdentity(InvalidValue):
    """An answer that IDENTIFY_SYSTEM cannot give."""

    what: str = "system identity"
    expected: str = "a system identifier from 1 to 2**64 - 1 and a timeline from 1 to 2**32 - 1"


class InvalidServerVersion(InvalidValue):
    """A text or number that does not name a server version."""

    what: str = "server version"
    expected: str = "a major as in 18, a text as in '18.4', or a server_version_num as in 180004"


class InvalidSlotName(InvalidValue):
    """A name that no replication slot can have."""

    what: str = "slot name"
    expected: str = "1 to 63 lower-case letters, digits and underscores as in 'replica_1'"


class InvalidRoleName(InvalidValue):
    """A name that no role can have."""

    what: str = "role name"
    expected: str = "1 to 63 bytes of UTF-8 without NUL, not beginning with 'pg_'"


class InvalidTableName(InvalidValue):
    """A text that names no table."""

    what: str = "table name"
    expected: str = "name or schema.name as SQL writes it, each of 1 to 63 bytes"


class InvalidChangeMessage(InvalidValue):
    """Bytes that are no message of pgoutput."""

    what: str = "message of pgoutput"
    expected: str = "a message of its protocol, whole and nothing after it"


class TimelineNotInHistory(Error, LookupError):
    """A timeline that a history does not pass through.

    Attributes:
        timeline: the one that was asked for.
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
        return f"timeline {self.timeline} is not in this history ({path}): ask one of its timelines"
