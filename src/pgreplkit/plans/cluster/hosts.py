"""What a step needs of a server's host: files that can be written, and a start that succeeds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import attrs

from pgreplkit.plans.cluster.rewind import NEW_COPY
from pgreplkit.plans.cluster.steps import Follow, SetSyncNames, Step
from pgreplkit.plans.server.readiness import checked
from pgreplkit.values.finding import Finding, Severity

_SHOWN = 5
"""Files that a finding names; a whole tree with a wrong owner has thousands."""


@attrs.frozen(kw_only=True)
class HostFacts:
    """What was found on the host of a server that is to become a standby."""

    node: str
    data_dir: str
    unwritable: tuple[str, ...]
    """Files and folders of the data directory that the server's account cannot write."""
    can_keep: bool
    """Whether the account can write into the folder above, where configuration files are kept."""
    leftover: str | None
    """The folder of configuration files that an earlier pg_rewind left there."""
    main_file: str
    is_configured: bool
    """Whether the main configuration file was found."""
    starts_itself: bool
    """Whether the control starts the server with pg_ctl, rather than by a command of the user."""
    fixed_targets: Mapping[str, str]
    """Recovery targets of its last command line, which no file overrides."""


def standby_host_findings(facts: HostFacts) -> Iterator[Finding]:
    """Check that the server can be configured and started as a standby."""
    written = ("", "postgresql.auto.conf", "recovery.conf", "standby.signal", "recovery.signal")
    ours = {f"{facts.data_dir}/{name}".rstrip("/") for name in written}
    bad = [path for path in facts.unwritable if path in ours]
    yield checked(
        f"files of {facts.node}",
        ok=not bad,
        observed=f"not writable: {_some(bad)}" if bad else "writable",
        needed="the server's account can write what makes it a standby",
        remedy="chmod u+w, or chown to the server's account",
    )
    yield checked(
        f"configuration of {facts.node}",
        ok=facts.is_configured,
        observed=facts.main_file if facts.is_configured else f"there is no {facts.main_file}",
        needed="a main configuration file with which it is started",
        remedy="LocalControl(config_file=…)",
        otherwise=Severity.CRITICAL if facts.starts_itself else Severity.INFO,
    )
    targets = ", ".join(f"{name} = {value!r}" for name, value in facts.fixed_targets.items())
    yield checked(
        f"recovery target of {facts.node}",
        ok=not targets,
        observed=targets or "none on its command line",
        needed="none: a standby with a recovery target ends recovery and promotes itself",
        remedy="take it out of the command that starts the server",
    )


def rewind_host_findings(facts: HostFacts) -> Iterator[Finding]:
    """Check that pg_rewind can write every file, and that own files can be kept meanwhile.

    pg_rewind stops at the first file that it cannot write, and then the server is lost; its dry run
    does not notice.
    """
    bad = facts.unwritable
    yield checked(
        "files that pg_rewind writes",
        ok=not bad,
        observed=f"not writable: {_some(bad)}" if bad else "all files are writable",
        needed="the server's account can write every file and folder of the data directory",
        remedy=f"chmod u+w or chown them, or {NEW_COPY}",
    )
    yield checked(
        "place for its configuration files",
        ok=facts.can_keep,
        observed=f"the folder above {facts.data_dir} "
        + ("can be written" if facts.can_keep else "cannot be written by the server's account"),
        needed="a place beside the data directory, where pg_rewind removes nothing",
        remedy=f"let the server's account write there (a mount point's folder is often root's),"
        f" or {NEW_COPY}",
    )
    yield checked(
        "files of an earlier attempt",
        ok=facts.leftover is None,
        observed=facts.leftover or "none",
        needed="none: they would replace the configuration of today",
        remedy=f"resume the plan that left them; or put back what you need, and remove the folder;"
        f" if pg_rewind failed there, {NEW_COPY}",
    )


@attrs.frozen(kw_only=True)
class AlterSystemFacts:
    """What a server says about the settings that an operation changes with ALTER SYSTEM."""

    node: str
    names: tuple[str, ...]
    is_allowed: bool
    """Whether allow_alter_system is on; before 17 it always is."""
    denied: tuple[str, ...]
    """The settings that the role may not change."""
    is_writable: bool | None
    """Whether the server can write postgresql.auto.conf; None if that is not known."""


def altered_settings(steps: Iterable[Step]) -> dict[str, tuple[str, ...]]:
    """Return the settings that steps change with ALTER SYSTEM, by server."""
    altered: dict[str, tuple[str, ...]] = {}
    for step in steps:
        names: tuple[str, ...] = ()
        if isinstance(step, SetSyncNames):
            names = ("synchronous_standby_names",)
        elif isinstance(step, Follow) and step.major >= 12:
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
        remedy = "use a superuser; from 15 on GRANT ALTER SYSTEM ON PARAMETER, and EXECUTE on"
        remedy += " pg_reload_conf()"
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


def _some(paths: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(paths[:_SHOWN]) + more
