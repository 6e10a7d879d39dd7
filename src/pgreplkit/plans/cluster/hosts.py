"""Checks of a server's host: writable files, and a configuration with which it can start."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import attrs

from pgreplkit._text import one_line
from pgreplkit.catalog.features import has
from pgreplkit.plans.cluster.rewind import NEW_COPY
from pgreplkit.plans.cluster.steps import Follow, SetSyncNames, Step
from pgreplkit.plans.server.readiness import checked
from pgreplkit.values.finding import EffectiveAfter, Finding, Severity

_OFF = {"of", "off", "f", "fa", "fal", "fals", "false", "n", "no", "0"}
_SHOWN = 5
"""Number of files that a finding names; a directory tree with a wrong owner has thousands."""


@attrs.frozen(kw_only=True)
class HostFacts:
    """The state of the host of a server that will become a standby."""

    node: str
    data_directory: str
    unwritable: tuple[str, ...]
    """Files and directories of the data directory that the server's account cannot write."""
    can_keep: bool
    """Whether the account can write to the parent directory, where configuration files are kept."""
    leftover: str | None
    """Directory with configuration files that an earlier pg_rewind left there."""
    main_file: str
    is_configured: bool
    """Whether the main configuration file was found."""
    starts_itself: bool
    """Whether the control uses pg_ctl to start the server, instead of a command of the user."""
    hot_standby: str | None
    """The value of hot_standby that is written; None for the default, which is on."""
    fixed_settings: Mapping[str, str]
    """Settings of a standby on its last command line, which no file can override; of those about
    the recovery target only harmful values."""


def standby_host_findings(facts: HostFacts) -> Iterator[Finding]:
    """Check that the server can be configured and started as a standby."""
    # The directory itself too, in which files are replaced.
    written = ("", "postgresql.auto.conf", "recovery.conf", "standby.signal", "recovery.signal")
    ours = {f"{facts.data_directory}/{name}".rstrip("/") for name in written}
    # Other files may belong to an administrator: they are not changed.
    bad = [path for path in facts.unwritable if path in ours]
    yield checked(
        f"files of {facts.node}",
        ok=not bad,
        observed=f"not writable: {_some(bad)}" if bad else "writable",
        needed="the server's account can write the files that make it a standby",
        remedy="chmod u+w, or chown to the server's account",
    )
    yield checked(
        f"configuration of {facts.node}",
        ok=facts.is_configured,
        observed=facts.main_file if facts.is_configured else f"there is no {facts.main_file}",
        needed="the main configuration file of the server",
        remedy="LocalControl(config_file=…)",
        # A command of the user knows its configuration; we pass it to pg_ctl.
        otherwise=Severity.CRITICAL if facts.starts_itself else Severity.INFO,
    )
    is_hot = facts.hot_standby is None or facts.hot_standby.lower() not in _OFF
    yield checked(
        f"hot_standby of {facts.node}",
        ok=is_hot,
        observed="on" if is_hot else "off",
        needed="on: whether the standby streams is asked on a connection to it",
        remedy="ALTER SYSTEM SET hot_standby = on",
    )
    # A connection string may contain a password.
    fixed = [
        name if name == "primary_conninfo" else f"{name} = {value!r}"
        for name, value in facts.fixed_settings.items()
    ]
    yield checked(
        f"command line of {facts.node}",
        ok=not fixed,
        observed=", ".join(fixed) or "no setting of a standby",
        needed="no recovery target, with which a standby promotes itself or stays on its timeline,"
        " and no other upstream",
        remedy="remove it from the command that starts the server",
    )


def rewind_host_findings(facts: HostFacts) -> Iterator[Finding]:
    """Check that pg_rewind can write every file, and that configuration files can be kept.

    pg_rewind stops at the first file that it cannot write, and then the server is useless. Its dry
    run does not detect that.
    """
    bad = facts.unwritable
    yield checked(
        "files that pg_rewind writes",
        ok=not bad,
        observed=f"not writable: {_some(bad)}" if bad else "all files are writable",
        needed="the server's account can write every file and directory in the data directory",
        remedy=f"chmod u+w or chown them, or {NEW_COPY}",
    )
    yield checked(
        "place for its configuration files",
        ok=facts.can_keep,
        observed=f"the parent directory of {facts.data_directory} "
        + ("is writable" if facts.can_keep else "is not writable by the server's account"),
        needed="a place outside the data directory, where pg_rewind removes nothing",
        remedy="let the server's account write there (the parent of a mount point often belongs to"
        f" root), or {NEW_COPY}",
    )
    yield checked(
        "files of an earlier attempt",
        ok=facts.leftover is None,
        observed=facts.leftover or "none",
        needed="none: they would replace the present configuration",
        remedy="resume the plan that left them, or restore what you need and remove the directory;"
        f" if pg_rewind failed there, {NEW_COPY}",
    )


