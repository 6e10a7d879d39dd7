"""The status of feeds in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import attrs

from pgreplkit.feeds.fleet import FeedStatus
from pgreplkit.feeds.states import FeedState


@attrs.frozen
class _Metric:
    name: str
    kind: str
    about: str
    value: Callable[[FeedStatus], float | None]
    """None if there is no value, which is left out."""


_METRICS = (
    _Metric(
        *("healthy", "gauge", "1 unless it has failed, or has waited for some 5 minutes."),
        lambda one: one.is_healthy,
    ),
    _Metric(
        *("failures", "gauge", "Attempts that have failed one after the other."),
        lambda one: one.failures,
    ),
    _Metric(
        *("lag_seconds", "gauge", "Age of the last commit when the sink had stored it."),
        lambda one: None if one.lag is None else one.lag.total_seconds(),
    ),
    _Metric(
        *("position_bytes", "gauge", "Position in the WAL up to which the sink has changes."),
        lambda one: None if one.position is None else int(one.position),
    ),
    _Metric(
        *("messages_total", "counter", "Messages that the sink has stored."),
        lambda one: one.messages,
    ),
    _Metric(
        *("parked_total", "counter", "Changes that the sink refused, and that were replaced."),
        lambda one: one.parked,
    ),
)


def metrics_text(rows: Sequence[FeedStatus]) -> str:
    """Return the status of feeds in the text format of Prometheus."""
    lines: list[str] = []
    for metric in _METRICS:
        samples = ((_labels(one), metric.value(one)) for one in rows)
        lines += _family(metric.name, metric.kind, metric.about, samples)
    # One series for each state, so that a rule can name the state.
    states = (
        (f'{_labels(one)},state="{state.value}"', one.state is state)
        for one in rows
        for state in FeedState
    )
    lines += _family("state", "gauge", "1 for the state of the feed.", states)
    return "".join(lines)


def _family(
    name: str, kind: str, about: str, samples: Iterable[tuple[str, float | None]]
) -> list[str]:
    name = f"pgreplkit_feed_{name}"
    return [
        f"# HELP {name} {about}\n",
        f"# TYPE {name} {kind}\n",
        *(
            f"{name}{{{labels}}} {_written(value)}\n"
            for labels, value in samples
            if value is not None
        ),
    ]


def _labels(one: FeedStatus) -> str:
    return f'feed="{_escaped(one.name)}",slot="{_escaped(one.slot)}"'


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _written(value: float) -> str:
    # A position has more digits than a format of floats would keep.
    return str(int(value)) if isinstance(value, int) else repr(value)
