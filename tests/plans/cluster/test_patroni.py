"""PatroniStatus: answers of several versions of Patroni, and invalid answers."""

from __future__ import annotations

import json

import pytest

from pgreplkit import LSN
from pgreplkit.errors import PatroniError
from pgreplkit.patroni import PatroniRole
from pgreplkit.plans.cluster.patroni import read_status

OLD = {
    "members": [
        {
            "name": "a",
            "role": "leader",
            "state": "running",
            "api_url": "http://10.0.0.1:8008/patroni",
            "host": "10.0.0.1",
            "port": 5432,
            "timeline": 5,
            "tags": {"clonefrom": True},
        },
        {"name": "b", "role": "replica", "state": "start failed", "lag": "unknown"},
        {"name": "c", "role": "sync_standby", "state": "running", "lag": 16, "port": 5433},
    ],
    "pause": True,
}
NEW = {
    "scope": "main",
    "members": [
        {
            "name": "a",
            "role": "somebody_new",
            "state": "streaming",
            "lag": 0,
            "lsn": "0/4000000",
            "receive_lag": "unknown",
            "pending_restart": True,
        }
    ],
}


def test_an_answer_of_an_old_patroni_is_read() -> None:
    status = read_status(json.dumps(OLD).encode())
    assert (status.scope, status.is_paused) == (None, True)
    assert status.leader is status["a"]
    assert status["a"].tags == {"clonefrom": True}
    assert (status["b"].lag, status["b"].host) == (None, None)
    assert (status["c"].role, status["c"].lag) == (PatroniRole.SYNC_STANDBY, 16)


def test_an_answer_of_a_current_patroni_keeps_unknown_states() -> None:
    status = read_status(json.dumps(NEW).encode())
    assert (status.scope, status.leader) == ("main", None)
    [member] = status.members
    assert (member.role, member.lsn, member.lag) == ("somebody_new", LSN("0/4000000"), 0)
    assert member.pending_restart


@pytest.mark.parametrize(
    "text", [b"", b"<html>", b"[]", b"{}", b'{"members": [5]}', b'{"members": [{}]}', b"\xff"]
)
def test_an_invalid_answer_is_an_error(text: bytes) -> None:
    with pytest.raises(PatroniError, match="the response does not describe a cluster"):
        read_status(text)
