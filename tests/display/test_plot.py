"""Samples drawn with matplotlib."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import attrs
import pytest
from instances import Builder
from serverfacts import NOW

from pgreplkit.catalog.server.lag import ReplayLag
from pgreplkit.errors import Error, ExtraMissing
from pgreplkit.plans.cluster.watch import NodeSample, WatchSample, WatchSamples

LAG: ReplayLag = Builder("full").build(ReplayLag)


def samples(lag: ReplayLag = LAG) -> WatchSamples:
    """Two servers, one of which does not answer in the second of three rounds."""
    rounds = []
    for second in range(3):
        nodes = {name: NodeSample(name=name, is_primary=False, lag=lag) for name in ("a", "_b")}
        if second == 1:
            nodes["a"] = NodeSample(name="a", error=Error("down"))
        rounds.append(WatchSample(taken_at=NOW + timedelta(seconds=second), nodes=nodes))
    return WatchSamples(tuple(rounds))


@pytest.fixture
def pyplot() -> Iterator[Any]:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")


def test_a_plot_has_a_line_for_each_server_with_gaps(pyplot: Any) -> None:
    ax: Any = samples().plot()
    ax.figure.canvas.draw()
    first, second = ax.get_lines()
    assert [*map(str, first.get_ydata())] == [f"{LAG.bytes}.0", "nan", f"{LAG.bytes}.0"]
    assert len(second.get_ydata()) == 3
    assert [entry.get_text().strip() for entry in ax.get_legend().get_texts()] == ["a", "_b"]
    assert ax.get_ylabel() == "lag (bytes)"


def test_a_lag_of_zero_is_drawn_on_the_axis_and_the_date_is_not_cut_off(pyplot: Any) -> None:
    ax: Any = samples(attrs.evolve(LAG, bytes=0)).plot()
    assert ax.get_ylim()[0] == 0
    ax.figure.canvas.draw()
    assert ax.xaxis.get_tightbbox().ymin >= 0


def test_a_duration_is_drawn_in_seconds_on_the_given_axes(pyplot: Any) -> None:
    own: Any = pyplot.figure().add_subplot()
    found: Any = samples().plot("lag_time", ax=own)
    assert found is own
    assert own.get_ylabel() == "lag time (seconds)"
    assert LAG.time is not None
    assert own.get_lines()[1].get_ydata()[0] == LAG.time.total_seconds()


@pytest.mark.parametrize("column", ["name", "lag_reason", "nothing"])
def test_a_column_without_numbers_is_refused(column: str) -> None:
    with pytest.raises(ValueError, match="not a column of numbers; plot one of"):
        samples().plot(column)


def test_every_column_that_the_refusal_names_can_be_drawn(pyplot: Any) -> None:
    node = attrs.evolve(Builder("full").build(NodeSample), error=None)
    known = WatchSamples((WatchSample(taken_at=NOW, nodes={node.name: node}),))
    with pytest.raises(ValueError, match="plot one of") as refused:
        known.plot("nothing")
    columns = eval(str(refused.value).rpartition("plot one of ")[2])
    assert {"lag_bytes", "lag_time", "retained_bytes"} <= {*columns}
    for column in columns:
        known.plot(column)


def test_without_matplotlib_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("matplotlib", "matplotlib.dates"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ExtraMissing, match=r"pip install 'pgreplkit\[notebook\]'"):
        samples().plot()
