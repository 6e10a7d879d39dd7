# Generated from pgreplkit/_async/cluster/rewind.py by `nox -s sync`. Do not edit.
"""pg_rewind: tried with --dry-run, and run so that a server keeps its own configuration."""

from __future__ import annotations

import contextlib
from pathlib import PurePath
from posixpath import join, normpath

import attrs
from psycopg.conninfo import make_conninfo

from pgreplkit._sync.cluster.site import Site
from pgreplkit.driver.conninfo import private_conninfo
from pgreplkit.errors import ControlFailed
from pgreplkit.host.nodecontrol import NodeControl
from pgreplkit.host.recoveryfiles import SIGNAL_FILES, major_of
from pgreplkit.plans.cluster.rewind import RewindFacts
from pgreplkit.plans.cluster.steps import Rewind
from pgreplkit.values.controlfile import ControlFile

_OWN_FILES = ("postgresql.conf", "postgresql.auto.conf", "pg_hba.conf", "pg_ident.conf")
"""Configuration that pg_rewind would replace with the source's."""


def read_rewind(
    site: Site, node: str, source: str, control: ControlFile, *, is_running: bool
) -> RewindFacts:
    """Find out whether pg_rewind is installed, and try it if the server permits."""
    facts = RewindFacts(
        major=site.controlled(node, major_of),
        control=control,
        is_running=is_running,
        version=site.controlled(node, _version),
        was_tried=False,
        refusal=None,
    )
    if not facts.can_be_tried:
        return facts
    return attrs.evolve(facts, was_tried=True, refusal=_refusal(site, node, source))


def rewind(site: Site, step: Rewind) -> None:
    """Run pg_rewind, then restore the configuration that it copied from the source."""
    conninfo, passfile = private_conninfo(site.program_conninfo(step.source))
    site.controlled(step.node, lambda control: _rewind(control, conninfo, passfile))


def _refusal(site: Site, node: str, source: str) -> str | None:
    """Return the error of pg_rewind --dry-run; None if it succeeds."""
    conninfo, passfile = private_conninfo(site.program_conninfo(source))
    try:
        site.controlled(node, lambda control: _run(control, conninfo, passfile, "--dry-run"))
    except ControlFailed as error:
        return error.found
    return None


def _version(control: NodeControl) -> str | None:
    lines: list[str] = []
    try:
        control.run("pg_rewind", ["--version"], on_line=lines.append)
    except ControlFailed:
        return None
    return " ".join(lines)


def _rewind(control: NodeControl, conninfo: str, passfile: bytes | None) -> None:
    if control.is_running():
        found = f"the server in {control.data_dir} is running; stop it first"
        raise ControlFailed("run pg_rewind", found)
    # A sibling of the data directory: pg_rewind removes unknown files inside it.
    kept = f"../{PurePath(control.data_dir).name}.before-rewind"
    for name in _OWN_FILES:
        # Files from an interrupted attempt are the originals; those in place may be copies of the
        # source's.
        if control.read_file(f"{kept}/{name}") is None:
            content = control.read_file(name)
            if content is not None:
                control.write_file(f"{kept}/{name}", content)
    for name in SIGNAL_FILES:
        # As a standby, the server could not finish the crash recovery that pg_rewind starts.
        control.write_file(name, None)
    _run(control, conninfo, passfile)
    for name in _OWN_FILES:
        content = control.read_file(f"{kept}/{name}")
        if content is not None:
            control.write_file(name, content)
    control.remove_folder(normpath(join(control.data_dir, kept)))


def _run(control: NodeControl, conninfo: str, passfile: bytes | None, *options: str) -> None:
    with contextlib.ExitStack() as stack:
        if passfile is not None:
            path = stack.enter_context(control.private_file(passfile))
            conninfo = make_conninfo(conninfo, passfile=path)
        arguments = [f"--target-pgdata={control.data_dir}", f"--source-server={conninfo}"]
        control.run("pg_rewind", [*arguments, *options])
