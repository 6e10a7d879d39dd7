"""PatroniCluster: a real Patroni cluster with three members."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import cast

import pytest
from clusters import Clusters
from colours import Awaited, Colour
from patronis import PASSWORD, USER, Patronis, running

import pgreplkit
from pgreplkit.errors import PatroniRefused
from pgreplkit.patroni import AsyncPatroniCluster, PatroniCluster


@pytest.fixture(scope="module")
def patronis(clusters: Clusters, major: int) -> Iterator[Patronis]:
    if major < 18:
        pytest.skip("one major is enough: Patroni is asked, not the server")
    with running(clusters.lab, major) as members:
        yield members


def api(colour: Colour, *urls: str, password: str | None = PASSWORD) -> AsyncPatroniCluster:
    user = None if password is None else USER
    if colour.name == "async":
        return AsyncPatroniCluster(urls, username=user, password=password, timeout=5)
    made = PatroniCluster(urls, username=user, password=password, timeout=5)
    return cast(AsyncPatroniCluster, Awaited(made))


@pytest.mark.matrix
async def test_patroni_and_the_servers_agree(patronis: Patronis, colour: Colour) -> None:
    patroni = api(colour, "http://127.0.0.1:1", *patronis.urls)
    status = await patroni.status()
    assert status.scope == "trial"
    assert not status.is_paused
    assert status.leader is not None
    found = await patroni.discover(patronis.conninfo)
    assert found.primary is not None
    assert found.primary.name == status.leader.name
    assert {member.name for member in status.members} == {node.name for node in found.nodes}
    for member in status.members:
        node = found[member.name]
        assert (member.host, member.port, member.timeline) == (node.host, node.port, node.timeline)
        if member is not status.leader:
            assert node.upstream == status.leader.name
            assert member.state == "streaming"
    assert PASSWORD not in repr(patroni)
    with pytest.raises(KeyError):
        status["nobody"]


@pytest.mark.matrix
async def test_patroni_switches_over_and_its_refusals_raise(
    patronis: Patronis, colour: Colour
) -> None:
    patroni = api(colour, *patronis.urls)
    before = await patroni.status()
    assert before.leader is not None
    with pytest.raises(PatroniRefused) as caught:
        await patroni.switchover("nobody")
    assert caught.value.status == 412
    assert "nobody" in caught.value.found or "candidate" in caught.value.found
    with pytest.raises(PatroniRefused, match="pass username=") as caught:
        await api(colour, *patronis.urls, password=None).switchover()
    assert caught.value.status == 401
    [other, *_] = [member.name for member in before.members if member is not before.leader]
    change = await patroni.switchover(other)
    assert (change.old_leader, change.new_leader) == (before.leader.name, other)
    assert change.old_timeline == before.leader.timeline
    after = await patroni.status()
    assert after.leader is not None
    assert after.leader.name == other
    patronis.settle()
    back = await patroni.failover(before.leader.name)
    assert back.new_leader == before.leader.name
    assert back.new_timeline == (before.leader.timeline or 0) + 2
    patronis.settle()


@contextmanager
def listening(answer: bytes) -> Iterator[str]:
    """Run a service that is not Patroni, and sends these bytes once; none means silence."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def say() -> None:
            client, _ = listener.accept()
            with client:
                while client.recv(1 << 16) and not answer:
                    pass
                client.sendall(answer)

        speaker = Thread(target=say)
        speaker.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        speaker.join()


async def test_other_services_are_distinguished_from_patroni(colour: Colour) -> None:
    with (
        listening(b"220 mail ready\r\n") as url,
        pytest.raises(
            pgreplkit.errors.PatroniUnreachable, match="the answer is not HTTP: 220 mail ready"
        ),
    ):
        await api(colour, url).status()
    with listening(b"") as url:
        patroni = AsyncPatroniCluster((url, "http://127.0.0.1:1"))
        with pytest.raises(
            pgreplkit.errors.PatroniUnreachable, match="timed out, but may have begun"
        ):
            await patroni._ask("switch over", "POST", "switchover", {}, 0.2)


async def test_members_that_do_not_answer_are_named(colour: Colour) -> None:
    with pytest.raises(pgreplkit.errors.PatroniUnreachable, match=r"no member responds \(http"):
        await api(colour, "http://127.0.0.1:1").status()
    for bad in ("ftp://db1", "db1:8008", "http://me:secret@db1"):
        with pytest.raises(ValueError, match="URL") as caught:
            PatroniCluster(bad)
        assert "secret" not in str(caught.value)
    with pytest.raises(ValueError, match="at least one"):
        PatroniCluster([])
