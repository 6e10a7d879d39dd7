"""LSN: accepted inputs, arithmetic, and no trace of bytes."""

import pytest
from hypothesis import example, given, strategies as st

from pgreplkit import LSN, SegmentSize, WalFileName
from pgreplkit.errors import InvalidLSN, InvalidWalFileName
from pgreplkit.testing.strategies import lsns, segment_sizes, timelines

POSITIONS = 1 << 64
# Python itself refuses to print these.
HUGE, NEGATIVE = pytest.param(10**5000, id="huge"), pytest.param(-(10**5000), id="-huge")
distances = st.integers(-(1 << 20), 1 << 20) | st.integers(-POSITIONS, POSITIONS)


def stays_inside(lsn: LSN, count: int) -> bool:
    return 0 <= int(lsn) + count < POSITIONS


@given(lsns())
@example(LSN.INVALID)
@example(LSN.MAX)
def test_parsing_the_text_of_an_lsn_returns_the_lsn(lsn: LSN) -> None:
    assert LSN(str(lsn)) == lsn
    assert LSN(str(lsn).lower()) == lsn


@given(lsns())
@example(LSN(0x2A))
def test_leading_zeros_up_to_eight_digits_do_not_matter(lsn: LSN) -> None:
    high, low = f"{int(lsn) >> 32:X}", f"{int(lsn) & 0xFFFFFFFF:X}"
    texts = {
        f"{high.zfill(left)}/{low.zfill(right)}" for left in range(1, 9) for right in range(1, 9)
    }
    assert {LSN(text) for text in texts} == {lsn}


def test_the_padded_form_of_postgresql_19_is_the_same_position() -> None:
    assert LSN("0/0000002A") == LSN("0/2A") == LSN(42)
    assert str(LSN("0/0000002A")) == "0/2A"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "1/",
        "/1",
        "1",
        "1//2",
        "1/2/3",
        "0x1/0",
        "0/0x1",
        "1/ 2",
        " 1/2",
        "1/2 ",
        "1 /2",
        "+1/2",
        "-1/2",
        "1/+2",
        "1/-2",
        "1_0/2",
        "1/2_0",
        "１/2",
        "1/２",
        "٣/0",
        "1/²",
        "1∕2",
        "1／2",
        "1/2\n",
        "\n1/2",
        "1/2\0",
        "\0",
        "\ud800/0",
        "1/\udfff",
        "G/0",
        "123456789/1",
        "1/123456789",
        "+/00000000",
        "1/2/00000000",
        "/000000000",
        "-0000001/00000000",
        "16:B374D848",
        "None",
        "1,0",
        "97500059720",
        "0" * 64 + "/0",
        "0/" + "0" * 64,
    ],
)
def test_text_that_only_lax_parsers_accept_is_refused(text: str) -> None:
    with pytest.raises(InvalidLSN) as refused:
        LSN(text)
    assert refused.value.reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("16", "it contains no '/'"),
        ("16/", "one of its parts is empty"),
        ("1/2/3", "it contains more than one '/'"),
        ("1/123456789", "one of its parts has more than 8 digits"),
        ("1/G", "it contains a character that is not a hex digit"),
    ],
)
def test_the_error_names_the_fault_in_the_text(text: str, reason: str) -> None:
    with pytest.raises(InvalidLSN) as refused:
        LSN(text)
    assert refused.value.reason == reason


@pytest.mark.parametrize("position", [-1, POSITIONS, HUGE, NEGATIVE])
def test_an_int_outside_64_bits_is_refused(position: int) -> None:
    with pytest.raises(InvalidLSN):
        LSN(position)


@pytest.mark.parametrize("stranger", [True, 1.0, None, b"0/0", ("0/0",)])
def test_only_str_and_int_make_a_position(stranger: object) -> None:
    with pytest.raises(TypeError, match=type(stranger).__name__):
        LSN(stranger)  # type: ignore[arg-type]


@given(st.integers(0, POSITIONS - 1), st.integers(0, POSITIONS - 1))
def test_positions_are_ordered_as_their_ints(a: int, b: int) -> None:
    assert int(LSN(a)) == a
    assert (LSN(a) < LSN(b), LSN(a) <= LSN(b), LSN(a) == LSN(b)) == (a < b, a <= b, a == b)


