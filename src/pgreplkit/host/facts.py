"""Read what operations need to know of a server's host, without changing anything there."""

from __future__ import annotations

from posixpath import basename, dirname, normpath

from pgreplkit.host.configuration import read_configuration
from pgreplkit.host.localcontrol import LocalControl
from pgreplkit.host.nodecontrol import NodeControl
from pgreplkit.host.recoveryfiles import TRIGGER_SETTING, is_triggered
from pgreplkit.plans.cluster.hosts import HostFacts
from pgreplkit.plans.cluster.standbyconfig import RECOVERY_TARGETS

_STANDBY_SETTINGS = (
    *RECOVERY_TARGETS,
    *("recovery_target_timeline", "primary_conninfo", "primary_slot_name"),
)
"""Settings that an operation writes into files, which a command line would override."""


def kept_folder(control: NodeControl) -> str:
    """Return where the server's own files are kept while pg_rewind runs.

    It is a sibling of the data directory: inside of it, pg_rewind removes what it does not know.
    """
    whole = normpath(control.data_directory)
    return f"{dirname(whole)}/{basename(whole)}.before-rewind"


def read_host(control: NodeControl, node: str) -> HostFacts:
    """Read the facts of a server's host.

    Raises: ControlFailed.
    """
    configuration = read_configuration(control)
    data_directory, kept = normpath(control.data_directory), kept_folder(control)
    command_line = {name: set_.value for name, set_ in configuration.command_line.items()}
    fixed = {name: value for name in _STANDBY_SETTINGS if (value := command_line.get(name))}
    if fixed.get("recovery_target_timeline") == "latest":
        del fixed["recovery_target_timeline"]
    if is_triggered(control, trigger := command_line.get(TRIGGER_SETTING)):
        fixed[TRIGGER_SETTING] = trigger or ""
    is_local = isinstance(control, LocalControl)
    is_given = isinstance(control, LocalControl) and control.config_file is not None
    return HostFacts(
        node=node,
        data_directory=data_directory,
        unwritable=tuple(control.unwritable(data_directory)),
        can_keep=not control.unwritable(dirname(data_directory), recursive=False),
        leftover=kept if control.list_folder(kept) is not None else None,
        main_file=configuration.main_file,
        is_configured=configuration.is_found or is_given,
        starts_itself=is_local,
        hot_standby=configuration.get("hot_standby"),
        fixed_settings=fixed,
    )
