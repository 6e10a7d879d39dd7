"""limits_finding: settings of a standby that must not be lower than those of its upstream."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pgreplkit.plans.server.readiness import checked
from pgreplkit.values.finding import EffectiveAfter, Finding, Severity


def limits_finding(
    node: str,
    own: Mapping[str, int],
    upstream: str,
    theirs: Mapping[str, int],
    *,
    otherwise: Severity = Severity.CRITICAL,
) -> Finding:
    """Check that no limit of a standby is lower than that of the server that it will follow."""
    low = [name for name, value in theirs.items() if own.get(name, value) < value]
    remedies = [f"ALTER SYSTEM SET {name} = {theirs[name]} on {node}" for name in low]
    return checked(
        f"limits of {node}",
        ok=not low,
        observed=", ".join(f"{n} = {own[n]}, {theirs[n]} on {upstream}" for n in low)
        or f"none is lower than on {upstream}",
        needed=f"none lower than on {upstream}: the standby would not start, or stop its replay",
        remedy="; ".join(remedies),
        effective_after=EffectiveAfter.RESTART,
        otherwise=otherwise,
    )


def next_start_finding(node: str, errors: Iterable[str] | None) -> Finding:
    """Check that a running server can read its configuration files when it starts again.

    ``errors`` are None if the role may not ask for them.
    """
    if errors is None:
        return checked(
            f"configuration files of {node}",
            ok=False,
            observed="unknown: the role may not read pg_file_settings and pg_hba_file_rules",
            needed="no errors in them: the server is started again",
            remedy="plan as a superuser",
            otherwise=Severity.INFO,
        )
    found = "; ".join(errors)
    return checked(
        f"configuration files of {node}",
        ok=not found,
        observed=found or "no errors",
        needed="no errors in them: the server is started again",
        remedy="correct the files",
    )
