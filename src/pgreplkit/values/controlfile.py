"""ControlFile: what a server's control file says of its last shutdown."""

from __future__ import annotations

import struct
from typing import Self

import attrs

from pgreplkit.errors import InvalidControlFile
from pgreplkit.values.lsn import LSN
from pgreplkit.values.openenum import OpenEnum


class ControlState(OpenEnum):
    """In which state a server was when it wrote its control file; pg_controldata's words."""

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
    """Where things stand in the file of one pg_control_version."""

    timeline: int
    minimum: int
    hints: int
    checksums: int


_OLD = _Layout(timeline=56, minimum=136, hints=176, checksums=252)
_ELEVEN = _Layout(timeline=48, minimum=128, hints=168, checksums=244)
_NEW = _Layout(timeline=48, minimum=136, hints=176, checksums=252)
_LAYOUTS = {1002: _OLD, 1100: _ELEVEN, 1201: _NEW, 1300: _NEW, 1700: _NEW, 1800: _NEW}
"""Of 10, 11, 12, 13 to 16, 17 and 18, on machines of 64 bits."""
_HEAD = struct.Struct("=QIIi4xqQ")
_SHORTEST = 256


@attrs.frozen(kw_only=True)
class ControlFile:
    """What ``global/pg_control`` says, which a stopped server's files can be asked.

    Source: the same file as pg_controldata reads, on a machine of the same byte order.
    """

    system_id: int
    state: ControlState
    checkpoint_lsn: LSN
    """Where the record of its last checkpoint begins; after a clean shutdown that is its last."""
    timeline: int
    """The timeline of that checkpoint."""
    min_recovery_lsn: LSN
    """How far a standby has to replay before it is consistent; 0/0 on a primary."""
    min_recovery_timeline: int
    wal_log_hints: bool
    data_checksums: bool

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """What the file's content says.

        Raises: InvalidControlFile when it is none, of another byte order, or of a major that is
        not known.
        """
        if not isinstance(content, bytes):
            raise TypeError(f"a control file is bytes, not {type(content).__name__}")
        if len(content) < _SHORTEST:
            raise InvalidControlFile(len(content), f"it has at least {_SHORTEST} bytes")
        system_id, version, _catalog, state, _time, checkpoint = _HEAD.unpack_from(content)
        layout = _LAYOUTS.get(version)
        if layout is None:
            raise InvalidControlFile(version, "a pg_control_version that is not of 10 to 18")
        if not 0 <= state < len(_STATES):
            raise InvalidControlFile(state, "a state that no server has")
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
        """Whether it was shut down as a server is, by which nothing is left to recover."""
        return self.state in {ControlState.SHUT_DOWN, ControlState.SHUT_DOWN_IN_RECOVERY}

    @property
    def can_rewind(self) -> bool:
        """Whether pg_rewind can tell which of its pages changed."""
        return self.wal_log_hints or self.data_checksums
