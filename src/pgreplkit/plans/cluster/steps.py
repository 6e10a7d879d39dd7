"""Step: one thing that an operation does to one server, as data that can be shown and kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs

from pgreplkit._text import quote_literal
from pgreplkit.values.plain import Plain


@attrs.frozen
class Step:
    """One thing that an operation does to one server.

    Done twice it does no more than done once, which is what makes an operation resumable.
    """

    node: str
    """The server's name in the cluster."""

    check: ClassVar[str] = ""
    """What is seen to before or after it is done."""
    undo: ClassVar[str] = ""
    """What takes it back; empty when there is nothing to take back, or no way to."""
    is_final: ClassVar[bool] = False
    """Whether there is no way back once it is done."""
    _what: ClassVar[str] = ""
    _does: ClassVar[str] = ""

    @property
    def what(self) -> str:
        """What it does, in words."""
        return self._what.format(**self._shown())

    @property
    def does(self) -> str:
        """The SQL, the command, or the files that it writes; no password stands in it."""
        return self._does.format(**self._shown())

    def to_dict(self) -> dict[str, Plain]:
        """Its kind and what it is about, as JSON knows it."""
        told: dict[str, Plain] = {"kind": type(self).__name__}
        for name, value in self._fields().items():
            told[name] = [*value] if isinstance(value, tuple) else value
        return told

    def _fields(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in attrs.fields(type(self))}

    def _shown(self) -> dict[str, object]:
        return {
            name: ", ".join(value) if isinstance(value, tuple) else value
            for name, value in self._fields().items()
        }

    def __str__(self) -> str:
        return f"{self.node}: {self.what}"


def step_from(told: Mapping[str, Any]) -> Step:
    """The step of whom ``to_dict`` told this.

    Raises: ValueError when it is none.
    """
    kinds = {kind.__name__: kind for kind in Step.__subclasses__()}
    values = {name: value for name, value in told.items() if name != "kind"}
    try:
        return kinds[told["kind"]](**values)
    except (KeyError, TypeError) as error:
        raise ValueError(f"this is no step of an operation: {told}") from error


def _names(names: object) -> tuple[str, ...]:
    return tuple(names)  # type: ignore[arg-type]


@attrs.frozen
class Fence(Step):
    """Keep a server that is out of reach from writing, by the caller's own means."""

    check = "it is out of reach in each of the ways that were asked for"
    _what = "see that it cannot write any more"
    _does = "fence({node!r})"


@attrs.frozen
class MakeSlots(Step):
    """Make the physical slots that followers will stream from, and reserve WAL for them."""

    check = "those that are there already stay as they are"
    undo = "drop the slots"
    _what = "make the slots {slots}"

    slots: tuple[str, ...] = attrs.field(converter=_names)

    @property
    def does(self) -> str:
        call = "SELECT pg_create_physical_replication_slot('{}', true)"
        return "; ".join(call.format(slot) for slot in self.slots)


@attrs.frozen
class DropSlots(Step):
    """Drop slots that nobody will use any more, and that would keep WAL for ever."""

    check = "none of them is in use"
    _what = "drop the slots {slots}"

    slots: tuple[str, ...] = attrs.field(converter=_names)

    @property
    def does(self) -> str:
        return "; ".join(f"SELECT pg_drop_replication_slot('{slot}')" for slot in self.slots)


@attrs.frozen
class Checkpoint(Step):
    """Write what is dirty, so that less is left at the stop, and pg_rewind sees a promotion."""

    _what = "checkpoint"
    _does = "CHECKPOINT"


@attrs.frozen
class SetSyncNames(Step):
    """Let commits wait for standbys as they did on the old primary."""

    undo = "set them to what they were"
    _what = "set synchronous_standby_names to {names!r}"

    names: str
    before: str

    @property
    def does(self) -> str:
        value = quote_literal(self.names)
        return f"ALTER SYSTEM SET synchronous_standby_names = {value}; SELECT pg_reload_conf()"


@attrs.frozen
class StopPrimary(Step):
    """Shut the primary down: from here on nobody can write."""

    check = "its control file says afterwards that it was shut down cleanly"
    undo = "start it again"
    _what = "shut it down cleanly"
    _does = "control.stop(), as pg_ctl stop --mode=fast"


@attrs.frozen
class Demote(Step):
    """Make a stopped server's files those of a standby, so that it never starts as a primary."""

    check = "it does not run"
    undo = "remove the file that makes it a standby"
    _what = "make it a standby of {upstream}, from its next start on"

    upstream: str
    address: str
    slot: str | None
    application_name: str | None
    major: int

    @property
    def does(self) -> str:
        settings = "; ".join(_settings(self.address, self.slot))
        if self.major < 12:
            return f"write standby_mode = 'on'; {settings} into recovery.conf"
        return f"write standby.signal, and {settings} into postgresql.auto.conf"


@attrs.frozen
class WaitForWal(Step):
    """Wait until the standby has replayed the last record that the stopped primary wrote."""

    check = "the primary was shut down cleanly"
    _what = "wait until it has replayed the shutdown checkpoint of {source}"
    _does = "SELECT pg_last_wal_replay_lsn(), against global/pg_control of {source}"

    source: str


@attrs.frozen
class WaitForReplay(Step):
    """Wait until the standby has replayed all that it has received."""

    _what = "wait until it has replayed all that it has received"
    _does = "SELECT pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()"


@attrs.frozen
class Promote(Step):
    """Make the standby the primary."""

    check = "replay is not paused"
    is_final = True
    _what = "promote it, and wait until it writes"

    major: int

    @property
    def does(self) -> str:
        if self.major < 12:
            return "control.promote(), as pg_ctl promote"
        return "SELECT pg_promote()"


@attrs.frozen
class Follow(Step):
    """Let a running standby follow another server."""

    check = "its WAL lies in the upstream's history"
    _what = "follow {upstream}, and wait until it streams"

    upstream: str
    address: str
    slot: str | None
    application_name: str | None
    major: int

    @property
    def does(self) -> str:
        settings = _settings(self.address, self.slot)
        restart = "control.restart(), as pg_ctl restart"
        if self.major < 12:
            return f"write {'; '.join(settings)} into recovery.conf; {restart}"
        altered = "; ".join(f"ALTER SYSTEM SET {setting}" for setting in settings)
        return f"{altered}; {restart if self.major < 13 else 'SELECT pg_reload_conf()'}"


def _settings(address: str, slot: str | None) -> tuple[str, str]:
    """What leads a standby to its upstream; of the connection string only what is no secret."""
    return f"primary_conninfo = '… {address} …'", f"primary_slot_name = '{slot or ''}'"


@attrs.frozen
class Rewind(Step):
    """Take back what a stopped server wrote after the others had left it."""

    check = "it does not run; its own configuration files are kept"
    _what = "rewind it to where it parted from {source}"
    _does = "pg_rewind --target-pgdata=… --source-server='… {address} …'"

    source: str
    address: str


@attrs.frozen
class StartStandby(Step):
    """Start a server whose files are those of a standby."""

    check = "its files are those of a standby"
    _what = "start it, and wait until it streams from {upstream}"
    _does = "control.start(), as pg_ctl start"

    upstream: str
