"""The result of a comparison: how far it is, and the rows that differ."""

from __future__ import annotations

from collections.abc import Sequence

from pgreplkit._text import counted
from pgreplkit.display.markup import (
    AMBER,
    GREEN,
    LINE,
    RED,
    Markup,
    badge,
    block,
    code,
    join,
    muted,
    panel,
    text,
)
from pgreplkit.display.table import table
from pgreplkit.plans.logical.compare import CompareProgress, RowDiff

_MOST = 100


def progress_panel(progress: CompareProgress) -> Markup:
    """Return the progress of a comparison, and the differences of its last range."""
    share = 100 * progress.share
    done = f"{progress.rows_done} of about {counted(progress.rows_estimated, 'row')}"
    tables = f"{progress.tables_done} of {counted(progress.tables, 'table')}"
    bar = block(
        block(style=f"width:{share:.1f}%;height:.8em;background:{GREEN}"),
        style=f"max-width:30em;border:{LINE}",
    )
    parts = [block(muted(f"{done}, {tables}")), bar]
    if progress.diffs:
        parts.append(diffs_table(progress.diffs))
    if progress.undecided:
        parts.append(
            block(muted(f"{counted(len(progress.undecided), 'row')} changed at each look"))
        )
    verdict = badge("differs", RED) if progress.diffs else badge("equal", GREEN)
    if progress.undecided and not progress.diffs:
        verdict = badge("undecided", AMBER)
    return panel(join([text(f"{progress.table} "), verdict]), *parts)


def diffs_panel(diffs: Sequence[RowDiff]) -> Markup:
    """Return rows that differ."""
    return panel(counted(len(diffs), "row differs", "rows differ"), diffs_table(diffs))


def diffs_table(diffs: Sequence[RowDiff]) -> Markup:
    """Return a table of rows that differ: the columns whose values differ, on both sides."""
    rows = []
    for diff in diffs[:_MOST]:
        # A row that one side lacks differs in all of its columns.
        columns = diff.columns or tuple(diff.publisher or diff.subscriber or ())
        key = ", ".join(f"{name}={value}" for name, value in diff.key.items())
        sides = (_side(diff.publisher, columns), _side(diff.subscriber, columns))
        rows.append([str(diff.table), code(key), badge(diff.kind.value, RED), *sides])
    names = ["table", "key", "difference", "publisher", "subscriber"]
    return table(names, rows, total=len(diffs))


def _side(values: dict[str, str | None] | None, names: Sequence[str]) -> Markup:
    if values is None:
        return muted("no row")
    lines = [
        block(muted(f"{name} "), code("NULL" if values.get(name) is None else values.get(name)))
        for name in names
    ]
    return join(lines)
