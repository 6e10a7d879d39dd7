"""The upstream of a walreceiver, read from its connection string."""

from __future__ import annotations

import pytest

from pgreplkit.catalog.server.receivers import upstream_of
from pgreplkit.rows import ReceiverState, WalReceiver


def receiver(conninfo: str | None) -> WalReceiver:
    return WalReceiver(
        pid=1,
        status=ReceiverState.STREAMING,
        receive_start_lsn=None,
        receive_start_tli=None,
        received_tli=None,
        last_msg_send_time=None,
        last_msg_receipt_time=None,
        latest_end_lsn=None,
        latest_end_time=None,
        slot_name="a",
        conninfo=conninfo,
    )


@pytest.mark.parametrize(
    "conninfo",
    [
        "user=rep host=db1 port=5433 application_name=db2 some_future_option=on sslnegotiation=x",
        "postgresql://rep@db1:5433/?application_name=db2&some_future_option=on",
    ],
)
def test_options_that_only_a_newer_libpq_knows_do_not_hide_the_upstream(conninfo: str) -> None:
    upstream = upstream_of(receiver(conninfo))
    assert (upstream.host, upstream.port, upstream.user) == ("db1", 5433, "rep")
    assert upstream.application_name == "db2"


def test_an_upstream_of_several_hosts_has_no_port() -> None:
    upstream = upstream_of(receiver("host=a,b port=1,2"))
    assert (upstream.host, upstream.port) == ("a,b", None)
