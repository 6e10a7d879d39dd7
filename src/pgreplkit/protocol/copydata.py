"""The messages within COPY BOTH: WAL data, keepalives, and status updates."""

from __future__ import annotations

import struct
import time

from pgreplkit.values.lsn import LSN

WAL_DATA, KEEPALIVE = b"wk"
DATA_AT = 25
"""The start of the payload of WAL data: after kind, position, WAL end and clock."""

_EPOCH = 946_684_800_000_000
"""2000-01-01, the epoch of the protocol's clock, in microseconds of Unix time."""
_KEEPALIVE = struct.Struct(">c8sq?")
KEEPALIVE_SIZE = _KEEPALIVE.size
_STATUS = struct.Struct(">c8s8s8sq?")


def keepalive(data: bytes | memoryview) -> tuple[LSN, bool]:
    """Return the server's position in a keepalive, and whether it requests a status update."""
    _, position, _, asks = _KEEPALIVE.unpack(data)
    return LSN.from_bytes(position), asks


def status_update(written: LSN, flushed: LSN, applied: LSN, *, asks: bool = False) -> bytes:
    """Return a status update; with ``asks`` the server replies with a keepalive."""
    positions = (written.to_bytes(), flushed.to_bytes(), applied.to_bytes())
    return _STATUS.pack(b"r", *positions, _now(), asks)


def _now() -> int:
    return time.time_ns() // 1000 - _EPOCH
