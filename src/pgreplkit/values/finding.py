"""Finding: one thing that was checked, what is, what should be, and how to get there."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from pgreplkit.values.openenum import OpenEnum

_ORDER = ("ok", "info", "warning", "critical")


class Severity(OpenEnum):
    """How much a finding matters; ordered, so that ``max`` gives the worst."""

    OK = "ok"
    """As it should be."""
    INFO = "info"
    """Worth knowing, or not to be found out."""
    WARNING = "warning"
    """It works now, and is about not to."""
    CRITICAL = "critical"
    """It does not work, or something is being lost."""

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


class Takes(OpenEnum):
    """What it takes until a remedy counts."""

    NOTHING = "nothing"
    RELOAD = "reload"
    RESTART = "restart"


@attrs.frozen(kw_only=True)
class Finding:
    """One thing that was checked."""

    check: str
    """What was looked at: a setting's name, or as in "slot replica1"."""
    severity: Severity
    found: str
    needed: str
    remedy: str = ""
    """The SQL or the line of configuration that changes it, or what to do; empty when it is ok."""
    takes: Takes = Takes.NOTHING
    """What it takes after the remedy until it counts."""


def worst_of(findings: Iterable[Finding]) -> Severity:
    """The severity of the worst; OK of none."""
    return max((finding.severity for finding in findings), default=Severity.OK)
