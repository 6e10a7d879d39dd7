"""Finding: the result of one check, with the remedy if it failed."""

from collections import Counter
from collections.abc import Iterable, Iterator

import attrs

from pgreplkit.values.openenum import OrderedEnum
from pgreplkit.values.record import Record
from pgreplkit.values.text import wrapped


class Severity(OrderedEnum):
    """Severity of a finding; severities are ordered, so ``max`` returns the worst."""

    OK = "ok"
    """The requirement is met."""
    INFO = "info"
    """Information, or a check that could not be carried out."""
    WARNING = "warning"
    """It works now, but may stop working."""
    CRITICAL = "critical"
    """It does not work, or data is being lost."""


class EffectiveAfter(OrderedEnum):
    """Action required for a remedy to take effect: none, a reload or a restart, in this order."""

    NOTHING = "nothing"
    RELOAD = "reload"
    RESTART = "restart"


@attrs.frozen(kw_only=True)
class Finding(Record):
    """The result of one check: the state found, the state required, and the remedy."""

    check: str
    """The object checked: a setting's name, or for example "slot replica1"."""
    severity: Severity
    found: str
    """The state found."""
    needed: str
    """The state required."""
    remedy: str = ""
    """SQL, a configuration line or advice that meets the requirement; empty if it is met."""
    effective_after: EffectiveAfter = EffectiveAfter.NOTHING
    """The action required for the remedy to take effect."""

    def __str__(self) -> str:
        return "\n".join(finding_lines([self]))


def worst_of(findings: Iterable[Finding]) -> Severity:
    """Return the highest severity among the findings; OK if there are none."""
    return max((finding.severity for finding in findings), default=Severity.OK)


def problems_among(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the warnings and critical findings, worst first."""
    return tuple(worst_first(f for f in findings if f.severity >= Severity.WARNING))


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings by severity, the worst first."""
    return sorted(findings, key=lambda finding: finding.severity, reverse=True)


def finding_lines(findings: Iterable[Finding]) -> Iterator[str]:
    """Yield lines of at most 100 columns for findings, each followed by its remedy."""
    for finding in findings:
        severity = f"{finding.severity:<8}  "
        needed = f"; needed: {finding.needed}" if finding.severity > Severity.OK else ""
        yield from wrapped(f"{finding.check}: {finding.found}{needed}", first=severity)
        if finding.remedy:
            after = (
                ""
                if finding.effective_after is EffectiveAfter.NOTHING
                else f" ({finding.effective_after})"
            )
            yield from wrapped(f"→ {finding.remedy}{after}", first=" " * len(severity))


def tally(severities: Iterable[Severity]) -> str:
    """Return the number of each severity, the worst first: "1 critical, 4 ok"."""
    count = Counter(severities)
    return ", ".join(f"{count[severity]} {severity}" for severity in sorted(count, reverse=True))
