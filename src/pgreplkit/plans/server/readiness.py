"""Readiness: whether a server meets the requirements of replication, as findings."""

from collections.abc import Iterator, Mapping, Sequence

import attrs

from pgreplkit.catalog.server.settings import Setting, SettingContext, SettingValue
from pgreplkit.errors import CheckNotFound
from pgreplkit.values.finding import (
    EffectiveAfter,
    Finding,
    Severity,
    finding_lines,
    problems_among,
    tally,
    worst_first,
    worst_of,
)
from pgreplkit.values.record import Record

Settings = Mapping[str, Setting]


@attrs.frozen(kw_only=True)
class Readiness(Record):
    """The findings of all checks, passed ones included."""

    _left_out = ("problems",)

    findings: tuple[Finding, ...]

    @property
    def severity(self) -> Severity:
        """The severity of the worst finding."""
        return worst_of(self.findings)

    @property
    def is_ready(self) -> bool:
        """Whether no finding is critical."""
        return self.severity < Severity.CRITICAL

    @property
    def problems(self) -> tuple[Finding, ...]:
        """The warnings and critical findings, worst first."""
        return problems_among(self.findings)

    def __str__(self) -> str:
        verdict = "ready" if self.is_ready else "not ready"
        count = tally(finding.severity for finding in self.findings) or "no findings"
        return "\n".join([f"{verdict}: {count}", *finding_lines(worst_first(self.findings))])

    def __getitem__(self, check: str) -> Finding:
        """Return the finding of a check, as in ``readiness["wal_level"]``.

        Raises:
            CheckNotFound: If there is no such check.
        """
        for finding in self.findings:
            if finding.check == check:
                return finding
        raise CheckNotFound(check, tuple(finding.check for finding in self.findings))

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __contains__(self, check: object) -> bool:
        """Return whether the report has this finding, or a finding of that check."""
        return any(check in (each, each.check) for each in self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def __bool__(self) -> bool:
        """Return whether the server is ready, as ``is_ready``."""
        return self.is_ready


def checked(
    check: str,
    *,
    ok: bool,
    observed: object,
    needed: str,
    remedy: str = "",
    effective_after: EffectiveAfter = EffectiveAfter.NOTHING,
    otherwise: Severity = Severity.CRITICAL,
) -> Finding:
    """Return the finding of one check.

    A check that passed is OK and needs no remedy; one that failed has the severity ``otherwise``.
    """
    return Finding(
        check=check,
        severity=Severity.OK if ok else otherwise,
        found=str(observed),
        needed=needed,
        remedy="" if ok else remedy,
        effective_after=EffectiveAfter.NOTHING if ok else effective_after,
    )


def setting_found(
    settings: Settings,
    name: str,
    is_so: bool,
    *,
    needed: str,
    value: str,
    otherwise: Severity = Severity.CRITICAL,
) -> Finding:
    """Return the finding about a setting; ``value`` is the right value."""
    setting = settings.get(name)
    takes = EffectiveAfter.NOTHING
    # Without a row in pg_settings, its context is unknown.
    if setting is not None:
        restart = setting.context is SettingContext.POSTMASTER
        takes = EffectiveAfter.RESTART if restart else EffectiveAfter.RELOAD
    return checked(
        name,
        ok=is_so,
        observed=shown(setting),
        needed=needed,
        remedy=f"ALTER SYSTEM SET {name} = {value}",
        effective_after=takes,
        otherwise=otherwise,
    )


def shown(setting: Setting | None) -> str:
    """Return a setting's text with its unit."""
    if setting is None:
        return "hidden from this role, or unknown to this version"
    # Units such as 8kB are multiples: "512 × 8kB".
    unit = setting.unit or ""
    return f"{setting.setting or 'empty'}{f' × {unit}' if unit[:1].isdigit() else unit}"


def value_of(settings: Settings, name: str) -> SettingValue:
    """Return the value of a setting; None if the setting is missing."""
    return settings[name].value if name in settings else None


def number(settings: Settings, name: str) -> int | None:
    """Return the value of a numeric setting; None if it is missing, or has no limit."""
    value = value_of(settings, name)
    return value if isinstance(value, int) else None


def unknown(check: str, setting: str, *, needed: str) -> Finding:
    """Return the finding of a check that needs a setting which this role cannot read."""
    return Finding(
        check=check,
        severity=Severity.WARNING,
        found=f"unknown: {setting} is {shown(None)}",
        needed=needed,
        remedy="GRANT pg_monitor to the role, and check again",
    )


def rewindable(settings: Settings) -> Iterator[Finding]:
    """Check the requirements of pg_rewind, which makes a former primary a standby again."""
    # pg_rewind restores changed blocks from full-page images in the WAL.
    yield setting_found(
        settings,
        "full_page_writes",
        value_of(settings, "full_page_writes") is not False,
        needed="on, for base backups and pg_rewind",
        value="on",
    )
    # Hint bits change pages without WAL; pg_rewind would miss those pages. Checksums, or
    # wal_log_hints, make the server log them.
    checksums = value_of(settings, "data_checksums") is True
    hints = value_of(settings, "wal_log_hints") is True
    setting = setting_found(
        settings,
        "wal_log_hints",
        checksums or hints,
        needed="on, or data checksums: otherwise pg_rewind refuses a former primary",
        value="on",
        otherwise=Severity.WARNING,
    )
    yield attrs.evolve(
        setting, found=f"{setting.found}, data checksums {'on' if checksums else 'off'}"
    )


def free_places(
    settings: Settings, name: str, *, used: int, wanted: int, spare: int = 0
) -> Finding:
    """Check that a limit allows ``wanted`` more uses, and ``spare`` more during a clone."""
    needed = f"{wanted} free" + (f", {spare} more during a clone" if spare else "")
    there = number(settings, name)
    if there is None:
        return unknown(name, name, needed=needed)
    free = there - used
    # The spare places only matter during a clone.
    severity = Severity.CRITICAL if free < wanted else Severity.WARNING
    setting = setting_found(
        settings,
        name,
        free >= wanted + spare,
        needed=needed,
        value=str(used + wanted + spare),
        otherwise=severity,
    )
    return attrs.evolve(setting, found=f"{there}, {used} used, {max(0, free)} free")


def archiving_setting(has_library: bool) -> str:
    """Return the settings by which a server can archive."""
    return "an archive_command or archive_library" if has_library else "an archive_command"


def names_of(items: Sequence[str]) -> str:
    """Return names as a text."""
    return ", ".join(items) or "none"
