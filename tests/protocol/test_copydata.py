"""The messages of a stream in both directions."""

from __future__ import annotations

from pgreplkit import LSN
from pgreplkit.protocol.copydata import keepalive, status_update


def test_a_keepalive_has_a_position_and_a_reply_flag() -> None:
    data = b"k" + LSN("1/2").to_bytes() + bytes(8)
    assert keepalive(data + b"\1") == (LSN("1/2"), True)
    assert keepalive(data + b"\0") == (LSN("1/2"), False)
    assert len(status_update(LSN(1), LSN(1), LSN(1))) == 34
