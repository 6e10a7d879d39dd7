"""SequenceChange: the value to which a subscriber's sequence is set, so that none repeats."""

from collections.abc import Iterator, Mapping

import attrs

from pgreplkit._text import quote_literal
from pgreplkit.catalog.logical.sequences import SequenceState
from pgreplkit.values.finding import EffectiveAfter, Finding, Severity
from pgreplkit.values.record import Record
from pgreplkit.values.tablename import TableName

_DEFINITION = ("data_type", "minimum", "maximum", "increment", "cycle")


@attrs.frozen(kw_only=True)
class SequenceChange(Record):
    """A sequence of the publisher, and the change to the subscriber's."""

    _first = ("name", "source_last_value", "target_last_value", "last_value", "sql")

    name: TableName
    source: SequenceState
    target: SequenceState | None
    """None if the subscriber has no sequence of that name."""
    last_value: int | None
    """The new last_value; None without a change."""
    is_called: bool | None
    sql: str
    """The statement that sets the sequence; empty without a change."""
    findings: tuple[Finding, ...]
    """Problems: a sequence that is missing, near its end, or defined differently."""


def sequence_changes(
    sources: Mapping[TableName, SequenceState],
    targets: Mapping[TableName, SequenceState],
    *,
    margin: int,
) -> tuple[SequenceChange, ...]:
    """Return the change to each sequence, by name; ``margin`` counts values of nextval()."""
    return tuple(
        _change(source, targets.get(name), margin) for name, source in sorted(sources.items())
    )


def _change(source: SequenceState, target: SequenceState | None, margin: int) -> SequenceChange:
    # In the units of nextval(): the publisher may use numbers while the plan runs.
    wanted = source.last_value + margin * source.increment
    findings = [*_findings(source, target, wanted)]
    last_value = is_called = None
    sql = ""
    # A sequence is never set back: it would return values again.
    if target is not None and not _is_ahead(source, target, margin):
        # setval() refuses a value beyond the limits of the subscriber's sequence.
        last_value = max(target.minimum, min(wanted, target.maximum))
        is_called = source.is_called or margin > 0
        called = "true" if is_called else "false"
        text = quote_literal(str(source.name))
        sql = f"SELECT setval({text}, {last_value}, {called})"
    return SequenceChange(
        name=source.name,
        source=source,
        target=target,
        last_value=last_value,
        is_called=is_called,
        sql=sql,
        findings=tuple(findings),
    )


def _is_ahead(source: SequenceState, target: SequenceState, margin: int) -> bool:
    way = 1 if source.increment > 0 else -1
    wanted = source.next_value + margin * source.increment
    # A sequence in the opposite direction is never ahead: it runs into the publisher's values.
    if target.increment * way < 0:
        return False
    return target.next_value * way >= wanted * way


def _findings(
    source: SequenceState, target: SequenceState | None, wanted: int
) -> Iterator[Finding]:
    if target is None:
        yield _finding(
            source,
            Severity.CRITICAL,
            "the subscriber has no sequence of that name",
            "a sequence on both sides",
            "create it",
        )
        return
    for attribute in _DEFINITION:
        here, there = getattr(target, attribute), getattr(source, attribute)
        if here != there:
            opposite = attribute == "increment" and here * there < 0
            yield _finding(
                source,
                Severity.CRITICAL if opposite else Severity.WARNING,
                f"{attribute} is {here} on the subscriber, {there} on the publisher",
                "the same on both sides",
                f"ALTER SEQUENCE {source.name}",
            )
    if not target.minimum <= wanted <= target.maximum:
        then = "it cycles and repeats values" if target.cycle else "nextval() fails"
        yield _finding(
            source,
            Severity.CRITICAL,
            f"{wanted} is past its end: {then}",
            f"{target.minimum} to {target.maximum}",
            f"ALTER SEQUENCE {source.name} with a wider range, or a smaller margin",
        )


def _finding(
    source: SequenceState, severity: Severity, found: str, needed: str, remedy: str
) -> Finding:
    return Finding(
        check=f"sequence {source.name}",
        severity=severity,
        found=found,
        needed=needed,
        remedy=remedy,
        effective_after=EffectiveAfter.NOTHING,
    )
