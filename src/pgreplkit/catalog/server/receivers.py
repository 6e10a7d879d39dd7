"""WalReceiver: from whom a standby receives WAL."""

from __future__ import annotations

from datetime import datetime

import attrs

from pgreplkit.catalog.view import View, column
from pgreplkit.values.lsn import LSN
from pgreplkit.values.openenum import OpenEnum


class ReceiverState(OpenEnum):
    """What a walreceiver is doing."""

    STOPPED = "stopped"
    STARTING = "starting"
    STREAMING = "streaming"
    WAITING = "waiting"
    RESTARTING = "restarting"
    STOPPING = "stopping"


@attrs.frozen(kw_only=True)
class WalReceiver:
    """The row of pg_stat_wal_receiver. A column that the server's major lacks is None.

    Source: pg_stat_wal_receiver.
    """

    pid: int
    status: ReceiverState = attrs.field(converter=ReceiverState)
    receive_start_lsn: LSN | None
    receive_start_tli: int | None
    received_lsn: LSN | None = attrs.field(default=None, metadata=column(until=12))
    """Up to here WAL is received and flushed (10 to 12; then ``flushed_lsn``)."""
    written_lsn: LSN | None = attrs.field(default=None, metadata=column(since=13))
    flushed_lsn: LSN | None = attrs.field(default=None, metadata=column(since=13))
    received_tli: int | None
    last_msg_send_time: datetime | None
    last_msg_receipt_time: datetime | None
    latest_end_lsn: LSN | None
    """The end of the sender's WAL, as it last told."""
    latest_end_time: datetime | None
    slot_name: str | None
    sender_host: str | None = attrs.field(default=None, metadata=column(since=11))
    sender_port: int | None = attrs.field(default=None, metadata=column(since=11))
    conninfo: str | None
    """How it connected, without passwords; None when it cannot be read."""


@attrs.frozen(kw_only=True)
class Upstream:
    """The server that a standby receives from; ``host`` is a folder for a Unix socket."""

    host: str | None
    port: int | None
    user: str | None
    application_name: str | None
    slot_name: str | None

    @property
    def address(self) -> str:
        """Where it is, as a person writes it."""
        return f"{self.host or 'the default host'}:{self.port or 5432}"


def lasting_slot(source: Upstream) -> str | None:
    """The slot that stays there; a server without one may make one for as long as it receives."""
    is_its_own = (source.slot_name or "").startswith("pg_walreceiver_")
    return None if is_its_own else source.slot_name


RECEIVER = View(WalReceiver, "pg_stat_wal_receiver")
