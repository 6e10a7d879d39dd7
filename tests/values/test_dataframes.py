"""LSN in numpy, pandas and polars: an object that is sorted, compared and subtracted."""

from __future__ import annotations

from typing import Any

import pytest

from pgreplkit import LSN

LOW, HIGH = LSN("0/1000000"), LSN("16/B374D848")
MIDDLE = LOW + 500


# The packages are of the group "ecosystem", which nox installs for one Python only. They take half
# a second to import, which only the tests that use them should spend.
@pytest.fixture
def np() -> Any:
    return pytest.importorskip("numpy")


@pytest.fixture
def pd() -> Any:
    return pytest.importorskip("pandas")


@pytest.fixture
def pl() -> Any:
    return pytest.importorskip("polars")


def test_numpy_keeps_positions_as_objects(np: Any) -> None:
    for array in (np.array([LOW, HIGH]), np.asarray(LOW), np.full(2, LOW)):
        assert array.dtype == object
    assert [*np.sort(np.array([HIGH, LOW]))] == [LOW, HIGH]
    assert [*(np.array([HIGH, LOW]) - np.array([LOW, LOW]))] == [HIGH - LOW, 0]


@pytest.mark.parametrize(
    "meaningless",
    [
        "np.array([lsn]) * 2",
        "np.array([lsn]) + np.array([lsn])",
        "np.array([1, 2]) - lsn",
        "np.array([1, 2]) < lsn",
        "np.int64(5) - lsn",
        "np.int64(5) * lsn",
        "np.float64(5) + lsn",
        "np.mean([lsn, lsn])",
        "np.sqrt(lsn)",
        "np.multiply(lsn, 2)",
        "np.bitwise_and(lsn, 1)",
        "np.array([lsn], dtype=float)",
        "np.frombuffer(lsn, dtype='u1')",
    ],
)
def test_meaningless_arithmetic_of_numpy_is_a_type_error(np: Any, meaningless: str) -> None:
    with pytest.raises(TypeError):
        eval(meaningless, {"np": np, "lsn": LOW})


def test_pandas_sorts_compares_and_subtracts_positions(pd: Any) -> None:
    series = pd.Series([MIDDLE, HIGH, LOW])
    assert series.dtype == object
    assert [*series.sort_values()] == [LOW, MIDDLE, HIGH]
    assert [*(series > MIDDLE)] == [False, True, False]
    assert [*(series == LOW)] == [False, False, True]
    assert (series.min(), series.max()) == (LOW, HIGH)
    assert [*(series - LOW)] == [500, HIGH - LOW, 0]
    assert [*(HIGH - series)] == [HIGH - MIDDLE, 0, HIGH - LOW]
    assert [*series.diff()][1:] == [HIGH - MIDDLE, LOW - HIGH]
    assert (series - LOW).astype("int64").sum() == 500 + (HIGH - LOW)
    assert [*series.astype(str)] == [str(MIDDLE), str(HIGH), str(LOW)]
    assert [*pd.Series([LOW, None]).isna()] == [False, True]


def test_pandas_sorts_and_joins_tables_by_position(pd: Any) -> None:
    left = pd.DataFrame({"lsn": [HIGH, LOW], "x": [1, 2]})
    right = pd.DataFrame({"lsn": [LOW, HIGH], "y": [3, 4]})
    assert [*left.sort_values("lsn").x] == [2, 1]
    assert [*left.merge(right, on="lsn").y] == [4, 3]


@pytest.mark.parametrize("meaningless", ["s.sum()", "s.mean()", "s * 2", "s + s", "s < 5"])
def test_meaningless_arithmetic_of_pandas_is_a_type_error(pd: Any, meaningless: str) -> None:
    with pytest.raises(TypeError):
        eval(meaningless, {"s": pd.Series([LOW, HIGH])})


def test_polars_keeps_positions_as_objects(pl: Any) -> None:
    frame = pl.DataFrame({"lsn": [HIGH, LOW]})
    assert frame.schema == {"lsn": pl.Object}
    assert frame["lsn"].to_list() == [HIGH, LOW]


@pytest.mark.parametrize(
    "wrong",
    [
        *("pl.Series([lsn], dtype=pl.Binary)", "pl.Series([lsn], dtype=pl.String)"),
        *("pl.Series([lsn], dtype=pl.UInt64)", "pl.lit(lsn)"),
    ],
)
def test_polars_refuses_a_position_as_bytes_text_or_number(pl: Any, wrong: str) -> None:
    # A ValueError before the process has made its first series of objects.
    with pytest.raises((TypeError, ValueError)):
        eval(wrong, {"pl": pl, "lsn": LOW})
