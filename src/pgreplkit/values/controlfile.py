"""ControlFile: the state and last checkpoint recorded in ``global/pg_control``."""

import struct
from typing import Self

import attrs

from pgreplkit.errors import InvalidControlFile
from pgreplkit.values.lsn import LSN
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.record import Record


class ControlState(OpenEnum):
    """State of a server when it last wrote its control file, in pg_controldata's words."""

    STARTING_UP = "starting up"
    SHUT_DOWN = "shut down"
    SHUT_DOWN_IN_RECOVERY = "shut down in recovery"
    SHUTTING_DOWN = "shutting down"
    IN_CRASH_RECOVERY = "in crash recovery"
    IN_ARCHIVE_RECOVERY = "in archive recovery"
    IN_PRODUCTION = "in production"


_STATES = tuple(ControlState)


@attrs.frozen
class _Layout:
    """Offsets of the fields in the control file of one pg_control_version."""

    timeline: int
    minimum: int
    hints: int
    checksums: int


_OLD = _Layout(timeline=56, minimum=136, hints=176, checksums=252)
_ELEVEN = _Layout(timeline=48, minimum=128, hints=168, checksums=244)
_NEW = _Layout(timeline=48, minimum=136, hints=176, checksums=252)
_LAYOUTS = {1002: _OLD, 1100: _ELEVEN, 1201: _NEW, 1300: _NEW, 1700: _NEW, 1800: _NEW}
"""Layouts by pg_control_version: 10, 11, 12, 13 to 16, 17 and 18, on 64-bit machines."""
_HEAD = struct.Struct("=QIIi4xqQ")
_SHORTEST = 256


@attrs.frozen(kw_only=True)
class ControlFile(Record):
    """Contents of ``global/pg_control``, readable while the server is stopped.

    Source:
        The file that pg_controldata reads, written on a machine of the same byte order.
    """

    system_id: int
    state: ControlState
    checkpoint_lsn: LSN
    """Start of the last checkpoint's record; after a clean shutdown, the last record of all."""
    timeline: int
    """Timeline of the last checkpoint."""
    min_recovery_lsn: LSN
    """Position that a standby must replay to become consistent; 0/0 on a primary."""
    min_recovery_timeline: int
    wal_log_hints: bool
    data_checksums: bool

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Decode the content of a control file.

        Raises:
            InvalidControlFile: If the content is not a control file, has another byte order, or
                was written by an unsupported major version.
        """
        if not isinstance(content, bytes):
            raise TypeError(f"a control file must be bytes, not {type(content).__name__}")
        if len(content) < _SHORTEST:
            raise InvalidControlFile(len(content), f"it is shorter than {_SHORTEST} bytes")
        system_id, version, _catalog, state, _time, checkpoint = _HEAD.unpack_from(content)
        layout = _LAYOUTS.get(version)
        if layout is None:
            raise InvalidControlFile(version, "the pg_control_version is not one of 10 to 18")
        if not 0 <= state < len(_STATES):
            raise InvalidControlFile(state, "the state is out of range")
        minimum, minimum_timeline = struct.unpack_from("=QI", content, layout.minimum)
        return cls(
            system_id=system_id,
            state=_STATES[state],
            checkpoint_lsn=LSN(checkpoint),
            timeline=struct.unpack_from("=I", content, layout.timeline)[0],
            min_recovery_lsn=LSN(minimum),
            min_recovery_timeline=minimum_timeline,
            wal_log_hints=content[layout.hints] == 1,
            data_checksums=struct.unpack_from("=I", content, layout.checksums)[0] > 0,
        )

    @property
    def is_clean(self) -> bool:
        """True after a clean shutdown, which leaves no WAL to recover."""
        return self.state in {ControlState.SHUT_DOWN, ControlState.SHUT_DOWN_IN_RECOVERY}

    @property
    def can_rewind(self) -> bool:
        """True if pg_rewind can determine the changed pages: wal_log_hints or checksums are on."""
        return self.wal_log_hints or self.data_checksums
