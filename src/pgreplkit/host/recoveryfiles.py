"""Read and write the files that make a data directory that of a standby."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pgreplkit.errors import ControlFailed
from pgreplkit.host.configuration import parse_line, read_configuration
from pgreplkit.host.nodecontrol import NodeControl
from pgreplkit.plans.cluster.standbyconfig import (
    AT_TARGET,
    RECOVERY_TARGETS,
    StandbyConfig,
    quoted,
)
from pgreplkit.values.conninfosyntax import BY_ROLE, format_conninfo, parse_conninfo
from pgreplkit.values.controlfile import ControlFile

SIGNAL_FILES = ("standby.signal", "recovery.conf")
"""Files that make a server a standby: from 12 on, and before 12."""
TRIGGER_SETTING = "promote_trigger_file"
"""The file whose existence promotes a standby of 12 to 15."""
_RECOVERY_FILES = ("recovery.conf", "recovery.done")
"""Before 12 they hold the settings of a standby; a promotion renames the first to the second."""
_SLOT = "primary_slot_name"
_REPLACED = (*RECOVERY_TARGETS, _SLOT)
"""Settings that a standby must not have from an earlier configuration."""
_ADDRESS = ("host", "hostaddr", "port")


def major_of(control: NodeControl) -> int:
    """Return the major version of a data directory."""
    text = (control.read_file("PG_VERSION") or b"").decode()
    if not text.strip().isdecimal():
        operation = f"read the version of the server in {control.data_directory}"
        raise ControlFailed(operation, "PG_VERSION is missing, or from before version 10")
    return int(text)


def control_file(control: NodeControl) -> ControlFile:
    """Read the control file of a data directory.

    Raises: ControlFailed; InvalidControlFile.
    """
    content = control.read_file("global/pg_control")
    if content is None:
        operation = f"read the control file of the server in {control.data_directory}"
        raise ControlFailed(operation, "there is no global/pg_control")
    return ControlFile.from_bytes(content)


def is_standby(control: NodeControl) -> bool:
    """Return whether a data directory is that of a standby."""
    return any(control.read_file(name) is not None for name in SIGNAL_FILES)


def mark_standby(control: NodeControl) -> None:
    """Make the server a standby at its next start, so that it accepts no writes."""
    if major_of(control) >= 12:
        control.write_file("standby.signal", b"")
    else:
        control.write_file("recovery.conf", b"standby_mode = on\n")


def written_conninfo(control: NodeControl) -> str | None:
    """Return primary_conninfo as the configuration files set it; None if they do not."""
    return _written(control, "primary_conninfo")


def written_slot(control: NodeControl) -> str | None:
    """Return primary_slot_name as the configuration files set it; None if they do not."""
    return _written(control, _SLOT)


def _written(control: NodeControl, setting: str) -> str | None:
    if major_of(control) >= 12:
        return read_configuration(control).get(setting) or None
    # A primary that was a standby before still has the second.
    for name in _RECOVERY_FILES:
        content = control.read_file(name) or b""
        # The last of several lines counts.
        for line in reversed(content.decode(errors="surrogateescape").split("\n")):
            pair = parse_line(line)
            if pair is not None and pair[0] == setting and pair[1]:
                return pair[1]
    return None


def written_name(control: NodeControl) -> str | None:
    """Return cluster_name as the configuration files set it; None if they do not."""
    return read_configuration(control).get("cluster_name") or None


def write_standby_files(control: NodeControl, config: StandbyConfig) -> None:
    """Write the files of a standby; other settings in postgresql.auto.conf or recovery.conf stay.

    Recovery targets are removed: with one that remains from a restore, the server would end
    recovery and promote itself. Those in other files are overridden with empty values. A trigger
    file that exists has the same effect, so its setting is treated likewise; and so is the slot of
    an earlier upstream, which the new one does not have.
    """
    settings: dict[str, str | None] = dict.fromkeys((*_REPLACED, *AT_TARGET))
    if config.signal_file is None:
        if is_triggered(control, _written(control, "trigger_file")):
            settings["trigger_file"] = None
    else:
        configuration = read_configuration(control)
        if is_triggered(control, configuration.get(TRIGGER_SETTING)):
            settings[TRIGGER_SETTING] = ""
        for name in _REPLACED:
            written = configuration.written.get(name)
            # An empty value has no effect. A file that cannot be read is assumed to set one.
            if not configuration.is_found or (written is not None and written.value):
                settings[name] = ""
    settings |= config.settings
    write_settings(control, config.settings_file, settings)
    if config.signal_file is not None:
        control.write_file(config.signal_file, b"")
        control.write_file("recovery.signal", None)


def is_triggered(control: NodeControl, path: str | None) -> bool:
    """Return whether a trigger file exists, so that a standby promotes itself at its start."""
    return bool(path) and control.read_file(path or "") is not None


def write_settings(control: NodeControl, name: str, settings: Mapping[str, str | None]) -> None:
    """Replace settings in a configuration file, which may be missing; None removes one."""
    before = (control.read_file(name) or b"").decode(errors="surrogateescape")
    control.write_file(name, with_settings(before, settings).encode(errors="surrogateescape"))


def with_settings(text: str, settings: Mapping[str, str | None]) -> str:
    """Return the text of a configuration file with settings replaced; None removes one.

    >>> with_settings("a = '1'\\nb = '2'\\n", {"a": "3", "b": None})
    "a = '3'\\n"
    """
    names = "|".join(map(re.escape, settings))
    theirs = re.compile(rf"\s*({names})\s*[=\s']", re.IGNORECASE)
    # As the server: str.splitlines() splits at U+0085 and others, which a value may contain.
    found = text.removesuffix("\n").split("\n") if text else []
    lines = [line for line in found if not theirs.match(line)]
    lines += [f"{name} = {quoted(value)}" for name, value in settings.items() if value is not None]
    return "".join(f"{line}\n" for line in lines)


def pointed_at(conninfo: str, target: Mapping[str, str]) -> str:
    """Return the connection string with another address, and no condition on the server's role."""
    parts = parse_conninfo(conninfo)
    kept = {name: value for name, value in parts.items() if name not in {*_ADDRESS, *BY_ROLE}}
    return format_conninfo({**kept, **target})


def address_of(conninfo: str) -> dict[str, str]:
    """Return host and port of a connection string, as far as it names them."""
    parts = parse_conninfo(conninfo)
    return {name: parts[name] for name in _ADDRESS if parts.get(name)}
