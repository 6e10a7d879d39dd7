"""SegmentSize: exactly the eleven sizes that a server can have."""

import pytest
from hypothesis import given, strategies as st

from pgreplkit import InvalidSegmentSize, SegmentSize
from pgreplkit.testing.strategies import segment_sizes

POSSIBLE = {1 << power for power in range(20, 31)}


@given(st.integers() | st.sampled_from(sorted(POSSIBLE)) | st.integers(1 << 19, 1 << 31))
def test_only_powers_of_two_from_1_mib_to_1_gib_are_accepted(size: int) -> None:
    if size in POSSIBLE:
        assert int(SegmentSize(size)) == size
    else:
        with pytest.raises(InvalidSegmentSize):
            SegmentSize(size)


@given(segment_sizes())
def test_the_servers_text_of_a_size_parses_to_that_size(size: SegmentSize) -> None:
    assert SegmentSize.parse(str(size)) == size
    assert SegmentSize.parse(f"{int(size)}B") == SegmentSize.parse(f"{int(size) >> 10}kB") == size


@given(segment_sizes())
def test_whole_segments_fill_4_gib(size: SegmentSize) -> None:
    assert size.per_log * int(size) == 1 << 32


def test_the_default_is_16_mib() -> None:
    assert SegmentSize.parse("16 MB") == SegmentSize.DEFAULT


@pytest.mark.parametrize(
    "text",
    [
        "",
        "16",
        "MB",
        "16mb",
        "16 Mb",
        "16MB ",
        " 16MB",
        "-16MB",
        "+16MB",
        "1_6MB",
        "１６MB",
        "16  MB",
        "16MB\n",
        "16.0MB",
        "1TB",
        "0MB",
        "3MB",
        "2GB",
        "512kB",
        "0x10MB",
        "1" * 64 + "MB",
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(InvalidSegmentSize):
        SegmentSize.parse(text)


@pytest.mark.parametrize("stranger", [True, 16777216.0, "16MB", None])
def test_only_an_int_is_a_count_of_bytes(stranger: object) -> None:
    with pytest.raises(TypeError, match=type(stranger).__name__):
        SegmentSize(stranger)  # type: ignore[arg-type]


def test_the_largest_size_reads_as_the_server_shows_it() -> None:
    assert [str(SegmentSize(size)) for size in (1 << 20, 1 << 29, 1 << 30)] == [
        "1MB",
        "512MB",
        "1GB",
    ]
