"""Step: one action of an operation on one server, as data that can be shown and stored."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar

import attrs

from pgreplkit.catalog.features import has
from pgreplkit.values.plain import JSONValue
from pgreplkit.values.record import Record

_OTHERS = {
    "pgreplkit.plans.cluster.upgradesteps": "upgrade",
    "pgreplkit.plans.mesh.steps": "mesh",
}
"""The modules of steps that no cluster performs, and the kind of object that does."""


@attrs.frozen
class Step(Record):
    """One action of an operation on one server.

    Every step is idempotent, which makes an operation resumable.
    """

    _is_named = True

    node: str
    """Name of the server in the cluster."""

    check: ClassVar[str] = ""
    """Condition that is verified before or after the step."""
    undo: ClassVar[str] = ""
    """How the step is undone; empty if there is nothing to undo, or no way to."""
    is_final: ClassVar[bool] = False
    """True if the operation cannot be undone after the step."""
    caution: ClassVar[str] = ""
    """What must never be done after a final step."""
    _description: ClassVar[str] = ""
    _action: ClassVar[str] = ""

    @property
    def performer(self) -> str:
        """The kind of object that performs the step: a cluster, a mesh or an upgrade."""
        return _OTHERS.get(type(self).__module__, "cluster")

    @property
    def description(self) -> str:
        """Description of the step in words."""
        return self._description.format(**self._shown())

    @property
    def action(self) -> str:
        """SQL, command or files of the step, without passwords."""
        return self._action.format(**self._shown())

    def unbegun(self) -> "Step":
        """Return the step without the objects that were found when it was begun."""
        return self

    def to_dict(self) -> dict[str, JSONValue]:
        """Return the kind and the fields of the step as JSON types."""
        content: dict[str, JSONValue] = {"kind": type(self).__name__}
        for name, value in self._fields().items():
            # JSON has no tuples; the converters make them again.
            content[name] = [*value] if isinstance(value, tuple) else value
        return content

    def _fields(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in attrs.fields(type(self))}

    # Texts are formatted from the fields: a step that is read from a journal has no others.
    def _shown(self) -> dict[str, object]:
        return {
            name: ", ".join(value) if isinstance(value, tuple) else value
            for name, value in self._fields().items()
        }

    def __str__(self) -> str:
        return f"{self.node}: {self.description}"


def step_from(content: Mapping[str, Any]) -> Step:
    """Rebuild a step from ``to_dict()`` output.

    Raises:
        ValueError: If the content does not describe a step.
    """
    # A journal of an upgrade or a mesh may be read by a program that uses neither.
    for module in _OTHERS:
        import_module(module)
    # By the class: a step of a later version is refused, and not guessed.
    kinds = {kind.__name__: kind for kind in Step.__subclasses__()}
    values = {name: value for name, value in content.items() if name != "kind"}
    try:
        return kinds[content["kind"]](**values)
    except (KeyError, TypeError) as error:
        raise ValueError(f"no step has this kind and these fields: {content}") from error


def as_names(names: object) -> tuple[str, ...]:
    """Return names as a tuple: JSON has lists only."""
    return tuple(names)  # type: ignore[arg-type]


def _all_of(slots: tuple[str, ...]) -> str:
    return f"the slot{'s' * (len(slots) > 1)} {', '.join(slots)}"


@attrs.frozen
class Fence(Step):
    """Prevent a lost server from writing, by the caller's own means (STONITH)."""

    check = "every requested kind of evidence says that the server is out of reach"
    _description = "fence it, so that it can no longer write"
    _action = "fence({node!r})"


@attrs.frozen
class MakeSlots(Step):
    """Create the physical slots of future standbys, and reserve WAL for them."""

    check = "slots that already exist stay unchanged"
    undo = "drop the slots"

    slots: tuple[str, ...] = attrs.field(converter=as_names)

    @property
    def description(self) -> str:
        return f"create {_all_of(self.slots)}"

    @property
    def action(self) -> str:
        # true reserves WAL at once: the standby connects only later.
        call = "SELECT pg_create_physical_replication_slot('{}', true)"
        return "; ".join(call.format(slot) for slot in self.slots)


@attrs.frozen
class DropSlots(Step):
    """Drop slots that are no longer used, and would retain WAL without limit."""

    check = "none of the slots is in use"

    slots: tuple[str, ...] = attrs.field(converter=as_names)

    @property
    def description(self) -> str:
        return f"drop {_all_of(self.slots)}"

    @property
    def action(self) -> str:
        return "; ".join(f"SELECT pg_drop_replication_slot('{slot}')" for slot in self.slots)


