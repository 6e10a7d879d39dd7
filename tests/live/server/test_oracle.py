"""The values agree with live servers: both answer the same questions."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator

import psycopg
import pytest
from clusters import Clusters
from hypothesis import HealthCheck, assume, given, settings, strategies as st

import pgreplkit
from pgreplkit import LSN, SegmentSize, SyncStandbyNames
from pgreplkit.errors import InvalidLSN
from pgreplkit.lab import Lab
from pgreplkit.testing.strategies import lsns, sync_standby_names, wal_file_names

SIZES = ["1MB", *(pytest.param(size, marks=pytest.mark.matrix) for size in ("64MB", "1GB"))]

live = settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Oracle:
    """A live server that answers whole lists."""

    def __init__(self, connection: psycopg.Connection, segment_size: SegmentSize) -> None:
        self.connection = connection
        self.segment_size = segment_size
        self.major = connection.info.server_version // 10000

    def map(self, expression: str, *columns: list[object]) -> list[object]:
        """Return the value of an expression over a and b for each row of the columns."""
        names = ["a", "b"][: len(columns)]
        unnested = ", ".join(["%s::text[]"] * len(columns))
        query = (
            f"SELECT {expression} FROM unnest({unnested})"
            f" WITH ORDINALITY AS t({', '.join(names)}, n) ORDER BY n"
        )
        texts = [[str(value) for value in column] for column in columns]
        return [row[0] for row in self.connection.execute(query.encode(), texts)]


@pytest.fixture(scope="module")
def oracle(major: int, clusters: Clusters) -> Iterator[Oracle]:
    node = clusters.of(major).primary
    with psycopg.connect(node.conninfo, autocommit=True) as connection:
        yield Oracle(connection, SegmentSize.DEFAULT)


@pytest.fixture(params=SIZES)
def sized_oracle(request: pytest.FixtureRequest, pgreplkit_lab: Lab) -> Iterator[Oracle]:
    """The newest server, with segments of each size."""
    size = SegmentSize.parse(request.param)
    node = pgreplkit_lab.primary(
        name=f"segments-{size}",
        segment_size=size,
        settings={"min_wal_size": f"{2 * size.bytes >> 20}MB", "max_wal_size": "4GB"},
    )
    with psycopg.connect(node.conninfo, autocommit=True) as connection:
        yield Oracle(connection, size)
    pgreplkit_lab.remove(node)


@st.composite
def edges(draw: st.DrawFn, size: SegmentSize) -> LSN:
    """A position near a segment's boundary."""
    number = draw(st.integers(0, (1 << 64) // size.bytes - 1))
    position = number * size.bytes + draw(st.integers(-2, 2))
    return LSN(min(max(position, 0), (1 << 64) - 1))


def near_boundaries(size: SegmentSize) -> st.SearchStrategy[list[LSN]]:
    return st.lists(st.one_of(lsns(), edges(size)), min_size=50, max_size=200)


def check_names(oracle: Oracle, positions: list[LSN]) -> None:
    size, version = oracle.segment_size, oracle.major
    columns: list[object] = list(positions)
    for name, position in zip(
        oracle.map("pg_walfile_name(a::pg_lsn)", columns), positions, strict=True
    ):
        ours = pgreplkit.wal.pg_walfile_name(position, server_version=version, segment_size=size)
        assert str(ours) == name
    offsets = oracle.map("(pg_walfile_name_offset(a::pg_lsn)).file_offset", columns)
    for offset, position in zip(offsets, positions, strict=True):
        answer = pgreplkit.wal.pg_walfile_name_offset(
            position, server_version=version, segment_size=size
        )
        assert answer.file_offset == offset


@live
@given(data=st.data())
def test_file_names_and_offsets_equal_the_servers(oracle: Oracle, data: st.DataObject) -> None:
    check_names(oracle, data.draw(near_boundaries(oracle.segment_size)))


def check_split(oracle: Oracle, names: list[str]) -> None:
    columns: list[object] = list(names)
    numbers = oracle.map("(pg_split_walfile_name(a)).segment_number", columns)
    timelines = oracle.map("(pg_split_walfile_name(a)).timeline_id", columns)
    for name, number, timeline in zip(names, numbers, timelines, strict=True):
        ours = pgreplkit.wal.pg_split_walfile_name(
            name, server_version=oracle.major, segment_size=oracle.segment_size
        )
        assert (ours.segment_number, ours.timeline_id) == (number, timeline)


any_name = st.text("0123456789ABCDEFabcdef", min_size=24, max_size=24)


@pytest.mark.pg(">=16")
@live
@given(names=st.lists(st.one_of(any_name, wal_file_names().map(str)), min_size=20))
def test_split_file_names_equal_the_servers(oracle: Oracle, names: list[str]) -> None:
    check_split(oracle, names)


@live
@given(data=st.data(), names=st.lists(any_name, min_size=20))
def test_file_names_equal_the_servers_for_every_segment_size(
    sized_oracle: Oracle, data: st.DataObject, names: list[str]
) -> None:
    check_names(sized_oracle, data.draw(near_boundaries(sized_oracle.segment_size)))
    check_split(sized_oracle, names)


@live
@given(pairs=st.lists(st.tuples(lsns(), lsns()), min_size=20))
def test_differences_and_comparisons_equal_the_servers(
    oracle: Oracle, pairs: list[tuple[LSN, LSN]]
) -> None:
    left: list[object] = [a for a, _ in pairs]
    right: list[object] = [b for _, b in pairs]
    assert oracle.map("a::pg_lsn - b::pg_lsn", left, right) == [a - b for a, b in pairs]
    differences = oracle.map("pg_wal_lsn_diff(a::pg_lsn, b::pg_lsn)", left, right)
    assert differences == [pgreplkit.wal.pg_wal_lsn_diff(a, b) for a, b in pairs]
    operators: dict[str, Callable[[LSN, LSN], bool]] = {
        "<": operator.lt,
        "<=": operator.le,
        ">": operator.gt,
        ">=": operator.ge,
        "=": operator.eq,
        "<>": operator.ne,
    }
    for symbol, ours in operators.items():
        answers = oracle.map(f"a::pg_lsn {symbol} b::pg_lsn", left, right)
        assert answers == [ours(a, b) for a, b in pairs]


@pytest.mark.pg(">=14")
@live
@given(lsn=lsns(), count=st.integers(-(1 << 65), 1 << 65))
def test_sums_equal_the_servers_or_both_refuse(oracle: Oracle, lsn: LSN, count: int) -> None:
    for symbol, move in (("+", operator.add), ("-", operator.sub)):
        query = f"SELECT (%s::pg_lsn {symbol} %s::numeric)::text"
        try:
            row = oracle.connection.execute(query.encode(), [str(lsn), str(count)]).fetchone()
        except psycopg.errors.DatabaseError:
            with pytest.raises(InvalidLSN):
                move(lsn, count)
        else:
            assert row is not None
            assert str(move(lsn, count)) == row[0]


hostile = st.text(st.sampled_from("0123456789ABCDEFabcdefxX/ +-_\t\ng\u0661\uff11"), max_size=19)


@live
@given(texts=st.lists(st.one_of(hostile, lsns().map(str)), min_size=10, max_size=30))
def test_lsn_text_is_accepted_where_the_server_accepts_it(oracle: Oracle, texts: list[str]) -> None:
    for text in texts:
        try:
            row = oracle.connection.execute("SELECT %s::text::pg_lsn::text", [text]).fetchone()
        except psycopg.errors.DataError:
            with pytest.raises(InvalidLSN):
                LSN(text)
        else:
            assert row is not None
            assert str(LSN(text)) == row[0]


def accepted_by_server(oracle: Oracle, text: str) -> bool:
    try:
        # As SET is not allowed for it, ask the check that ALTER SYSTEM makes.
        literal = psycopg.sql.Literal(text)
        statement = psycopg.sql.SQL("ALTER SYSTEM SET synchronous_standby_names = {}")
        oracle.connection.execute(statement.format(literal))
    except (psycopg.errors.DataError, psycopg.errors.SyntaxError):
        return False
    finally:
        oracle.connection.execute("ALTER SYSTEM RESET synchronous_standby_names")
    return True


PIECES = """FIRST any ANY 1 2 007 0 99999999999 ( ) , * a é $ " "" "a""b" "first" a$1 1a a-b _x ;
'"""
pieces = st.sampled_from([" ", "\t", *PIECES.split()])


@live
@given(
    text=st.one_of(
        st.lists(pieces, max_size=9).map("".join),
        st.lists(pieces, max_size=9).map(" ".join),
        sync_standby_names().map(str),
    )
)
def test_synchronous_standby_names_are_accepted_where_the_server_accepts_them(
    oracle: Oracle, text: str
) -> None:
    assume("\n" not in text)  # ALTER SYSTEM itself takes no line ends, whatever the setting
    try:
        SyncStandbyNames.parse(text)
        ours = True
    except pgreplkit.errors.InvalidSyncStandbyNames:
        ours = False
    assert ours == accepted_by_server(oracle, text)
