"""Plans and their results: the steps, the time of each, and the servers that accept writes."""

from __future__ import annotations

from pgreplkit._text import counted
from pgreplkit.display.markup import (
    BLUE,
    GREEN,
    GREY,
    LINE,
    RED,
    Markup,
    badge,
    block,
    code,
    join,
    muted,
    panel,
    tag,
    text,
)
from pgreplkit.display.table import table
from pgreplkit.plans.cluster.journal import Journal, PlanResult
from pgreplkit.plans.cluster.steps import Step
from pgreplkit.values.text import duration_text, size_text, value_text


def plan_panel(journal: Journal) -> Markup:
    """Return the steps of an operation, those done marked, and the state of writes."""
    done = len(journal.done)
    rows = [
        [number, _progress(number, done), tag("b", step.node), _what(step), code(step.action)]
        for number, step in enumerate(journal.steps, 1)
    ]
    title = join(
        [text(f"{journal.operation} "), muted(f"{done} of {counted(len(rows), 'step')} done")]
    )
    state = block(muted("writes: "), text(journal.state), style="margin-top:.3em")
    return panel(title, table(["", "", "server", "step", "action"], rows), state)


def _progress(number: int, done: int) -> Markup:
    if number <= done:
        return badge("done", GREEN)
    return badge("next", BLUE) if number == done + 1 else muted("–")


def _what(step: Step) -> Markup:
    parts = [text(step.description)]
    if step.is_final:
        parts += [Markup(" "), badge("cannot be undone", RED)]
    if step.check:
        parts.append(block(muted(step.check)))
    return join(parts)


def result_panel(result: PlanResult) -> Markup:
    """Return the finished steps, with the time of each as a bar, and the outage of writes."""
    # An operation that took no time at all has bars without a length.
    total = result.elapsed.total_seconds() or 1.0
    rows = []
    for done in result.steps:
        begin = (done.began_at - result.steps[0].began_at).total_seconds() / total
        bar = _bar(begin, done.elapsed.total_seconds() / total)
        rows.append(
            [tag("b", done.step.node), done.step.description, value_text(done.elapsed), bar]
        )
    facts = [f"done in {duration_text(result.elapsed)}"]
    if result.write_outage is not None:
        facts.append(f"no server accepted writes for {duration_text(result.write_outage)}")
    if result.promotion is not None:
        facts.append(f"timeline {result.promotion.new_timeline}")
    if result.lost_bytes is not None:
        facts.append(f"at least {size_text(result.lost_bytes)} of WAL are lost")
    title = join([text(f"{result.operation} "), muted(" · ".join(facts))])
    return panel(title, table(["server", "step", "time", ""], rows))


def _bar(begin: float, share: float) -> Markup:
    # The times of a resumed operation are of several processes, perhaps with other clocks.
    begin, share = (min(1.0, max(0.0, part)) for part in (begin, share))
    inner = f"margin-left:{100 * begin:.1f}%;width:{100 * share:.1f}%"
    filled = block(style=f"{inner};min-width:2px;height:.8em;background:{GREY}")
    return block(filled, style=f"width:16em;overflow:hidden;border:{LINE}")