@attrs.frozen
class Checkpoint(Step):
    """Run a checkpoint: the shutdown gets shorter, and pg_rewind sees a promotion."""

    _description = "checkpoint"
    _action = "CHECKPOINT"


@attrs.frozen
class SetSyncNames(Step):
    """Set the standbys that commits wait for, as on the old primary."""

    undo = "restore synchronous_standby_names"
    _description = "set synchronous_standby_names to {names!r}"

    names: str
    # Stored in the step: another process that undoes it reads only the journal.
    before: str

    @property
    def action(self) -> str:
        # For display: the statement itself is composed by psycopg.
        text = self.names.replace("'", "''")
        return f"ALTER SYSTEM SET synchronous_standby_names = '{text}'; SELECT pg_reload_conf()"


@attrs.frozen
class StopPrimary(Step):
    """Shut the primary down: from here on no server accepts writes."""

    check = "afterwards, its control file says that it was shut down cleanly"
    undo = "start it again"
    _description = "shut it down cleanly"
    _action = "control.stop(), as pg_ctl stop --mode=fast"


@attrs.frozen
class Demote(Step):
    """Make a stopped server a standby from its next start on."""

    check = "the server is not running"
    undo = "remove the file that makes it a standby"
    _description = "make it a standby of {upstream}, from its next start on"

    upstream: str
    address: str
    slot: str | None
    application_name: str | None
    # The action depends on the version, and is shown where no server is connected.
    major: int

    @property
    def action(self) -> str:
        settings = "; ".join(_settings(self.address, self.slot))
        if not has("standby.recovery_settings", self.major):
            return f"write standby_mode = 'on'; {settings} into recovery.conf"
        return f"write standby.signal, and {settings} into postgresql.auto.conf"


@attrs.frozen
class WaitForWal(Step):
    """Wait until the standby has replayed the last record of the stopped primary."""

    check = "the primary was shut down cleanly"
    _description = "wait until it has replayed the shutdown checkpoint of {source}"
    _action = "SELECT pg_last_wal_replay_lsn(), against global/pg_control of {source}"

    source: str


@attrs.frozen
class WaitForReplay(Step):
    """Wait until the standby has replayed all WAL that it has received."""

    _description = "wait until it has replayed all WAL that it has received"
    _action = "SELECT pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()"


@attrs.frozen
class Promote(Step):
    """Promote the standby."""

    check = "replay is not paused"
    is_final = True
    # It would accept writes that no other server has.
    caution = "never start the old primary as a primary again"
    _description = "promote it, and wait until it accepts writes"

    major: int

    @property
    def action(self) -> str:
        if not has("standby.promote", self.major):
            return "control.promote(), as pg_ctl promote"
        return "SELECT pg_promote()"


@attrs.frozen
class Follow(Step):
    """Connect a running standby to another upstream."""

    check = "its WAL lies in the upstream's history"
    _description = "follow {upstream}, and wait until it streams"

    upstream: str
    address: str
    slot: str | None
    application_name: str | None
    major: int

    @property
    def action(self) -> str:
        settings = _settings(self.address, self.slot)
        restart = "control.restart(), as pg_ctl restart"
        if not has("standby.recovery_settings", self.major):
            return f"write {'; '.join(settings)} into recovery.conf; {restart}"
        altered = "; ".join(f"ALTER SYSTEM SET {setting}" for setting in settings)
        is_reloaded = has("standby.reloaded_upstream", self.major)
        return f"{altered}; {'SELECT pg_reload_conf()' if is_reloaded else restart}"


def _settings(address: str, slot: str | None) -> tuple[str, str]:
    """Return the settings that name the upstream, without secrets of the connection string."""
    return f"primary_conninfo = '… {address} …'", f"primary_slot_name = '{slot or ''}'"


@attrs.frozen
class Rewind(Step):
    """Remove what a stopped server wrote after its history diverged, with pg_rewind."""

    check = "the server is not running; its own configuration files are kept"
    _description = "rewind it to the point where it diverged from {source}"
    _action = "pg_rewind --target-pgdata=… --source-server='… {address} …'"

    source: str
    address: str


@attrs.frozen
class StartStandby(Step):
    """Start a server that is configured as a standby."""

    check = "it is configured as a standby"
    _description = "start it, and wait until it streams from {upstream}"
    _action = "control.start(), as pg_ctl start"

    upstream: str
