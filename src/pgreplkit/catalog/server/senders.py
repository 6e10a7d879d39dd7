"""WalSender: the receivers of a server's WAL, and their positions."""

from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address

import attrs

from pgreplkit.catalog.view import View, column
from pgreplkit.values.lsn import LSN
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.record import Record


class SenderState(OpenEnum):
    """The state of a walsender."""

    STARTUP = "startup"
    CATCHUP = "catchup"
    STREAMING = "streaming"
    BACKUP = "backup"
    STOPPING = "stopping"


class SyncState(OpenEnum):
    """The synchronous-replication state of a standby."""

    ASYNC = "async"
    POTENTIAL = "potential"
    SYNC = "sync"
    QUORUM = "quorum"


@attrs.frozen(kw_only=True)
class ByteLag(Record):
    """The lag of a receiver behind the sender's position, in bytes of WAL for each stage.

    None for a stage that the receiver has not reported yet, as during a base backup.
    """

    sent_bytes: int | None
    write_bytes: int | None
    flush_bytes: int | None
    replay_bytes: int | None


@attrs.frozen(kw_only=True)
class WalSender(Record):
    """A row of pg_stat_replication, with the sender's own position at that moment.

    ``write_lag``, ``flush_lag`` and ``replay_lag`` are measured by the server. They are None if it
    has no recent measurement, as on an idle server: this means no lag, not an unknown one. ``lag``
    counts bytes and is always up to date.

    Source: pg_stat_replication.
    """

    _first = (
        *("application_name", "client_addr", "state", "sync_state", "replay_lsn"),
        *("lag_replay_bytes", "replay_lag", "pid"),
    )

    pid: int
    usesysid: int | None
    usename: str | None
    application_name: str
    client_addr: IPv4Address | IPv6Address | None
    """None for a Unix socket."""
    client_hostname: str | None
    client_port: int | None
    """-1 for a Unix socket."""
    backend_start: datetime
    backend_xmin: int | None = attrs.field(metadata=column(sql="backend_xmin::text::bigint"))
    """The xmin that hot_standby_feedback reports."""
    state: SenderState = attrs.field(converter=SenderState)
    sent_lsn: LSN | None
    write_lsn: LSN | None
    flush_lsn: LSN | None
    replay_lsn: LSN | None
    write_lag: timedelta | None
    flush_lag: timedelta | None
    replay_lag: timedelta | None
    sync_priority: int
    sync_state: SyncState = attrs.field(converter=SyncState)
    reply_time: datetime | None = attrs.field(default=None, metadata=column(since=12))
    current_lsn: LSN = attrs.field(
        metadata=column(
            sql="""CASE WHEN pg_is_in_recovery()
                THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
                ELSE pg_current_wal_lsn() END"""
        )
    )
    """The sending server's own position, read in the same statement."""

    @property
    def lag(self) -> ByteLag:
        """The lag of each stage behind ``current_lsn`` in bytes."""
        return ByteLag(
            sent_bytes=self._behind(self.sent_lsn),
            write_bytes=self._behind(self.write_lsn),
            flush_bytes=self._behind(self.flush_lsn),
            replay_bytes=self._behind(self.replay_lsn),
        )

    @property
    def confirms_commits(self) -> bool:
        """Whether the server counts it as connected for synchronous_standby_names.

        It must stream and report how far it has flushed. pg_receivewal reports that only with
        ``--synchronous`` or a slot, and pg_basebackup never: a commit would wait for them forever.
        """
        return self.state is SenderState.STREAMING and self.flush_lsn is not None

    def _behind(self, lsn: LSN | None) -> int | None:
        return None if lsn is None else max(0, self.current_lsn - lsn)


SENDERS = View(WalSender, "pg_stat_replication")
CLEAR_SNAPSHOT = "SELECT pg_stat_clear_snapshot()"
WAITING_COMMITS = "SELECT count(*) AS number FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
