"""Samples as SVG charts: a figure of each server over time, and the state of each below."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import attrs

from pgreplkit._text import counted
from pgreplkit.display.markup import (
    AMBER,
    BLUE,
    GREEN,
    GREY,
    PALETTE,
    RED,
    Markup,
    badge,
    block,
    join,
    muted,
    panel,
    span,
    tag,
    text,
)
from pgreplkit.display.table import table
from pgreplkit.display.tree import LAG_COLOURS, lag_badge
from pgreplkit.plans.cluster.watch import NodeSample, WatchSample, WatchSamples, retained_text
from pgreplkit.values.text import clean, duration_text, size_text, value_text

_WIDTH, _HEIGHT, _LEFT, _BAND = 640.0, 150.0, 70.0, 9.0
_MOST_POINTS = 300
"""Points of one line: about two pixels for each, so that long series stay small."""


_WORST_FIRST = [RED, AMBER, GREY, BLUE, GREEN]
"""The colours of states: that of several samples is the worst of theirs."""


@attrs.frozen
class Point:
    """The figure of one server at a time, in seconds from the first sample; None is a gap."""

    at: float
    value: float | None
    colour: str
    """The colour of its state."""


@attrs.frozen
class Series:
    """The figures of one server."""

    name: str
    points: tuple[Point, ...]


def sample_panel(sample: WatchSample) -> Markup:
    """Return one round of samples: a line for each server."""
    title = join([text("sample "), muted(value_text(sample.taken_at))])
    names = ["server", "role", "timeline", "lsn", "lag", "WAL rate", "slots retain"]
    return panel(title, table(names, [_row(node) for node in sample.nodes.values()]))


def _row(node: NodeSample) -> list[object]:
    if node.error is not None:
        error = join([badge("no answer", RED), block(muted(clean(str(node.error))))])
        return [tag("b", node.name), error, None, None, None, None, None]
    rate = None if node.wal_rate is None else f"{size_text(node.wal_rate)}/s"
    retained = retained_text(node)
    lag = None if node.lag is None else lag_badge(node.lag)
    return [tag("b", node.name), node.role, node.timeline, node.lsn, lag, rate, retained]


def samples_panel(samples: WatchSamples) -> Markup:
    """Return the lag of each server over time, and its states."""
    if not samples.samples:
        return panel("no samples")
    begin, end = samples[0].taken_at, samples[-1].taken_at
    series = series_of(samples)
    highest = max((p.value or 0.0 for one in series for p in one.points), default=0.0)
    # One sample must not divide by zero, and the axis of a lag of 0 has whole bytes.
    length = max((end - begin).total_seconds(), 1e-9)
    title = join(
        [
            text(f"lag of {counted(len(series), 'server')} "),
            muted(f"{counted(len(samples), 'sample')} in {duration_text(end - begin)}"),
        ]
    )
    chart = _chart(series, length, max(highest, 1024.0), begin, end)
    return panel(title, chart, _legend(series, samples[-1]))


def series_of(samples: Sequence[WatchSample]) -> list[Series]:
    """Return the lag in bytes of each server, thinned so that peaks and gaps remain."""
    begin = samples[0].taken_at
    names = dict.fromkeys(name for sample in samples for name in sample.nodes)
    times = [(sample.taken_at - begin).total_seconds() for sample in samples]
    return [
        Series(
            name,
            _thinned(
                [
                    _point(at, sample.nodes.get(name))
                    for at, sample in zip(times, samples, strict=True)
                ]
            ),
        )
        for name in names
    ]


def _point(at: float, node: NodeSample | None) -> Point:
    if node is None or node.error is not None:
        return Point(at, None, RED)
    # A primary has no lag, and so no curve.
    if node.lag is None:
        return Point(at, None, GREEN)
    value = None if node.lag.bytes is None else float(node.lag.bytes)
    return Point(at, value, LAG_COLOURS.get(node.lag.reason, GREY))


def _thinned(points: Sequence[Point]) -> tuple[Point, ...]:
    """Return at most 300 points: the highest of each group, or a gap if the group has one."""
    # Rounded up, so that the number of groups stays below the limit.
    size = -(-len(points) // _MOST_POINTS)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return tuple(
        Point(
            group[0].at,
            None if any(p.value is None for p in group) else max(p.value or 0.0 for p in group),
            min((p.colour for p in group), key=_WORST_FIRST.index),
        )
        for group in groups
    )


def _chart(
    series: Sequence[Series], length: float, highest: float, begin: datetime, end: datetime
) -> Markup:
    scale = (_WIDTH - _LEFT - 10) / length
    # Below the curves are the times, and a band for each server.
    height = _HEIGHT + 22 + (_BAND + 3) * len(series)
    parts = [
        _axis(y, label)
        for y, label in (
            (10.0, size_text(highest)),
            (_HEIGHT / 2 + 5, size_text(highest / 2)),
            (_HEIGHT, "0"),
        )
    ]
    for number, one in enumerate(series):
        colour = PALETTE[number % len(PALETTE)]
        for line in _runs(one, scale, highest):
            parts.append(tag("polyline", points=line, fill="none", stroke=colour, stroke_width=1.5))
        parts += _band(one, number, scale, length, colour)
    for x, at, anchor in ((_LEFT, begin, "start"), (_WIDTH - 10, end, "end")):
        parts.append(_label(x, _HEIGHT + 14, f"{at:%H:%M:%S}", anchor))
    box = f"0 0 {_WIDTH:.0f} {height:.0f}"
    style = f"width:100%;max-width:{_WIDTH:.0f}px;display:block"
    return tag(
        "svg", *parts, xmlns="http://www.w3.org/2000/svg", viewBox=box, style=style, role="img"
    )


def _axis(y: float, label: str) -> Markup:
    line = tag(
        "line", x1=_LEFT, x2=_WIDTH - 10, y1=y, y2=y, stroke="currentColor", stroke_opacity=".2"
    )
    return join([line, _label(_LEFT - 6, y + 4, label, "end")])


def _label(x: float, y: float, words: str, anchor: str) -> Markup:
    return tag(
        "text",
        words,
        x=x,
        y=y,
        fill="currentColor",
        opacity=".65",
        font_size=11,
        text_anchor=anchor,
    )


def _runs(series: Series, scale: float, highest: float) -> list[str]:
    """Return the lines between the gaps; a single point becomes a dot."""
    runs: list[list[str]] = [[]]
    for point in series.points:
        if point.value is None:
            runs.append([])
            continue
        y = _HEIGHT - (_HEIGHT - 10) * point.value / highest
        runs[-1].append(f"{_LEFT + scale * point.at:.1f},{y:.1f}")
    # A line of one point would be invisible.
    return [" ".join(run if len(run) > 1 else [*run, *run]) for run in runs if run]


def _band(series: Series, number: int, scale: float, length: float, colour: str) -> list[Markup]:
    """Return the states of a server as a band of colours, beside its name."""
    y = _HEIGHT + 22 + (_BAND + 3) * number
    changes = [
        point
        for before, point in zip((None, *series.points), series.points, strict=False)
        if before is None or before.colour != point.colour
    ]
    ends = [point.at for point in changes[1:]] + [length]
    bands = [
        tag(
            "rect",
            x=_LEFT + scale * point.at,
            y=y,
            width=max(1.0, scale * (end - point.at)),
            height=_BAND,
            fill=point.colour,
        )
        for point, end in zip(changes, ends, strict=True)
    ]
    # The margin has room for ten characters; the legend has the whole name.
    name = series.name if len(series.name) <= 10 else f"{series.name[:9]}…"
    return [
        tag("text", name, x=_LEFT - 6, y=y + 8, fill=colour, font_size=10, text_anchor="end"),
        *bands,
    ]


def _legend(series: Sequence[Series], last: WatchSample) -> Markup:
    return join(
        _entry(one.name, PALETTE[n % len(PALETTE)], last.nodes.get(one.name))
        for n, one in enumerate(series)
    )


def _entry(name: str, colour: str, node: NodeSample | None) -> Markup:
    parts = [span("●", style=f"color:{colour}"), Markup(" "), tag("b", name), Markup(" ")]
    if node is None or node.error is not None:
        parts.append(badge("no answer", RED))
    elif node.lag is None:
        parts.append(muted("primary"))
    else:
        parts.append(lag_badge(node.lag))
    # A block of its own, so that the line can break between two servers.
    style = "display:inline-block;margin-right:1.5em;white-space:nowrap"
    return span(*parts, style=style)