@attrs.frozen(kw_only=True)
class AlterSystemFacts:
    """Facts about the settings of a server that an operation changes with ALTER SYSTEM."""

    node: str
    major: int
    names: tuple[str, ...]
    is_allowed: bool
    """Whether allow_alter_system is on; before 17 it always is."""
    denied: tuple[str, ...]
    """The settings that the role may not change."""
    is_writable: bool | None
    """Whether the server can write postgresql.auto.conf; None if that is not known."""
    fixed: tuple[str, ...] = ()
    """The settings that the server's command line sets, so that no file has an effect."""
    target_timeline: str | None = None
    """recovery_target_timeline; None before 12, where it is written with the upstream."""
    targets: tuple[str, ...] = ()
    """The recovery targets with which the server was started; none before 12, where they are
    removed with the upstream."""
    target_action: str | None = None
    """recovery_target_action; None before 12."""


def altered_settings(steps: Iterable[Step]) -> dict[str, tuple[str, ...]]:
    """Return the settings that steps change with ALTER SYSTEM, by server."""
    altered: dict[str, tuple[str, ...]] = {}
    for step in steps:
        names: tuple[str, ...] = ()
        if isinstance(step, SetSyncNames):
            names = ("synchronous_standby_names",)
        # Before 12 they are in recovery.conf, which no SQL changes.
        elif isinstance(step, Follow) and has("standby.recovery_settings", step.major):
            names = ("primary_conninfo", "primary_slot_name")
        if names:
            altered[step.node] = (*altered.get(step.node, ()), *names)
    return altered


def alter_system_finding(facts: AlterSystemFacts) -> Finding:
    """Check that a server lets the settings be changed."""
    observed, remedy = "permitted", ""
    if not facts.is_allowed:
        observed = "allow_alter_system is off"
        remedy = "switch it on for the operation, in the configuration of whoever manages it"
    elif facts.denied:
        observed = f"the role may not change {', '.join(facts.denied)}, or may not reload"
        remedy = "use a superuser"
        if has("settings.grantable", facts.major):
            remedy += ", or GRANT ALTER SYSTEM ON PARAMETER, and EXECUTE on pg_reload_conf()"
    elif facts.fixed:
        observed = f"the command line of the server sets {', '.join(facts.fixed)}"
        remedy = "remove it from the command that starts the server, and restart it"
    elif facts.is_writable is False:
        observed = "postgresql.auto.conf is not writable"
        remedy = "chmod u+w postgresql.auto.conf"
    return checked(
        f"ALTER SYSTEM on {facts.node}",
        ok=not remedy,
        observed=observed,
        needed=f"{', '.join(facts.names)} can be changed",
        remedy=remedy,
    )


def target_timeline_finding(facts: AlterSystemFacts, *, otherwise: Severity) -> Finding:
    """Check that a standby follows its upstream to a new timeline.

    The setting is read when a server starts, so that no step can change it.
    """
    return checked(
        f"recovery_target_timeline of {facts.node}",
        ok=facts.target_timeline in {None, "latest"},
        observed=facts.target_timeline or "set together with the upstream",
        needed="latest: the standby does not follow a promotion otherwise",
        remedy=f"ALTER SYSTEM SET recovery_target_timeline = 'latest' on {facts.node}",
        effective_after=EffectiveAfter.RESTART,
        otherwise=otherwise,
    )


def recovery_target_finding(facts: AlterSystemFacts) -> Finding:
    """Check that a running standby has no recovery target.

    A target that it has not reached yet, left from a restore, ends its replay one day.
    """
    promotes = facts.target_action == "promote"
    return checked(
        f"recovery target of {facts.node}",
        ok=not facts.targets,
        observed=f"{', '.join(facts.targets)}, recovery_target_action = {facts.target_action}"
        if facts.targets
        else "none",
        needed="none: at its target the standby "
        + ("promotes itself, and there are two primaries" if promotes else "ends its replay"),
        remedy=f"ALTER SYSTEM SET {facts.targets[0].split()[0]} = '' on {facts.node}"
        if facts.targets
        else "",
        effective_after=EffectiveAfter.RESTART,
        # Not critical: the operation does not depend on it, and a failover must not wait for it.
        otherwise=Severity.WARNING,
    )


def unasked_finding(node: str, names: tuple[str, ...], error: str) -> Finding:
    """Return the finding about a server that did not answer, so that nothing is known of it."""
    return checked(
        f"ALTER SYSTEM on {node}",
        ok=False,
        observed=f"unknown: {one_line(error)}",
        needed=f"{', '.join(names)} can be changed",
        remedy="plan again: a server that does not answer is left out",
    )


def _some(paths: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(paths[:_SHOWN]) + more
