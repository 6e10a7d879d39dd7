"""Cloning a standby: what pg_basebackup is told, and what it tells."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Literal, TypeAlias

import attrs

from pgreplkit.values.openenum import OpenEnum

WalMethod: TypeAlias = Literal["stream", "fetch"]
CheckpointMode: TypeAlias = Literal["spread", "fast"]
_SLOWEST, _FASTEST = 32 << 10, 1 << 30
_COPIED = re.compile(r"\s*(\d+)/(\d+) kB \(\d+%\)")
_ENOUGH = 0.02
"""The share that has to be copied before the rest is estimated."""


class ClonePhase(OpenEnum):
    """What a clone is doing."""

    WAITING_FOR_CHECKPOINT = "waiting for a checkpoint"
    COPYING = "copying"
    FINISHING_WAL = "waiting for the last WAL"
    SYNCING = "writing to disk"
    CONFIGURING = "configuring"
    STARTING = "starting"
    DONE = "done"


_PHASES = {
    "waiting for checkpoint to complete": ClonePhase.WAITING_FOR_CHECKPOINT,
    "checkpoint completed": ClonePhase.COPYING,
    "write-ahead log end point": ClonePhase.FINISHING_WAL,
    "syncing data to disk": ClonePhase.SYNCING,
}
"""By what pg_basebackup --verbose says when each begins."""


@attrs.frozen(kw_only=True)
class CloneProgress:
    """How far a clone is."""

    phase: ClonePhase = ClonePhase.WAITING_FOR_CHECKPOINT
    bytes_done: int = 0
    bytes_total: int | None = None
    """As the server estimated when it began; it may turn out to be more."""
    elapsed: timedelta = timedelta(0)
    """Since the clone began."""
    copying_for: timedelta = timedelta(0)
    """Since the first byte could come."""
    checkpoint_limit: timedelta | None = None
    """How long a spread checkpoint may take; None for a fast one."""

    @property
    def share(self) -> float | None:
        """How much is copied, from 0 to 1; None as long as the total is not known."""
        if not self.bytes_total:
            return None
        return min(1.0, self.bytes_done / self.bytes_total)

    @property
    def remaining(self) -> timedelta | None:
        """How much longer the copying takes at the speed so far; None when that says nothing."""
        if self.phase is not ClonePhase.COPYING or (self.share or 0) < _ENOUGH or not self.share:
            return None
        return self.copying_for * (1 / self.share - 1)

    @property
    def explanation(self) -> str:
        """What it does, in a sentence."""
        if self.phase is ClonePhase.WAITING_FOR_CHECKPOINT:
            if self.checkpoint_limit is None:
                return "waiting for a fast checkpoint; nothing is sent meanwhile"
            return (
                f"waiting for a checkpoint, which the server spreads over up to"
                f" {self.checkpoint_limit}; nothing is sent meanwhile, and checkpoint='fast' would"
                " not wait"
            )
        if self.phase is ClonePhase.COPYING and self.share is not None:
            left = "" if self.remaining is None else f", about {_whole(self.remaining)} left"
            return f"{self.share:.0%} of about {self.bytes_total} bytes copied{left}"
        return str(self.phase)

    def __str__(self) -> str:
        return f"{_whole(self.elapsed)} {self.explanation}"


def after(progress: CloneProgress, line: str) -> CloneProgress:
    """The progress when pg_basebackup has printed that line; its times are the caller's."""
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
class CloneOptions:
    """How a clone is made."""

    slot: str | None
    application_name: str
    tablespaces: Mapping[str, str]
    max_rate: int | None
    wal_method: WalMethod
    checkpoint: CheckpointMode
    compression: str | None

    def __attrs_post_init__(self) -> None:
        if self.wal_method not in {"stream", "fetch"}:
            raise ValueError(f"a WAL method is 'stream' or 'fetch', not {self.wal_method!r}")
        if self.checkpoint not in {"spread", "fast"}:
            raise ValueError(f"a checkpoint is 'spread' or 'fast', not {self.checkpoint!r}")
        if self.max_rate is not None and not _SLOWEST <= self.max_rate <= _FASTEST:
            raise ValueError(
                f"a rate is from {_SLOWEST} to {_FASTEST} bytes a second, not {self.max_rate}"
            )
        if self.compression is not None and not re.fullmatch(
            "(gzip|lz4|zstd)(:[a-z0-9=,]+)?", self.compression
        ):
            raise ValueError(
                f"a compression is gzip, lz4 or zstd, as in 'zstd:3', not {self.compression!r}"
            )
        for old, new in self.tablespaces.items():
            if not old.startswith("/") or not new.startswith("/"):
                raise ValueError(f"a tablespace is moved by absolute paths, not {old!r}: {new!r}")

    def arguments(self, data_dir: str, conninfo: str) -> list[str]:
        """What pg_basebackup is called with; ``conninfo`` has no password in it."""
        arguments = [
            f"--dbname={conninfo}",
            f"--pgdata={data_dir}",
            "--no-password",
            "--progress",
            "--verbose",
            f"--checkpoint={self.checkpoint}",
            f"--wal-method={self.wal_method}",
        ]
        if self.slot and self.wal_method == "stream":
            arguments.append(f"--slot={self.slot}")
        if self.max_rate is not None:
            arguments.append(f"--max-rate={self.max_rate >> 10}")
        if self.compression is not None:
            arguments.append(f"--compress=server-{self.compression}")
        for old, new in self.tablespaces.items():
            arguments.append(f"--tablespace-mapping={_escaped(old)}={_escaped(new)}")
        return arguments


def _escaped(path: str) -> str:
    return path.replace("=", "\\=")


def _whole(time: timedelta) -> timedelta:
    return timedelta(seconds=round(time.total_seconds()))
