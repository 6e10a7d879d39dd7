"""The messages within COPY BOTH: WAL data and keepalives from the server, status to it."""

from __future__ import annotations

import struct
import time

from pgreplkit.values.lsn import LSN

WAL_DATA, KEEPALIVE = b"wk"
DATA_AT = 25
"""Where the payload of WAL data begins: after kind, position, the server's end and its clock."""

_EPOCH = 946_684_800_000_000
"""2000-01-01, where the protocol's clock begins, in microseconds of Unix time."""
_KEEPALIVE = struct.Struct(">c8sq?")
KEEPALIVE_SIZE = _KEEPALIVE.size
_STATUS = struct.Struct(">c8s8s8sq?")


def keepalive(data: bytes | memoryview) -> tuple[LSN, bool]:
    """The server's position in a keepalive of the right size, and whether it asks for a status."""
    _, position, _, asks = _KEEPALIVE.unpack(data)
    return LSN.from_bytes(position), asks


def status_update(written: LSN, flushed: LSN, applied: LSN, *, asks: bool = False) -> bytes:
    """What the client has; with ``asks`` the server answers with a keepalive."""
    positions = (written.to_bytes(), flushed.to_bytes(), applied.to_bytes())
    return _STATUS.pack(b"r", *positions, _now(), asks)


def _now() -> int:
    return time.time_ns() // 1000 - _EPOCH
