"""The control file of each major version, and content that is none."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, strategies as st

from pgreplkit import LSN, ControlFile
from pgreplkit.errors import InvalidControlFile
from pgreplkit.rows import ControlState

# pg_control_version; then the offsets of timeline, minimum recovery point, hints and checksums.
LAYOUTS = {
    1002: (56, 136, 176, 252),
    1100: (48, 128, 168, 244),
    1201: (48, 136, 176, 252),
    1300: (48, 136, 176, 252),
    1700: (48, 136, 176, 252),
    1800: (48, 136, 176, 252),
}


def content(
    version: int = 1300,
    *,
    state: int = 1,
    checkpoint: int = 0x3000028,
    timeline: int = 4,
    minimum: int = 0,
    hints: bool = False,
    checksums: int = 0,
) -> bytes:
    at_timeline, at_minimum, at_hints, at_checksums = LAYOUTS[version]
    data = bytearray(8192)
    struct.pack_into("=QIIi4xqQ", data, 0, 7, version, 202107181, state, 0, checkpoint)
    struct.pack_into("=I", data, at_timeline, timeline)
    struct.pack_into("=QI", data, at_minimum, minimum, timeline)
    data[at_hints] = hints
    struct.pack_into("=I", data, at_checksums, checksums)
    return bytes(data)


@pytest.mark.parametrize("version", LAYOUTS)
@pytest.mark.parametrize("hints", [False, True])
@pytest.mark.parametrize("checksums", [0, 1, 2])
def test_each_layout_is_decoded(version: int, hints: bool, checksums: int) -> None:
    found = ControlFile.from_bytes(
        content(version, minimum=0x5000000, hints=hints, checksums=checksums)
    )
    assert found == ControlFile(
        system_id=7,
        state=ControlState.SHUT_DOWN,
        checkpoint_lsn=LSN("0/3000028"),
        timeline=4,
        min_recovery_lsn=LSN("0/5000000"),
        min_recovery_timeline=4,
        wal_log_hints=hints,
        data_checksums=checksums > 0,
    )
    # pg_rewind needs one of the two.
    assert found.can_rewind is (hints or checksums > 0)


@pytest.mark.parametrize(("number", "state"), [*enumerate(ControlState)])
def test_only_a_shutdown_is_clean(number: int, state: ControlState) -> None:
    found = ControlFile.from_bytes(content(state=number))
    assert found.state is state
    assert found.is_clean is str(state).startswith("shut down")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "shorter"),
        (content()[:255], "shorter"),
        (struct.pack("=QI", 7, 942) + bytes(8000), "not one of 10 to 18"),
        # A file of the other byte order has the version's bytes reversed.
        (struct.pack("=Q", 7) + struct.pack(">I", 1300) + bytes(8000), "not one of 10 to 18"),
        (content(state=7), "state"),
        (content(state=-1), "state"),
    ],
)
def test_other_content_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(InvalidControlFile, match=reason):
        ControlFile.from_bytes(data)


def test_only_bytes_are_decoded() -> None:
    with pytest.raises(TypeError, match="bytes"):
        ControlFile.from_bytes("text")  # type: ignore[arg-type]


@given(st.binary(min_size=256, max_size=300))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    try:
        found = ControlFile.from_bytes(data)
    except InvalidControlFile:
        return
    assert found.state in ControlState
