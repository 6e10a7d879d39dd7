"""Checks of a server's host: writable files, and a configuration with which it can start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

from pgreplkit.plans.cluster.rewind import NEW_COPY
from pgreplkit.plans.server.readiness import checked
from pgreplkit.values.finding import Finding, Severity

_SHOWN = 5
"""Number of files that a finding names; a directory tree with a wrong owner has thousands."""


@attrs.frozen(kw_only=True)
class HostFacts:
    """The state of the host of a server that will become a standby."""

    node: str
    data_dir: str
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
    fixed_targets: Mapping[str, str]
    """Recovery targets on its last command line, which no file can override."""


def standby_host_findings(facts: HostFacts) -> Iterator[Finding]:
    """Check that the server can be configured and started as a standby."""
    written = ("", "postgresql.auto.conf", "recovery.conf", "standby.signal", "recovery.signal")
    ours = {f"{facts.data_dir}/{name}".rstrip("/") for name in written}
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
        otherwise=Severity.CRITICAL if facts.starts_itself else Severity.INFO,
    )
    targets = ", ".join(f"{name} = {value!r}" for name, value in facts.fixed_targets.items())
    yield checked(
        f"recovery target of {facts.node}",
        ok=not targets,
        observed=targets or "none on its command line",
        needed="none: a standby with a recovery target ends recovery and promotes itself",
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
        observed=f"the parent directory of {facts.data_dir} "
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


def _some(paths: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(paths[:_SHOWN]) + more
