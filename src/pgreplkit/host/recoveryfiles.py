"""The files of a data directory that make it a standby, read and changed as bytes."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pgtoolkit import conf
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgreplkit.errors import ControlFailed
from pgreplkit.host.nodecontrol import NodeControl
from pgreplkit.plans.cluster.standbyconfig import StandbyConfig, quoted
from pgreplkit.values.controlfile import ControlFile

SIGNAL_FILES = ("standby.signal", "recovery.conf")
"""What makes a server a standby, from 12 on and before."""
_READ_FIRST = ("postgresql.auto.conf", "recovery.conf", "recovery.done", "postgresql.conf")
_ADDRESS = ("host", "hostaddr", "port")


def major_of(control: NodeControl) -> int:
    """The major of the server whose files these are."""
    text = (control.read_file("PG_VERSION") or b"").decode()
    if not text.strip().isdecimal():
        tried = f"read the version of the server in {control.data_dir}"
        raise ControlFailed(tried, "PG_VERSION is missing, or of before 10")
    return int(text)


def control_file(control: NodeControl) -> ControlFile:
    """What its control file says.

    Raises: ControlFailed; InvalidControlFile.
    """
    content = control.read_file("global/pg_control")
    if content is None:
        tried = f"read the control file of the server in {control.data_dir}"
        raise ControlFailed(tried, "there is no global/pg_control")
    return ControlFile.from_bytes(content)


def is_standby(control: NodeControl) -> bool:
    """Whether its files are those of a standby."""
    return any(control.read_file(name) is not None for name in SIGNAL_FILES)


def written_conninfo(control: NodeControl) -> str | None:
    """The primary_conninfo that stands in its files; None when none does."""
    return _written(control, "primary_conninfo")


def written_slot(control: NodeControl) -> str | None:
    """The primary_slot_name that stands in its files; None when none does."""
    return _written(control, "primary_slot_name")


def _written(control: NodeControl, setting: str) -> str | None:
    for name in _READ_FIRST:
        content = control.read_file(name)
        if content is not None:
            value = conf.parse_string(content.decode(errors="surrogateescape")).get(setting)
            if value:
                return str(value)
    return None


def write_standby_files(control: NodeControl, config: StandbyConfig) -> None:
    """Write them; what else stands in postgresql.auto.conf or recovery.conf stays."""
    before = control.read_file(config.settings_file) or b""
    text = before.decode(errors="surrogateescape")
    settings = {"primary_slot_name": None, **config.settings}
    changed = with_settings(text, settings).encode(errors="surrogateescape")
    control.write_file(config.settings_file, changed)
    if config.signal_file is not None:
        control.write_file(config.signal_file, b"")


def with_settings(text: str, settings: Mapping[str, str | None]) -> str:
    """The text of a configuration file with these at its end; None takes one out.

    >>> with_settings("a = '1'\\nb = '2'\\n", {"a": "3", "b": None})
    "a = '3'\\n"
    """
    names = "|".join(map(re.escape, settings))
    theirs = re.compile(rf"\s*({names})\s*[=\s]", re.IGNORECASE)
    lines = [line for line in text.splitlines() if not theirs.match(line)]
    lines += [f"{name} = {quoted(value)}" for name, value in settings.items() if value is not None]
    return "".join(f"{line}\n" for line in lines)


def pointed_at(conninfo: str, target: str) -> str:
    """The connection string, leading to where ``target`` leads."""
    parts = conninfo_to_dict(conninfo)
    kept = {name: value for name, value in parts.items() if name not in _ADDRESS}
    return make_conninfo("", **kept, **address_of(target))


def address_of(conninfo: str) -> dict[str, str]:
    """Host and port in a connection string, as far as they stand in it."""
    parts = conninfo_to_dict(conninfo)
    return {name: str(parts[name]) for name in _ADDRESS if parts.get(name) is not None}
