"""CheckResult: a report as the exit status and the output of a monitoring plugin."""

from collections.abc import Iterator, Mapping

import attrs

from pgreplkit.errors import Error
from pgreplkit.monitoring.problems import (
    CheckStatus,
    Figure,
    Judgement,
    Problem,
    Report,
    judged,
    of_error,
)
from pgreplkit.values.record import Record
from pgreplkit.values.text import clean
from pgreplkit.values.threshold import Threshold, number_text

Limits = Mapping[str, Threshold | str] | Threshold | str | None
_QUOTED = set(" ='")


@attrs.frozen(kw_only=True)
class PerformanceValue(Record):
    """A number of a check, with its thresholds."""

    label: str
    value: float | None
    """None if it is unknown."""
    unit: str = ""
    """``s`` for seconds, ``B`` for bytes, empty for a count."""
    warning: Threshold | None = None
    critical: Threshold | None = None

    @property
    def status(self) -> CheckStatus:
        """The worst threshold that the value violates; UNKNOWN if a limited value is unknown."""
        if self.value is None:
            # A number that no one limits may be unknown, as the lag of a server that has just
            # started.
            is_limited = self.warning is not None or self.critical is not None
            return CheckStatus.UNKNOWN if is_limited else CheckStatus.OK
        if self.critical is not None and self.critical.is_violated_by(self.value):
            return CheckStatus.CRITICAL
        if self.warning is not None and self.warning.is_violated_by(self.value):
            return CheckStatus.WARNING
        return CheckStatus.OK

    def __str__(self) -> str:
        # The format allows no line breaks and no separator of the data in a label.
        label = clean(self.label).replace("'", "''").replace("|", "/")
        label = f"'{label}'" if _QUOTED & {*label} else label
        value = "U" if self.value is None else f"{number_text(self.value)}{self.unit}"
        limits = (self.warning, self.critical)
        texts = ["" if limit is None else str(limit) for limit in limits]
        return f"{label}={';'.join([value, *texts])}".rstrip(";")


@attrs.frozen(kw_only=True)
class CheckResult(Record):
    """The result of a check: an exit status, a line with performance data, and details.

    ``str()`` is the output of a monitoring plugin, as Nagios, Icinga, Naemon, Zabbix and Checkmk
    read it:

    >>> print(CheckResult.of(Readiness(findings=())))
    UNKNOWN - no requirement was checked
    >>> CheckResult.of(Readiness(findings=())).exit_code
    3
    """

    status: CheckStatus
    message: str
    """The worst problem, and the number of the others; a summary if there is none."""
    details: tuple[str, ...] = ()
    """All problems, the worst first."""
    performance: tuple[PerformanceValue, ...] = ()

    @classmethod
    def of(
        cls,
        report: Report | Error,
        *,
        warning: Limits = None,
        critical: Limits = None,
    ) -> "CheckResult":
        """Return the result of a report or sample, or of the error that was raised instead of one.

        A threshold limits the first number of a report: the lag in seconds of each standby of a
        sample or a topology, the size of pg_wal of a ``WalRetention``, the gaps of an archive. A
        mapping limits others by their names, such as ``{"lag_bytes": "100000000"}``. A limited
        number that is unknown makes the check UNKNOWN. A report about nothing is never OK.

        Raises:
            InvalidThreshold: If a text is not a threshold.
            ValueError: If the report has no number of that name.
        """
        if isinstance(report, Error):
            problem = Problem(of_error(report), str(report))
            return cls._of(Judgement(problem.text, (problem,)), ())
        found = judged(report)
        warnings, criticals = _limits(found, warning), _limits(found, critical)
        values = [
            PerformanceValue(
                label=f"{figure.of} {figure.name}" if figure.of else figure.name,
                value=figure.value,
                unit=figure.unit,
                warning=warnings.get(figure.name),
                critical=criticals.get(figure.name),
            )
            for figure in found.figures
        ]
        beyond = [*_beyond(found.figures, values)]
        # A limit of a number that no server has would look at nothing.
        for name in sorted({*warnings, *criticals} - {figure.name for figure in found.figures}):
            beyond.append(Problem(CheckStatus.UNKNOWN, f"no server has {name}"))
        return cls._of(found, tuple(values), tuple(beyond))

    @classmethod
    def _of(
        cls,
        found: Judgement,
        values: tuple[PerformanceValue, ...],
        beyond: tuple[Problem, ...] = (),
    ) -> "CheckResult":
        problems = [p for p in (*found.problems, *beyond) if p.status is not CheckStatus.OK]
        problems.sort(key=lambda problem: problem.status, reverse=True)
        # Alerts show the first line only, so it has the worst problem.
        first = problems[0] if problems else Problem(CheckStatus.OK, found.summary)
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        return cls(
            status=first.status,
            message=clean(first.text) + more,
            details=tuple(f"{problem.status}: {clean(problem.text)}" for problem in problems),
            performance=values,
        )

    @property
    def exit_code(self) -> int:
        """The exit status: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN."""
        return self.status.exit_code

    def __str__(self) -> str:
        # The separator of the performance data cannot be quoted.
        line = f"{self.status} - {_text(self.message)}"
        data = " ".join(map(str, self.performance))
        lines = [f"{line} | {data}" if data else line]
        # A single problem is in the first line already.
        if len(self.details) > 1:
            lines += map(_text, self.details)
        return "\n".join(lines)


def _text(text: str) -> str:
    return clean(text).replace("|", "/")


def _limits(found: Judgement, given: Limits) -> dict[str, Threshold]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        if not found.names:
            raise ValueError(
                "could not limit the report: it has no number; leave the threshold out"
            )
        # A threshold without a name is for the number that people mean first, such as the lag.
        given = {found.names[0]: given}
    unknown = {*given} - {*found.names}
    if unknown:
        known = ", ".join(found.names) or "none"
        raise ValueError(f"unknown numbers: {', '.join(sorted(unknown))}; known are {known}")
    return {
        name: limit if isinstance(limit, Threshold) else Threshold.parse(limit)
        for name, limit in given.items()
    }


def _beyond(figures: tuple[Figure, ...], values: list[PerformanceValue]) -> Iterator[Problem]:
    """Yield a problem for each number that violates its threshold."""
    for figure, value in zip(figures, values, strict=True):
        status = value.status
        if status is not CheckStatus.OK:
            limit = value.critical if status is CheckStatus.CRITICAL else value.warning
            found = "unknown" if value.value is None else f"{number_text(value.value)} {value.unit}"
            about = f"{figure.of}: {figure.name}" if figure.of else figure.name
            needed = "" if limit is None or value.value is None else f"; the threshold is {limit}"
            yield Problem(status, f"{about} is {found.strip()}{needed}")
