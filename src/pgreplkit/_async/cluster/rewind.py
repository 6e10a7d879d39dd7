"""pg_rewind: tried with --dry-run, and run so that a server keeps its own configuration."""

from __future__ import annotations

import contextlib
from posixpath import join, normpath

import attrs
from psycopg.conninfo import make_conninfo

from pgreplkit._async.cluster.site import AsyncSite
from pgreplkit.driver.secrets import private_conninfo
from pgreplkit.errors import ControlFailed, UnsupportedByServer
from pgreplkit.host.configuration import read_configuration
from pgreplkit.host.facts import kept_folder
from pgreplkit.host.nodecontrol import NodeControl
from pgreplkit.host.ownfiles import keep_files, restore_files
from pgreplkit.host.recoveryfiles import SIGNAL_FILES, control_file, major_of, mark_standby
from pgreplkit.plans.cluster.rewind import RewindFacts, RewindFailed
from pgreplkit.plans.cluster.steps import Rewind
from pgreplkit.values.controlfile import ControlFile

_FAILED = "pg_rewind-failed"
"""Marks a data directory that pg_rewind left half written, beside the files that it replaced."""


async def read_rewind(
    site: AsyncSite, node: str, source: str, control: ControlFile, *, is_running: bool
) -> RewindFacts:
    """Find out whether pg_rewind is installed; run it with --dry-run if the server permits."""
    facts = RewindFacts(
        major=await site.controlled(node, major_of),
        control=control,
        is_running=is_running,
        version=await site.controlled(node, _version),
        was_tried=False,
        refusal=None,
    )
    if not facts.can_be_tried:
        return facts
    return attrs.evolve(facts, was_tried=True, refusal=await _refusal(site, node, source))


async def rewind(site: AsyncSite, step: Rewind) -> None:
    """Run pg_rewind, then restore the configuration that it copied from the source."""
    conninfo, passfile = await _private_conninfo(site, step.source)
    await site.controlled(step.node, lambda control: _rewind(control, conninfo, passfile))


async def _private_conninfo(site: AsyncSite, source: str) -> tuple[str, bytes | None]:
    return private_conninfo(await site.program_conninfo(source), site.servers[source])


async def _refusal(site: AsyncSite, node: str, source: str) -> str | None:
    """Return the error of pg_rewind --dry-run; None if it succeeds."""
    try:
        conninfo, passfile = await _private_conninfo(site, source)
        await site.controlled(node, lambda control: _run(control, conninfo, passfile, "--dry-run"))
    except ControlFailed as error:
        return error.found
    except UnsupportedByServer as error:
        return str(error)
    return None


def _version(control: NodeControl) -> str | None:
    lines: list[str] = []
    try:
        control.run("pg_rewind", ["--version"], on_line=lines.append)
    except ControlFailed:
        return None
    return " ".join(lines)


def _rewind(control: NodeControl, conninfo: str, passfile: bytes | None) -> None:
    operation, kept = f"rewind the server in {control.data_directory}", kept_folder(control)
    if control.is_running():
        raise ControlFailed(operation, "it is running", remedy="stop it first")
    if control.read_file(f"{kept}/{_FAILED}") is not None:
        found = "an earlier pg_rewind failed after it began to write, and left a mixture"
        raise RewindFailed(operation, f"{found}; its configuration files are in {kept}")
    keep_files(control, kept)
    signals = {name: control.read_file(name) for name in (*SIGNAL_FILES, "recovery.signal")}
    for name in signals:
        # As a standby, or during a restore, the server would not finish its crash recovery.
        control.write_file(name, None)
    try:
        if not control_file(control).is_clean:
            _recover(control)
        # Problems that pg_rewind can detect appear here, before it writes anything.
        _run(control, conninfo, passfile, "--dry-run")
    except BaseException:
        for name, content in signals.items():
            control.write_file(name, content)
        raise
    try:
        _run(control, conninfo, passfile)
    except ControlFailed as error:
        control.write_file(f"{kept}/{_FAILED}", b"")
        # Even if it is started, it does not accept writes.
        mark_standby(control)
        found = f"{error.found}; its configuration files are in {kept}"
        raise RewindFailed(operation, found) from error
    restore_files(control, kept)


def _recover(control: NodeControl) -> None:
    """Finish the crash recovery of a server, as pg_rewind itself does from 13 on.

    Unlike pg_rewind before 15, this finds a configuration outside of the data directory.
    """
    options = ["--single", "-F", "-D", control.data_directory]
    main_file = read_configuration(control).main_file
    if main_file != "postgresql.conf":
        options += ["-c", f"config_file={normpath(join(control.data_directory, main_file))}"]
    control.run("postgres", [*options, "template1"])


def _run(control: NodeControl, conninfo: str, passfile: bytes | None, *options: str) -> None:
    with contextlib.ExitStack() as stack:
        if passfile is not None:
            path = stack.enter_context(control.private_file(passfile))
            conninfo = make_conninfo(conninfo, passfile=path)
        arguments = [f"--target-pgdata={control.data_directory}", f"--source-server={conninfo}"]
        control.run("pg_rewind", [*arguments, *options])
