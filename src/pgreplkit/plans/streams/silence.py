"""Silence: when a server that sends nothing is probed, and when it counts as lost."""

from __future__ import annotations

from pgreplkit.plans.streams.backupstream import BackupStage

DEFAULT_LIMIT = 60.0
"""Seconds, where wal_sender_timeout is off: the default of wal_receiver_timeout, after which
PostgreSQL's own receiver ends a connection."""
_SHORTEST_LIMIT = 10.0
"""Seconds. A busy server may need longer to answer than a very short wal_sender_timeout says."""
_PROBED_AFTER = 0.5
"""Share of the limit after which the server is asked to answer, as a walreceiver does."""

_CHECKPOINTS_AWAITED = 2
"""A base backup may wait for a checkpoint that is under way, and then for its own."""
_LONGEST_ARCHIVING = 3600.0
"""Seconds. A server that waits for its archiver repeats its warnings ever more rarely."""


def backup_silence(
    stage: BackupStage,
    wal_sender_timeout: float | None,
    *,
    checkpoint_timeout: float,
    waits_for_archive: bool,
) -> float:
    """Return the seconds for which a server may be silent in a stage of a base backup.

    It cannot be probed: it reads nothing from its client before the end.
    """
    limit = Silence.of_server(wal_sender_timeout).limit
    if stage is BackupStage.WAITING_FOR_CHECKPOINT:
        return limit + _CHECKPOINTS_AWAITED * checkpoint_timeout
    # The wait comes at the end of the stage of copying, which no message announces.
    return limit + _LONGEST_ARCHIVING if waits_for_archive else limit


class Silence:
    """How long a stream has listened to its server without receiving anything.

    Only time spent listening counts: a client that takes long for its own work does not make its
    server silent.
    """

    def __init__(self, limit: float) -> None:
        self.limit: float = limit
        self.seconds: float = 0.0
        """Seconds of listening since something was received."""
        self._is_probed = False

    @classmethod
    def of_server(cls, wal_sender_timeout: float | None) -> Silence:
        """Return the limit for a server, by its wal_sender_timeout (None if disabled)."""
        if wal_sender_timeout is None:
            return cls(DEFAULT_LIMIT)
        return cls(max(_SHORTEST_LIMIT, wal_sender_timeout))

    @property
    def is_over(self) -> bool:
        """Whether the server has been silent for longer than the limit."""
        return self.seconds >= self.limit

    def heard(self) -> None:
        """Note that something was received."""
        self.seconds, self._is_probed = 0.0, False

    def listened(self, seconds: float) -> bool:
        """Add time in which nothing was received; return whether to probe the server now."""
        self.seconds += seconds
        # Once for each silence: an answer to the first would end it.
        probes = not self._is_probed and self.seconds >= self.limit * _PROBED_AFTER
        self._is_probed = self._is_probed or probes
        return probes
