"""WalReceiver and Upstream: the source of a standby's WAL."""

from datetime import datetime

import attrs

from pgreplkit._text import LONGEST_NAME
from pgreplkit.catalog.view import View, column
from pgreplkit.values.conninfosyntax import parse_conninfo
from pgreplkit.values.lsn import LSN
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.record import Record


class ReceiverState(OpenEnum):
    """The state of a walreceiver."""

    STOPPED = "stopped"
    STARTING = "starting"
    STREAMING = "streaming"
    WAITING = "waiting"
    RESTARTING = "restarting"
    STOPPING = "stopping"


@attrs.frozen(kw_only=True)
class WalReceiver(Record):
    """The row of pg_stat_wal_receiver. Columns that the server's version lacks are None.

    Source: pg_stat_wal_receiver.
    """

    pid: int
    status: ReceiverState = attrs.field(converter=ReceiverState)
    receive_start_lsn: LSN | None
    receive_start_tli: int | None
    received_lsn: LSN | None = attrs.field(default=None, metadata=column(until=12))
    """The end of the received and flushed WAL (10 to 12; later ``flushed_lsn``)."""
    written_lsn: LSN | None = attrs.field(default=None, metadata=column(since=13))
    flushed_lsn: LSN | None = attrs.field(default=None, metadata=column(since=13))
    received_tli: int | None
    last_msg_send_time: datetime | None
    last_msg_receipt_time: datetime | None
    latest_end_lsn: LSN | None
    """The end of the sender's WAL in its last message."""
    latest_end_time: datetime | None
    slot_name: str | None
    sender_host: str | None = attrs.field(default=None, metadata=column(since=11))
    sender_port: int | None = attrs.field(default=None, metadata=column(since=11))
    conninfo: str | None
    """Its connection string, without passwords; None if it cannot be read."""


DEFAULT_NAME = "walreceiver"
"""The application_name of a standby that has neither its own nor a cluster_name."""


@attrs.frozen(kw_only=True)
class Upstream(Record):
    """The server that a standby receives from; for a Unix socket ``host`` is a directory."""

    host: str | None
    port: int | None
    user: str | None
    application_name: str | None
    """The application_name that its connection string sets; None if it sets none."""
    slot_name: str | None
    fallback_application_name: str | None = None
    """The name that the walreceiver uses then: from 12 on its server's cluster_name if that is set,
    else ``walreceiver``."""

    @property
    def known_as(self) -> str:
        """The application_name under which the upstream knows this standby."""
        name = self.application_name or self.fallback_application_name or DEFAULT_NAME
        return name[:LONGEST_NAME]  # as the server truncates it

    @property
    def address(self) -> str:
        """Its host and port as one text."""
        return f"{self.host or 'the default host'}:{self.port or 5432}"


def upstream_of(receiver: WalReceiver) -> Upstream:
    """Return the upstream of a walreceiver; before 11 it is read from its conninfo."""
    # A server's libpq may be newer than this program's, so libpq cannot parse its conninfo here.
    parts = parse_conninfo(receiver.conninfo or "")
    part = parts.get
    # Of several hosts it is unknown which one was reached.
    listed = part("port") if (part("port") or "").isdecimal() else None
    port = receiver.sender_port if receiver.sender_port is not None else listed
    return Upstream(
        host=receiver.sender_host or part("host") or part("hostaddr"),
        port=None if port is None else int(port),
        user=part("user"),
        application_name=part("application_name"),
        slot_name=receiver.slot_name,
        fallback_application_name=part("fallback_application_name"),
    )


def lasting_slot(source: Upstream) -> str | None:
    """Return the name of a permanent slot; None for one that a walreceiver created for itself."""
    is_its_own = (source.slot_name or "").startswith("pg_walreceiver_")
    return None if is_its_own else source.slot_name


RECEIVER = View(WalReceiver, "pg_stat_wal_receiver")
