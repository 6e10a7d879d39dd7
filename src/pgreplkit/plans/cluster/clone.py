"""Clone of a standby: the options of pg_basebackup, and the progress in its output."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Literal, TypeAlias

import attrs

from pgreplkit.values.applicationname import checked_application_name
from pgreplkit.values.openenum import OrderedEnum
from pgreplkit.values.record import Record
from pgreplkit.values.text import wrapped

WalMethod: TypeAlias = Literal["stream", "fetch"]
CheckpointMode: TypeAlias = Literal["spread", "fast"]
# The limits of pg_basebackup --max-rate.
_SLOWEST, _FASTEST = 32 << 10, 1 << 30
_COPIED = re.compile(r"\s*(\d+)/(\d+) kB \(\d+%\)")
_MIN_SHARE = 0.02
"""The share to copy before the remaining time is estimated: the first files say too little."""


class ClonePhase(OrderedEnum):
    """The phase of a clone; the phases are ordered."""

    WAITING_FOR_CHECKPOINT = "waiting for a checkpoint"
    COPYING = "copying"
    FINISHING_WAL = "waiting for the last WAL"
    SYNCING = "writing to disk"
    CONFIGURING = "configuring"
    STARTING = "starting"
    DONE = "done"


_PHASES = {
    # pg_basebackup runs with LC_ALL=C: its messages are not translated.
    "waiting for checkpoint to complete": ClonePhase.WAITING_FOR_CHECKPOINT,
    "checkpoint completed": ClonePhase.COPYING,
    "write-ahead log end point": ClonePhase.FINISHING_WAL,
    "syncing data to disk": ClonePhase.SYNCING,
}
"""The message of pg_basebackup --verbose at the start of each phase."""


@attrs.frozen(kw_only=True)
class CloneProgress(Record):
    """The progress of a clone."""

    phase: ClonePhase = ClonePhase.WAITING_FOR_CHECKPOINT
    bytes_done: int = 0
    bytes_total: int | None = None
    """Size that the server estimated at the start; the actual size may be larger."""
    elapsed: timedelta = timedelta(0)
    """Time since the clone started."""
    copying_for: timedelta = timedelta(0)
    """Time since the end of the checkpoint, when copying started."""
    checkpoint_limit: timedelta | None = None
    """Maximum duration of a spread checkpoint; None for a fast one."""

    @property
    def share(self) -> float | None:
        """The copied share, from 0 to 1; None until the total is known."""
        if not self.bytes_total:
            return None
        # Files may grow while they are copied.
        return min(1.0, self.bytes_done / self.bytes_total)

    @property
    def remaining(self) -> timedelta | None:
        """Estimated remaining time at the average speed; None if unknown."""
        if self.phase is not ClonePhase.COPYING or (self.share or 0) < _MIN_SHARE or not self.share:
            return None
        # From the end of the checkpoint: nothing was copied while it lasted.
        return self.copying_for * (1 / self.share - 1)

    @property
    def explanation(self) -> str:
        """The phase and the progress in one sentence."""
        if self.phase is ClonePhase.WAITING_FOR_CHECKPOINT:
            if self.checkpoint_limit is None:
                return "waiting for a fast checkpoint; until then nothing is sent"
            return (
                f"waiting for a checkpoint, which the server spreads over up to"
                f" {self.checkpoint_limit}; until then nothing is sent (checkpoint='fast' does not"
                " wait)"
            )
        if self.phase is ClonePhase.COPYING and self.share is not None:
            left = "" if self.remaining is None else f", about {_whole(self.remaining)} left"
            return f"{self.share:.0%} of about {self.bytes_total} bytes copied{left}"
        return str(self.phase)

    def __str__(self) -> str:
        return "\n".join(wrapped(f"{_whole(self.elapsed)} {self.explanation}", then="    "))


def after(progress: CloneProgress, line: str) -> CloneProgress:
    """Return the progress after one more line of pg_basebackup output, without new times."""
    copied = _COPIED.match(line)
    if copied:
        return attrs.evolve(
            progress, bytes_done=int(copied[1]) << 10, bytes_total=int(copied[2]) << 10
        )
    for text, phase in _PHASES.items():
        if text in line:
            return attrs.evolve(progress, phase=phase)
    return progress


@attrs.frozen(kw_only=True)
class Clone(Record):
    """The source and the options of a clone: what the plan of a clone shows."""

    source: str
    """The host and the port of the server that is copied."""
    directory: str
    slot: str | None
    application_name: str
    tablespaces: Mapping[str, str]
    max_rate: int | None
    wal_method: WalMethod
    checkpoint: CheckpointMode
    compression: str | None

    def __attrs_post_init__(self) -> None:
        checked_application_name(self.application_name)
        if self.wal_method not in {"stream", "fetch"}:
            raise ValueError(f"wal_method must be 'stream' or 'fetch', got {self.wal_method!r}")
        if self.checkpoint not in {"spread", "fast"}:
            raise ValueError(f"checkpoint must be 'spread' or 'fast', got {self.checkpoint!r}")
        if self.max_rate is not None and not _SLOWEST <= self.max_rate <= _FASTEST:
            raise ValueError(
                f"max_rate must be from {_SLOWEST} to {_FASTEST} bytes per second, got"
                f" {self.max_rate}"
            )
        if self.compression is not None and not re.fullmatch(
            "(gzip|lz4|zstd)(:[a-z0-9=,]+)?", self.compression
        ):
            raise ValueError(
                f"compression must be gzip, lz4 or zstd, as in 'zstd:3', got {self.compression!r}"
            )
        # pg_basebackup refuses them too, but only after the checkpoint.
        for old, new in self.tablespaces.items():
            if not old.startswith("/") or not new.startswith("/"):
                raise ValueError(f"tablespaces must have absolute paths, got {old!r}: {new!r}")

    def arguments(self, conninfo: str) -> list[str]:
        """Return the arguments of pg_basebackup; ``conninfo`` must not contain a password."""
        arguments = [
            f"--dbname={conninfo}",
            f"--pgdata={self.directory}",
            "--no-password",
            "--progress",
            "--verbose",
            f"--checkpoint={self.checkpoint}",
            f"--wal-method={self.wal_method}",
        ]
        # With fetch, pg_basebackup uses no slot; the standby still does.
        if self.slot and self.wal_method == "stream":
            arguments.append(f"--slot={self.slot}")
        if self.max_rate is not None:
            arguments.append(f"--max-rate={self.max_rate >> 10}")
        if self.compression is not None:
            # Compressed by the client, the data would be sent uncompressed, and stored in tar
            # files.
            arguments.append(f"--compress=server-{self.compression}")
        for old, new in self.tablespaces.items():
            arguments.append(f"--tablespace-mapping={_escaped(old)}={_escaped(new)}")
        return arguments


def _escaped(path: str) -> str:
    return path.replace("=", "\\=")


def _whole(time: timedelta) -> timedelta:
    return timedelta(seconds=round(time.total_seconds()))
