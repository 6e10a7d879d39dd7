"""Retained WAL as bars: one for each holder, with the limits."""

from __future__ import annotations

from collections.abc import Iterator

from pgreplkit.display.findings import findings_table
from pgreplkit.display.markup import (
    AMBER,
    BLUE,
    GREY,
    LINE,
    RED,
    Markup,
    block,
    join,
    muted,
    panel,
    span,
    tag,
    text,
)
from pgreplkit.display.table import severity_badge
from pgreplkit.plans.server.retention import HolderKind, WalHolder, WalRetention
from pgreplkit.values.finding import Severity
from pgreplkit.values.text import duration_text, size_text

_COLOURS = {HolderKind.SLOT: BLUE, HolderKind.ARCHIVER: AMBER}


def retention_panel(report: WalRetention) -> Markup:
    """Return a bar for each holder of WAL, the limit as a line, and the findings."""
    limit = report.max_slot_wal_keep_size
    # One scale for all, so that bars and the limit compare.
    longest = max([1, limit or 0, *(holder.bytes for holder in report.holders)])
    bars = [_bar(holder, longest, limit) for holder in report.holders]
    title = join([text("retained WAL "), severity_badge(report.severity)])
    findings = [f for f in report.findings if f.severity > Severity.OK]
    shown = findings_table(findings) if findings else Markup("")
    return panel(title, block(muted(report.summary)), *bars, shown)


def _bar(holder: WalHolder, longest: int, limit: int | None) -> Markup:
    share = 100 * holder.bytes / longest
    colour = _COLOURS.get(holder.kind, GREY)
    if holder.slot is not None and holder.slot.is_lost:
        colour = RED
    filled = f"width:{share:.1f}%;min-width:1px;height:.8em;background:{colour}"
    parts = [block(style=filled)]
    # The limit is that of slots: the archiver retains WAL without one.
    if limit is not None and holder.kind is HolderKind.SLOT:
        at = 100 * limit / longest
        line = f"position:absolute;top:0;height:.8em;border-left:2px solid {RED}"
        parts.append(block(style=f"{line};left:{at:.1f}%"))
    drawn = block(
        *parts, style=f"position:relative;flex:1;border:{LINE};margin:0 .7em;min-width:8em"
    )
    name = span(
        holder.kind.value, " ", tag("b", holder.name), style="width:18em;overflow-wrap:anywhere"
    )
    row = "display:flex;align-items:center;max-width:60em;margin:.1em 0"
    return block(name, drawn, span(*_figures(holder), style="width:14em"), style=row)


def _figures(holder: WalHolder) -> Iterator[Markup]:
    yield text(size_text(holder.bytes))
    if holder.freed_bytes:
        yield muted(f", {size_text(holder.freed_bytes)} alone")
    if holder.time_left is not None:
        yield muted(f", {duration_text(holder.time_left)} left")
    if not holder.is_binding:
        yield muted(", not retained")
