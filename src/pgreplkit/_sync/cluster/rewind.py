# Generated from pgreplkit/_async/cluster/rewind.py by `nox -s sync`. Do not edit.
"""pg_rewind: asked what it would do, and run so that a server keeps what is its own."""

from __future__ import annotations

import contextlib
from pathlib import PurePath
from posixpath import join, normpath

from psycopg.conninfo import make_conninfo

from pgreplkit._sync.cluster.site import Site
from pgreplkit.driver.conninfo import private_conninfo
from pgreplkit.errors import ControlFailed
from pgreplkit.host.nodecontrol import NodeControl
from pgreplkit.host.recoveryfiles import SIGNAL_FILES
from pgreplkit.plans.cluster.steps import Rewind

_OWN_FILES = ("postgresql.conf", "postgresql.auto.conf", "pg_hba.conf", "pg_ident.conf")
"""What a server has of its own, and pg_rewind takes from the source."""


def rewind(site: Site, step: Rewind) -> None:
    """Run pg_rewind, and put back the configuration files that it takes from the source."""
    conninfo, passfile = private_conninfo(site.program_conninfo(step.source))
    site.controlled(step.node, lambda control: _rewind(control, conninfo, passfile))


def refusal(site: Site, node: str, source: str) -> str | None:
    """Why pg_rewind would not do it, found by a dry run of it; None when it would.

    The node must have been shut down cleanly.
    """
    conninfo, passfile = private_conninfo(site.program_conninfo(source))
    try:
        site.controlled(node, lambda control: _run(control, conninfo, passfile, "--dry-run"))
    except ControlFailed as error:
        return error.found
    return None


def _rewind(control: NodeControl, conninfo: str, passfile: bytes | None) -> None:
    if control.is_running():
        raise ControlFailed("rewind it", f"the server in {control.data_dir} runs: stop it first")
    kept = f"../{PurePath(control.data_dir).name}.before-rewind"
    for name in _OWN_FILES:
        # What an interrupted attempt kept is the original.
        if control.read_file(f"{kept}/{name}") is None:
            content = control.read_file(name)
            if content is not None:
                control.write_file(f"{kept}/{name}", content)
    for name in SIGNAL_FILES:
        control.write_file(name, None)  # With it, pg_rewind could not recover after a crash.
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