@given(lsns())
def test_eight_bytes_round_trip(lsn: LSN) -> None:
    data = lsn.to_bytes()
    assert type(data) is bytes
    assert data == int(lsn).to_bytes(8, "big")
    assert LSN.from_bytes(data) == LSN.from_bytes(bytearray(data)) == lsn
    assert LSN.from_bytes(memoryview(data)) == lsn


@given(st.binary().filter(lambda data: len(data) != 8))
def test_any_other_number_of_bytes_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidLSN):
        LSN.from_bytes(data)


@given(lsns(), distances)
def test_adding_and_subtracting_the_same_count_cancels_out(lsn: LSN, count: int) -> None:
    if stays_inside(lsn, count):
        assert (lsn + count) - count == lsn == count + lsn - count
        assert int(lsn + count) == int(lsn) + count
        assert (lsn + count) - lsn == count
        assert lsn + count == lsn - -count


@given(lsns(), lsns(), lsns())
def test_differences_are_signed_and_add_up(a: LSN, b: LSN, c: LSN) -> None:
    assert a - b == -(b - a) == int(a) - int(b)
    assert a + (b - a) == b
    assert (a - b) + (b - c) == a - c
    assert a - a == 0
    assert type(a - b) is int


@given(lsns(), distances)
@example(LSN.MAX, 1)
@example(LSN.INVALID, -1)
def test_leaving_the_range_raises_and_never_wraps(lsn: LSN, count: int) -> None:
    if not stays_inside(lsn, count):
        with pytest.raises(InvalidLSN, match="64 bits"):
            lsn + count
        with pytest.raises(InvalidLSN, match="64 bits"):
            count + lsn
        with pytest.raises(InvalidLSN, match="64 bits"):
            lsn - -count


@pytest.mark.parametrize("count", [HUGE, NEGATIVE])
def test_a_huge_count_is_refused(count: int) -> None:
    with pytest.raises(InvalidLSN):
        LSN(1) + count


@pytest.mark.parametrize(
    "meaningless",
    [
        "lsn + lsn",
        "lsn + True",
        "True + lsn",
        "lsn - True",
        "lsn + 1.0",
        "lsn + b'x'",
        "lsn + '1'",
        "1 - lsn",
        "lsn * 2",
        "2 * lsn",
        "lsn % 2",
        "lsn // 2",
        "-lsn",
        "lsn[0]",
        "lsn[:]",
        "list(lsn)",
        "1 in lsn",
        "b'' in lsn",
        "hex(lsn)",
        "lsn - b'x'",
        "lsn | 1",
    ],
)
def test_meaningless_operations_are_type_errors(meaningless: str) -> None:
    with pytest.raises(TypeError):
        eval(meaningless, {"lsn": LSN("0/2A")})


def test_a_position_equals_no_int_and_no_text() -> None:
    foreign_nodes: list[object] = [42, "0/2A", 42.0, None]
    assert LSN(42) not in foreign_nodes


def test_a_position_is_true_even_at_zero() -> None:
    assert bool(LSN.INVALID)


def test_dir_lists_only_the_names_of_lsn() -> None:
    public = {name for name in dir(LSN(1)) if not name.startswith("_")}
    assert public == {"INVALID", "MAX", "from_bytes", "to_bytes", "offset_in", "wal_file"}


def test_a_format_spec_applies_to_the_text() -> None:
    assert f"{LSN('0/2A'):>8}|{LSN('0/2A')!s}|{LSN('0/2A')!r}" == "    0/2A|0/2A|LSN('0/2A')"


@given(lsns(), segment_sizes(), timelines())
@example(LSN("1/0"), SegmentSize.DEFAULT, 1)
def test_file_and_offset_return_the_position(lsn: LSN, size: SegmentSize, timeline: int) -> None:
    name = lsn.wal_file(timeline=timeline, segment_size=size)
    assert name == WalFileName.containing(lsn, timeline=timeline, segment_size=size)
    assert name.lsn_at(lsn.offset_in(size)) == lsn


def test_segments_have_16_mib_by_default() -> None:
    lsn = LSN("4/DF75D0E0")
    assert str(lsn.wal_file(timeline=1)) == "0000000100000004000000DF"
    assert lsn.offset_in(SegmentSize.DEFAULT) == 0x75D0E0


@pytest.mark.parametrize("timeline", [0, -1, 1 << 32])
def test_an_impossible_timeline_is_refused(timeline: int) -> None:
    with pytest.raises(InvalidWalFileName):
        LSN(1).wal_file(timeline=timeline)
