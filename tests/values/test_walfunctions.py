"""The server's functions in Python, compared with answers of seven major versions."""

import json
import re
from pathlib import Path
from typing import NotRequired, TypedDict

import pytest
from hypothesis import given

from pgreplkit import LSN, SegmentSize, WalFileName
from pgreplkit.errors import (
    InvalidLSN,
    InvalidServerVersion,
    InvalidWalFileName,
    UnsupportedByServer,
)
from pgreplkit.testing.strategies import lsns, segment_sizes, wal_file_names
from pgreplkit.wal import (
    pg_split_walfile_name,
    pg_wal_lsn_diff,
    pg_walfile_name,
    pg_walfile_name_offset,
)


class Row(TypedDict):
    op: str
    segment_size: int
    timeline: NotRequired[int]
    arg: str
    result: NotRequired[str | list[str]]
    error: NotRequired[str]
    majors: list[int]


ROWS: list[Row] = json.loads(
    (Path(__file__).parents[1] / "data" / "wal_vectors.json").read_text("utf-8")
)
MAJORS = sorted({major for row in ROWS for major in row["majors"]})
BEFORE_17 = [major for major in MAJORS if major < 17]
SYNTAX, OUT_OF_RANGE, INVALID_PARAMETER = "22P02", "22023", "22023"
NO_OPERATOR = "42883"

# An operator in SQL, and the same in Python.
PYTHON = [
    (r"pg_wal_lsn_diff\('(\S+)','(\S+)'\)", r"pg_wal_lsn_diff(LSN('\1'), LSN('\2'))"),
    (r"pg_lsn '(\S+?)'", r"LSN('\1')"),
    (r"'(\S+?)'::pg_lsn", r"LSN('\1')"),
    (r"pg_lsn\(", "LSN("),
    (r"::(numeric|bigint|float8)", ""),
    (r"greatest", "max"),
    (r" = ", " == "),
    (r"<>", "!="),
]


def rows(op: str) -> list[tuple[int, Row]]:
    found = [(major, row) for row in ROWS if row["op"] == op for major in row["majors"]]
    assert len(found) > 100
    return found


def answer(op: str, major: int, row: Row) -> str | list[str]:
    size, timeline = SegmentSize(row["segment_size"]), row.get("timeline", 1)
    if op == "pg_lsn_in":
        return str(LSN(row["arg"]))
    if op == "pg_split_walfile_name":
        split = pg_split_walfile_name(row["arg"], server_version=major, segment_size=size)
        return [str(number) for number in split]
    twin = pg_walfile_name if op == "pg_walfile_name" else pg_walfile_name_offset
    found = twin(LSN(row["arg"]), server_version=major, timeline=timeline, segment_size=size)
    return str(found) if isinstance(found, WalFileName) else [str(part) for part in found]


def answer_or_code(op: str, major: int, row: Row) -> str | list[str]:
    try:
        return answer(op, major, row)
    except InvalidLSN:
        return SYNTAX
    except InvalidWalFileName:
        return INVALID_PARAMETER


@pytest.mark.parametrize(
    "op", ["pg_lsn_in", "pg_walfile_name", "pg_walfile_name_offset", "pg_split_walfile_name"]
)
def test_answers_equal_those_recorded_from_each_major_version(op: str) -> None:
    wrong = [
        (major, row, found)
        for major, row in rows(op)
        if (found := answer_or_code(op, major, row)) != row.get("result", row.get("error"))
    ]
    assert wrong == []


def computed(expression: str) -> str:
    for sql, python in PYTHON:
        expression = re.sub(sql, python, expression)
    try:
        return str(eval(expression, {"LSN": LSN, "pg_wal_lsn_diff": pg_wal_lsn_diff}))
    except InvalidLSN as error:
        return OUT_OF_RANGE if "64 bit" in error.reason else SYNTAX
    except TypeError:
        return NO_OPERATOR


def test_arithmetic_and_order_are_the_servers() -> None:
    wrong = [
        (major, row, found)
        for major, row in rows("expression")
        if (found := computed(row["arg"])) != row.get("result", row.get("error"))
    ]
    assert wrong == []


@pytest.mark.parametrize("answering", MAJORS)
def test_the_file_of_a_boundary_position_changed_in_17(answering: int) -> None:
    name, offset = pg_walfile_name_offset(LSN("0/3000000"), server_version=answering)
    assert (name.number, offset) == (2 if answering < 17 else 3, 0)


@given(lsns(), segment_sizes())
def test_from_17_on_the_functions_agree_with_the_containing_file(
    lsn: LSN, size: SegmentSize
) -> None:
    name, offset = pg_walfile_name_offset(lsn, server_version=17, segment_size=size)
    assert name == pg_walfile_name(lsn, server_version="17.1", segment_size=size)
    assert name == WalFileName.containing(lsn, timeline=1, segment_size=size)
    assert name.lsn_at(offset) == lsn


@pytest.mark.parametrize("answering", BEFORE_17)
def test_before_17_zero_wraps_to_the_last_file_of_all(answering: int) -> None:
    assert str(pg_walfile_name(LSN.INVALID, server_version=answering)) == "00000001FFFFFFFF000000FF"


@given(wal_file_names())
def test_splitting_a_name_returns_its_parts(name: WalFileName) -> None:
    split = pg_split_walfile_name(str(name), server_version=18, segment_size=name.segment_size)
    assert split == (name.number, name.timeline)
    assert split.segment_number == name.number
    assert split.timeline_id == name.timeline


@pytest.mark.parametrize("answering", [10, 15, "15.18", 150018])
def test_splitting_is_unsupported_before_16(answering: int | str) -> None:
    with pytest.raises(UnsupportedByServer) as refused:
        pg_split_walfile_name("000000010000000000000001", server_version=answering)
    assert refused.value.since == 16


@given(lsns(), lsns())
def test_the_difference_is_signed(a: LSN, b: LSN) -> None:
    assert pg_wal_lsn_diff(a, b) == -pg_wal_lsn_diff(b, a) == a - b


@pytest.mark.parametrize("stranger", [5, "5", "0/5", None, b"12345678"])
def test_only_a_position_has_a_file(stranger: LSN) -> None:
    with pytest.raises(TypeError, match=type(stranger).__name__):
        pg_walfile_name(stranger, server_version=18)
    with pytest.raises(TypeError, match=type(stranger).__name__):
        pg_walfile_name_offset(stranger, server_version=18)


def test_an_impossible_version_is_refused() -> None:
    with pytest.raises(InvalidServerVersion):
        pg_walfile_name(LSN(1), server_version="newest")
    with pytest.raises(TypeError):
        pg_split_walfile_name(5, server_version=18)  # type: ignore[arg-type]
