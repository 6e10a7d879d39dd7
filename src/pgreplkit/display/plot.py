"""Samples drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pgreplkit.errors.extras import needs_extra
from pgreplkit.plans.cluster.watch import WatchSamples

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_UNITS = {"bytes": "bytes", "rate": "bytes per second"}
_TEXTS = {"taken_at", "name", "role", "error", "lag_stage", "lag_reason"}
"""The columns that have no number."""


def plot(samples: WatchSamples, y: str, ax: Axes | None) -> Axes:
    """Draw a column of the samples' records over time, one line for each server."""
    records = samples.to_records()
    lines: dict[str, tuple[list[datetime], list[float]]] = {}
    for sample in samples:
        for record in sample.to_records():
            times, values = lines.setdefault(str(record["name"]), ([], []))
            times.append(sample.taken_at)
            values.append(_number(record, y))
    with needs_extra("notebook", "matplotlib"):
        # Not all of it has types; and type checkers may lack it.
        dates: Any = import_module("matplotlib.dates")
        pyplot: Any = import_module("matplotlib.pyplot")
    if ax is None:
        # Without the layout, savefig() would cut off the date below the axis.
        ax = pyplot.figure(figsize=(8, 3), layout="constrained").add_subplot()
    axes: Axes = ax
    for name, (times, values) in lines.items():
        # matplotlib leaves labels out of the legend that start with an underscore.
        axes.plot(dates.date2num(times), values, label=f" {name}" if name.startswith("_") else name)
    axes.set_ylabel(_label(records, y))
    axes.xaxis_date()
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(axes.xaxis.get_major_locator()))
    axes.margins(x=0.01)
    # Lags and sizes are not negative, so that an axis below zero would be misleading.
    if axes.dataLim.ymin == 0:
        axes.set_ylim(bottom=0)
    if lines:
        axes.legend(frameon=False)
    return axes


def _number(record: dict[str, object], y: str) -> float:
    """Return the value of a column as a number; NaN, which leaves a gap, if it is unknown."""
    value = record.get(y)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if value is None and y in record and y not in _TEXTS:
        return float("nan")
    if isinstance(value, int | float):
        return float(value)
    names = [name for name in record if name not in _TEXTS]
    raise ValueError(f"could not plot {y!r}: it is not a column of numbers; plot one of {names}")


def _label(records: Sequence[dict[str, object]], y: str) -> str:
    unit = _UNITS.get(y.rpartition("_")[2])
    if any(isinstance(record[y], timedelta) for record in records):
        unit = "seconds"
    name = y.replace("_", " ").removesuffix(" bytes")
    return name if unit is None else f"{name} ({unit})"
