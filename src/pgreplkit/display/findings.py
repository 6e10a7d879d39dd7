"""Findings: readiness, differences of schemas, and findings of any report, worst first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from pgreplkit.display.markup import (
    GREEN,
    RED,
    Markup,
    badge,
    block,
    code,
    join,
    muted,
    panel,
)
from pgreplkit.display.table import severity_badge, severity_colour, table
from pgreplkit.plans.logical.drift import SchemaDrift
from pgreplkit.plans.server.readiness import Readiness
from pgreplkit.values.finding import Finding, Severity


def _tally(severities: Iterable[Severity]) -> Markup:
    count = Counter(severities)
    order = sorted(count, reverse=True)
    return join(
        [Markup("&ensp;")]
        + [join([severity_badge(severity), muted(f" {count[severity]} ")]) for severity in order]
    )


def findings_table(findings: Sequence[Finding]) -> Markup:
    """Return a table of findings, worst first."""
    if not findings:
        return block(muted("no findings"))
    # Stable, so that findings of one severity keep the order of the checks.
    ordered = sorted(findings, key=lambda finding: finding.severity, reverse=True)
    rows = [[severity_badge(f.severity), f.check, f.found, f.needed, _remedy(f)] for f in ordered]
    return table(["severity", "check", "found", "needed", "remedy"], rows)


def _remedy(finding: Finding) -> Markup:
    if not finding.remedy:
        return muted("–")
    after = finding.effective_after.value
    # Only remedies that need a reload or a restart say so.
    note = muted(f" ({after})") if after != "nothing" else Markup("")
    return _statement(finding.remedy, note)


def _statement(sql: str, *notes: object) -> Markup:
    # Code may break within its words, so that the columns of prose would leave it no width.
    return block(code(sql), *notes, style="min-width:14em")


def readiness_panel(readiness: Readiness) -> Markup:
    """Return the verdict of a readiness check, and its findings."""
    word, colour = ("ready", GREEN) if readiness.is_ready else ("not ready", RED)
    title = join([badge(word, colour), _tally(f.severity for f in readiness.findings)])
    return panel(title, findings_table(readiness.findings))


def drift_panel(report: SchemaDrift) -> Markup:
    """Return the differences between the tables of two databases, with the DDL."""
    if not report.drifts:
        return panel(join([badge("no drift", GREEN)]))
    ordered = sorted(report.drifts, key=lambda drift: drift.severity, reverse=True)
    rows = [
        [
            severity_badge(drift.severity),
            str(drift.table),
            drift.kind.value,
            drift.name,
            drift.found,
            _statement(";\n".join(drift.ddl)) if drift.ddl else muted("–"),
        ]
        for drift in ordered
    ]
    title = join(
        [
            badge("drift", severity_colour(report.severity)),
            _tally(drift.severity for drift in ordered),
        ]
    )
    return panel(title, table(["severity", "table", "kind", "name", "found", "DDL"], rows))
