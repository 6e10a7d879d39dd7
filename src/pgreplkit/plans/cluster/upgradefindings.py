"""Findings about several tables or names."""

from collections.abc import Mapping, Sequence

from pgreplkit.plans.logical.drift import Drift
from pgreplkit.plans.server.readiness import checked, names_of
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.tablename import TableName


def listed(
    check: str,
    remedies: Mapping[TableName, str],
    *,
    needed: str,
    otherwise: Severity = Severity.CRITICAL,
) -> Finding:
    """Return the finding of a check of tables, with a remedy for each."""
    return checked(
        check,
        ok=not remedies,
        observed=names_of([str(table) for table in remedies]),
        needed=needed,
        # Tables may have one remedy in common.
        remedy="; ".join(dict.fromkeys(remedies.values())),
        otherwise=otherwise,
    )


def drift_found(drifts: Sequence[Drift]) -> str:
    """Return what differs, with the table and the name of each column or constraint."""
    return "; ".join(
        f"{one.table}: {one.kind}: {one.found}"
        if one.name == str(one.table)
        else f"{one.table}: {one.kind}: {one.name}: {one.found}"
        for one in drifts
    )


def event_triggers_finding(names: Sequence[str]) -> Finding:
    """Return the finding about event triggers that write to tables."""
    return named(
        "event triggers that write",
        names,
        needed="none enabled: a fence refuses their writes, and so the upgrade's own DDL",
        remedy="ALTER EVENT TRIGGER … DISABLE until the end of the upgrade: {}",
    )


def named(
    check: str,
    names: Sequence[str],
    *,
    needed: str,
    remedy: str,
    otherwise: Severity = Severity.CRITICAL,
    separator: str = ", ",
) -> Finding:
    """Return the finding of a check of names, which replace {} in the remedy."""
    shown = separator.join(names) or "none"
    return checked(
        check,
        ok=not names,
        observed=shown,
        needed=needed,
        remedy=remedy.replace("{}", shown),
        otherwise=otherwise,
    )
