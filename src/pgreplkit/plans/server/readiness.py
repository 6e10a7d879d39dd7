"""Readiness: what replication needs of a server, one finding for each thing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import attrs

from pgreplkit.catalog.server.settings import Setting, SettingContext, SettingValue
from pgreplkit.values.finding import Finding, Severity, Takes, worst_of
from pgreplkit.values.plain import Plain, plain_row

Settings = Mapping[str, Setting]


@attrs.frozen(kw_only=True)
class Readiness:
    """All that was checked, what is as it should be included."""

    _also_plain = ("severity", "is_ready")

    findings: tuple[Finding, ...]

    @property
    def severity(self) -> Severity:
        """That of the worst finding."""
        return worst_of(self.findings)

    @property
    def is_ready(self) -> bool:
        """Whether nothing is critical."""
        return self.severity < Severity.CRITICAL

    @property
    def problems(self) -> tuple[Finding, ...]:
        """The findings that want something done: warnings and critical ones, the worst first."""
        bad = [finding for finding in self.findings if finding.severity >= Severity.WARNING]
        return tuple(sorted(bad, key=lambda finding: finding.severity, reverse=True))

    def __getitem__(self, check: str) -> Finding:
        """The finding of that name, as in ``readiness["wal_level"]``.

        Raises: KeyError.
        """
        for finding in self.findings:
            if finding.check == check:
                return finding
        raise KeyError(check)

    def to_dict(self) -> dict[str, Plain]:
        """All of it as JSON knows it."""
        return plain_row(self)


def checked(
    check: str,
    *,
    ok: bool,
    observed: object,
    needed: str,
    remedy: str = "",
    takes: Takes = Takes.NOTHING,
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
        takes=Takes.NOTHING if ok else takes,
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
    """The finding about a setting, which ``value`` puts right."""
    setting = settings.get(name)
    takes = Takes.NOTHING
    if setting is not None:
        restart = setting.context is SettingContext.POSTMASTER
        takes = Takes.RESTART if restart else Takes.RELOAD
    return checked(
        name,
        ok=is_so,
        observed=shown(setting),
        needed=needed,
        remedy=f"ALTER SYSTEM SET {name} = {value}",
        takes=takes,
        otherwise=otherwise,
    )


def shown(setting: Setting | None) -> str:
    """A setting's text with its unit, as a person writes it."""
    if setting is None:
        return "not to be seen by this role, or not in this version"
    unit = setting.unit or ""
    return f"{setting.setting or 'empty'}{f' × {unit}' if unit[:1].isdigit() else unit}"


def value_of(settings: Settings, name: str) -> SettingValue:
    """The value of a setting; None when it is not there."""
    return settings[name].value if name in settings else None


def number(settings: Settings, name: str) -> int:
    """The value of a setting that is a number; 0 when it is not there, or without a limit."""
    value = value_of(settings, name)
    return value if isinstance(value, int) else 0


def rewindable(settings: Settings) -> Iterator[Finding]:
    """What pg_rewind needs, so that a former primary can come back as a standby."""
    yield setting_found(
        settings,
        "full_page_writes",
        value_of(settings, "full_page_writes") is not False,
        needed="on, for base backups and pg_rewind",
        value="on",
    )
    checksums = value_of(settings, "data_checksums") is True
    hints = value_of(settings, "wal_log_hints") is True
    setting = setting_found(
        settings,
        "wal_log_hints",
        checksums or hints,
        needed="on, or data checksums: else pg_rewind cannot bring a former primary back",
        value="on",
        otherwise=Severity.WARNING,
    )
    yield attrs.evolve(
        setting, found=f"{setting.found}, data checksums {'on' if checksums else 'off'}"
    )


def free_places(
    settings: Settings, name: str, *, used: int, wanted: int, spare: int = 0
) -> Finding:
    """Whether there is room for ``wanted`` more of them, and ``spare`` on top for a clone."""
    there = number(settings, name)
    free = there - used
    severity = Severity.CRITICAL if free < wanted else Severity.WARNING
    setting = setting_found(
        settings,
        name,
        free >= wanted + spare,
        needed=f"{wanted} free" + (f", {spare} more while one is cloned" if spare else ""),
        value=str(used + wanted + spare),
        otherwise=severity,
    )
    return attrs.evolve(setting, found=f"{there}, {used} used, {max(0, free)} free")


def names_of(items: Sequence[str]) -> str:
    """Names for a text."""
    return ", ".join(items) or "none"
