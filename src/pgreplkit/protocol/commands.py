"""The commands of the replication protocol, in the syntax of each major version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from pgreplkit._text import quote_identifier, quote_literal
from pgreplkit.values.lsn import LSN
from pgreplkit.values.slotname import checked_slot_name
from pgreplkit.values.tablename import quoted

IDENTIFY_SYSTEM = b"IDENTIFY_SYSTEM"
UPLOAD_MANIFEST = b"UPLOAD_MANIFEST"
Option: TypeAlias = str | int | bool | None
"""The value of an option; None for an option without a value."""

_PARENTHESES_SINCE = 15


def show(name: str) -> bytes:
    """Return SHOW: read a setting."""
    return f"SHOW {quoted(name)}".encode()


def timeline_history(timeline: int) -> bytes:
    """Return TIMELINE_HISTORY: read the history file of a timeline."""
    return b"TIMELINE_HISTORY %d" % timeline


def read_slot(name: str) -> bytes:
    """Return READ_REPLICATION_SLOT: read the position of a physical slot."""
    return f"READ_REPLICATION_SLOT {checked_slot_name(name)}".encode()


def drop_slot(name: str, *, wait: bool) -> bytes:
    """Return DROP_REPLICATION_SLOT: drop a slot, or wait until it is released first."""
    return f"DROP_REPLICATION_SLOT {checked_slot_name(name)}{' WAIT' if wait else ''}".encode()


def create_physical_slot(major: int, name: str, *, temporary: bool, reserve_wal: bool) -> bytes:
    """Return CREATE_REPLICATION_SLOT for a physical slot."""
    kind = f"{'TEMPORARY ' if temporary else ''}PHYSICAL"
    command = f"CREATE_REPLICATION_SLOT {checked_slot_name(name)} {kind}"
    if not reserve_wal:
        return command.encode()
    option = "(RESERVE_WAL)" if major >= _PARENTHESES_SINCE else "RESERVE_WAL"
    return f"{command} {option}".encode()


def create_logical_slot(
    major: int,
    name: str,
    plugin: str,
    *,
    temporary: bool,
    snapshot: str,
    two_phase: bool,
    failover: bool,
) -> bytes:
    """Return CREATE_REPLICATION_SLOT for a logical slot; ``snapshot`` is export, use or nothing."""
    kind = f"{'TEMPORARY ' if temporary else ''}LOGICAL {identifier(plugin)}"
    command = f"CREATE_REPLICATION_SLOT {checked_slot_name(name)} {kind}"
    if major < _PARENTHESES_SINCE:
        # Without a word the snapshot would be exported.
        words = {"export": "EXPORT_SNAPSHOT", "use": "USE_SNAPSHOT", "nothing": "NOEXPORT_SNAPSHOT"}
        return f"{command} {words[snapshot]}".encode()
    options: dict[str, Option] = {"SNAPSHOT": snapshot}
    options |= {"TWO_PHASE": True} if two_phase else {}
    options |= {"FAILOVER": True} if failover else {}
    return f"{command} ({options_list(options)})".encode()


def start_physical(start: LSN, *, timeline: int | None, slot: str | None) -> bytes:
    """Return START_REPLICATION for WAL from a position."""
    # SLOT comes before PHYSICAL, and TIMELINE last: the grammar knows no other order.
    using = f"SLOT {checked_slot_name(slot)} " if slot is not None else ""
    on = f" TIMELINE {timeline:d}" if timeline is not None else ""
    return f"START_REPLICATION {using}PHYSICAL {start}{on}".encode()


def start_logical(slot: str, start: LSN, options: Mapping[str, str]) -> bytes:
    """Return START_REPLICATION for a logical slot; 0/0 stands for the slot's own position."""
    listed = ", ".join(f"{identifier(name)} {literal(text)}" for name, text in options.items())
    given = f" ({listed})" if listed else ""
    return f"START_REPLICATION SLOT {checked_slot_name(slot)} LOGICAL {start}{given}".encode()


def base_backup(major: int, options: Mapping[str, Option]) -> bytes:
    """Return BASE_BACKUP."""
    if major >= _PARENTHESES_SINCE:
        return f"BASE_BACKUP ({options_list(options)})".encode()
    older = {"CHECKPOINT": "FAST", "WAIT": "NOWAIT", "VERIFY_CHECKSUMS": "NOVERIFY_CHECKSUMS"}
    parts = []
    for name, value in options.items():
        if name in older:
            # Before 15 a keyword stands for the value that is not the default.
            parts += [older[name]] if value in {"fast", False} else []
        elif isinstance(value, bool):
            parts += [name] if value else []
        else:
            parts.append(f"{name} {value if isinstance(value, int) else literal(str(value))}")
    return " ".join(["BASE_BACKUP", *parts]).encode()


def options_list(options: Mapping[str, Option]) -> str:
    """Return options in the syntax of 15 and later."""
    return ", ".join(f"{name}{_value(value)}" for name, value in options.items())


def _value(value: Option) -> str:
    # An option without a value is true in this grammar.
    if value is None or value is True:
        return ""
    if value is False:
        return " false"
    return f" {value}" if isinstance(value, int) else f" {literal(value)}"


def literal(text: str) -> str:
    """Return a text as a literal; a backslash has no special meaning in these commands."""
    if "\0" in text:
        raise ValueError("a text in a command must not contain NUL")
    return quote_literal(text)


def identifier(name: str) -> str:
    """Return a name in double quotes."""
    if "\0" in name or not name:
        raise ValueError(f"a name must not be empty or contain NUL: {name!r}")
    return quote_identifier(name)
