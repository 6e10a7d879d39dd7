"""Calls of libpq that wait for a host which accepts connections and then says nothing."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from threading import Thread

import pytest
from pauses import longest_pause_during

from pgreplkit.driver import probe
from pgreplkit.driver.libpq import ping
from pgreplkit.plans.cluster.failover import Reply

SHORT = 2
"""The fewest seconds that libpq waits."""


@pytest.fixture
def silent() -> Iterator[str]:
    """Return the connection string of a host whose kernel answers, and none of its processes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"host=127.0.0.1 port={listener.getsockname()[1]}"


def test_other_threads_run_while_a_silent_host_is_asked(silent: str) -> None:
    pause = longest_pause_during(lambda: ping(f"{silent} connect_timeout={SHORT}"))
    assert pause < SHORT / 2


@pytest.mark.parametrize("limit", ["", "connect_timeout=0", "connect_timeout=-1"])
def test_a_silent_host_is_asked_for_a_limited_time(
    silent: str, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "_ANSWERS_WITHIN", SHORT)
    replies: list[Reply] = []
    asking = Thread(target=lambda: replies.append(probe.probe(f"{silent} {limit}")), daemon=True)
    asking.start()
    asking.join(5 * SHORT)
    assert replies == [Reply.OPEN]
