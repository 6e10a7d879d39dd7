"""Finding: the result of one check, with the remedy if it failed."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from pgreplkit.values.openenum import OpenEnum

_ORDER = ("ok", "info", "warning", "critical")


class Severity(OpenEnum):
    """Severity of a finding; severities are ordered, so ``max`` returns the worst."""

    OK = "ok"
    """The requirement is met."""
    INFO = "info"
    """Information, or a check that could not be carried out."""
    WARNING = "warning"
    """It works now, but may stop working."""
    CRITICAL = "critical"
    """It does not work, or data is being lost."""

    def __lt__(self, other: str) -> bool:
        return _rank(self) < _rank(other)

    def __le__(self, other: str) -> bool:
        return _rank(self) <= _rank(other)

    def __gt__(self, other: str) -> bool:
        return _rank(self) > _rank(other)

    def __ge__(self, other: str) -> bool:
        return _rank(self) >= _rank(other)


def _rank(word: str) -> int:
    return _ORDER.index(word) if word in _ORDER else len(_ORDER)


class EffectiveAfter(OpenEnum):
    """Action required for a remedy to take effect: none, a reload or a restart."""

    NOTHING = "nothing"
    RELOAD = "reload"
    RESTART = "restart"


@attrs.frozen(kw_only=True)
class Finding:
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


def worst_of(findings: Iterable[Finding]) -> Severity:
    """Return the highest severity among the findings; OK if there are none."""
    return max((finding.severity for finding in findings), default=Severity.OK)
