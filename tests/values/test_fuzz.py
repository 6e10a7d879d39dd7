"""Any input of a parser is parsed or refused with one kind of error, in linear time."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import suppress
from time import process_time
from typing import NamedTuple

import pytest
from hypothesis import example, given, strategies as st
from values.samples import BACKUP_HISTORY, BACKUP_LABEL, manifest_text

from pgreplkit import (
    LSN,
    Error,
    SegmentSize,
    ServerVersion,
    SyncStandbyNames,
    TableName,
    TimelineHistory,
    WalFileName,
    parse_wal_name,
)
from pgreplkit.backups import BackupLabel, BackupManifest
from pgreplkit.testing import strategies as ours
from pgreplkit.wal import pg_split_walfile_name


class Parser(NamedTuple):
    parse: Callable[..., object]
    valid: st.SearchStrategy[str]
    takes: tuple[type, ...] = (str,)


def split(text: str) -> object:
    return pg_split_walfile_name(text, server_version=18)


def history(text: str) -> object:
    return TimelineHistory.parse(text, timeline=(1 << 32) - 1)


wal_names = ours.wal_file_names(segment_size=SegmentSize.DEFAULT).map(str)
versions = st.sampled_from(["18", "18.4", "19devel", "180004", "15.18 (Debian 15.18-0+deb12u1)"])
PARSERS = {
    "LSN": Parser(LSN, ours.lsns().map(str), (str, int)),
    "LSN.from_bytes": Parser(LSN.from_bytes, st.just("12345678"), (bytes, bytearray, memoryview)),
    "SegmentSize": Parser(SegmentSize, st.just("16777216"), (int,)),
    "SegmentSize.parse": Parser(SegmentSize.parse, ours.segment_sizes().map(str)),
    "WalFileName.parse": Parser(WalFileName.parse, wal_names),
    "parse_wal_name": Parser(parse_wal_name, ours.wal_names().map(str)),
    "pg_split_walfile_name": Parser(split, wal_names),
    "TimelineHistory.parse": Parser(history, ours.timeline_histories().map(str)),
    "SyncStandbyNames.parse": Parser(SyncStandbyNames.parse, ours.sync_standby_names().map(str)),
    "BackupLabel.parse": Parser(BackupLabel.parse, st.sampled_from([BACKUP_LABEL, BACKUP_HISTORY])),
    "BackupManifest.parse": Parser(BackupManifest.parse, st.builds(manifest_text), (str, bytes)),
    "TableName.parse": Parser(TableName.parse, st.sampled_from(["users", 'a."B ""c"'])),
    "ServerVersion": Parser(ServerVersion, versions, (str, int)),
}
HOSTILE = [
    *"\0\ud800\udfff１٣²٫\u00a0\u2028\u200b\ufeff\n\r\t\v\x1c\x85 \"'/\\-+_.,:;(*){}[]#xX0fFgG９"
]
STRANGERS: list[object] = [
    *(None, True, 0, -1, 1 << 64, 10**5000, 5.0, float("nan"), 1j, (), [], {}, {"a"}, object()),
    *(b"", b"12345678", b"0/0", bytearray(8), bytearray(3), memoryview(bytes(8)), range(3), str),
    *("", "0/0", LSN(5), SegmentSize.DEFAULT, WalFileName(1, 1), Error("x"), iter("0/0"), print),
]

every_parser = pytest.mark.parametrize("parser", PARSERS.values(), ids=PARSERS)


def check(parser: Parser, handed: object) -> None:
    """Expect a value, an InvalidValue, or a TypeError for a type that is not accepted."""
    try:
        found = parser.parse(handed)
    except (TypeError, Error) as refused:
        found = refused
    if isinstance(found, TypeError):
        assert type(handed) not in parser.takes
    elif isinstance(found, Error):
        assert isinstance(found, ValueError)
        assert type(handed) in parser.takes
        assert 0 < len(str(found).encode()) < 2000
    else:
        assert type(handed) in parser.takes


@st.composite
def mutated(draw: st.DrawFn, valid: st.SearchStrategy[str]) -> str:
    text = draw(valid)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(start + 4, len(text))))
        sign = draw(st.sampled_from(["", *HOSTILE, text[:16], text[-8:]]))
        text = text[:start] + sign * draw(st.sampled_from((1, 2, 40))) + text[end:]
    return text


@every_parser
@given(text=st.text(st.characters()) | st.text(st.sampled_from(HOSTILE)))
def test_any_text_is_parsed_or_refused(parser: Parser, text: str) -> None:
    check(parser, text)


@every_parser
@given(data=st.data())
def test_a_nearly_valid_text_is_parsed_or_refused(parser: Parser, data: st.DataObject) -> None:
    text = data.draw(mutated(parser.valid))
    check(parser, text)
    check(parser, text.encode("utf-8", "surrogatepass"))


@every_parser
@given(data=st.binary())
@example(b"\xff\xfe{\0}\0")
@example(b"\0\0\0{")
@example(b"\xed\xa0\x80")
@example(b"\xef\xbb\xbf{}")
def test_any_bytes_are_parsed_or_refused(parser: Parser, data: bytes) -> None:
    for handed in (data, bytearray(data), memoryview(data)):
        check(parser, handed)


@every_parser
@given(number=st.integers())
def test_any_number_is_accepted_or_refused(parser: Parser, number: int) -> None:
    check(parser, number)


@every_parser
def test_any_object_is_accepted_or_refused(parser: Parser) -> None:
    for stranger in STRANGERS:
        check(parser, stranger)


UNITS = [
    *("0", "1", "F", "9/", "/", " ", "\t", "\n", "\r\n", "\0", "\ud800", "é", "１", "-", "+1", "."),
    *("a", "a,", "a ,", '"', '""', '"a",', '" ', "(", "1(", "*,", "FIRST ", "any 1 ("),
    *("[", '{"a":', "[1,", "1,", "\\", '"\\u', "#", "#\n", "1\t0/1\tx\n", "1 ", "\ta\n", "# \n"),
    *("LABEL: x\n", "a\n", ": ", "a: b\n", "START TIMELINE: 1\n", ".gz", ".partial", "1.", "1!"),
]
HEADS = {
    "TimelineHistory.parse": "1\t0/5\t",
    "SyncStandbyNames.parse": "ANY 1 (",
    "BackupLabel.parse": "LABEL: ",
    "BackupManifest.parse": '{"Files": ',
    "LSN": "0/",
    "ServerVersion": "18",
}
LENGTH = 30_000


def seconds(parse: Callable[..., object], text: str | bytes) -> float:
    # A garbage collection of objects of other tests would be measured too.
    gc.disable()
    try:
        start = process_time()
        with suppress(Error, TypeError):
            parse(text)
        return process_time() - start
    finally:
        gc.enable()


def assert_linear(parse: Callable[..., object], text: str) -> None:
    """Eight times the text takes about eight times as long: a square would take sixty-four."""
    if seconds(parse, text * 4) < 0.02:
        return
    # Other work of the machine may spoil one measurement, not all five.
    ratios = (seconds(parse, text * 8) / seconds(parse, text) for _ in range(5))
    assert any(ratio < 25 for ratio in ratios)


@pytest.mark.alone
@every_parser
@pytest.mark.parametrize("unit", UNITS, ids=ascii)
def test_parsing_hostile_text_takes_linear_time(parser: Parser, unit: str) -> None:
    assert_linear(parser.parse, unit * (LENGTH // len(unit)))


@pytest.mark.alone
@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("unit", UNITS, ids=ascii)
def test_parsing_hostile_text_after_a_valid_start_takes_linear_time(name: str, unit: str) -> None:
    def parse(text: str) -> object:
        return PARSERS[name].parse(f"{HEADS[name]}{text}!")

    assert_linear(parse, unit * (LENGTH // len(unit)))


@pytest.mark.alone
@every_parser
@pytest.mark.parametrize("unit", ["a,", '"', "\n", "[", "1", " "], ids=ascii)
def test_a_million_repetitions_are_parsed_or_refused_quickly(parser: Parser, unit: str) -> None:
    assert seconds(parser.parse, unit * 1_000_000) < 30


@pytest.mark.parametrize("count", [1000, 40_000])
def test_long_values_are_parsed_completely(count: int) -> None:
    names = SyncStandbyNames.parse(", ".join(f"node_{n}" for n in range(count)))
    assert len(names.names) == count
    lines = "".join(f"{n}\t0/{n:X}\treason\n" for n in range(1, count))
    assert len(TimelineHistory.parse(lines, timeline=count).timelines) == count
    label = BACKUP_LABEL.replace("nightly", "a\n" * count)
    assert BackupLabel.parse(label).label == "a\n" * count
