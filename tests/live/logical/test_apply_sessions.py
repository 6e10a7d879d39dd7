"""Earlier sessions of an applier, whose ends the servers have not noticed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread, Timer

import pytest
from clusters import Cluster, wait_until
from databases import Database, Pair, end, publishing, session
from relays import Pooler, Relay
from running import running

from pgreplkit import ReplicationConnection
from pgreplkit.apply import Applier
from pgreplkit.errors import ConnectionFailed, ServerError, SlotActive


@pytest.fixture
def two(cluster: Cluster) -> Iterator[Pair]:
    with publishing(cluster.primary, "CREATE TABLE t (id int PRIMARY KEY)") as pair:
        yield pair


def insist_on_same_rows(pair: Pair) -> None:
    query = "SELECT id FROM t ORDER BY id"
    assert pair.subscriber.all(query) == pair.publisher.all(query)


@contextmanager
def using_the_slot(database: Database) -> Iterator[int]:
    """Use the slot of the applier, as the walsender of one does that was killed."""
    with (
        ReplicationConnection.connect(database.conninfo, database=database.name) as earlier,
        earlier.changes("pgreplkit_one", publications=["p"]),
    ):
        yield earlier.connection.info.backend_pid


def test_a_run_waits_for_the_walsender_of_an_applier_that_was_killed(
    two: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine, 3 seconds may pass before the timer has ended the walsender.
    monkeypatch.setattr("pgreplkit._sync.logical.applyattempt.RELEASED_WITHIN", 20.0)
    one = Applier(two.publisher.conninfo, two.subscriber.conninfo, "one", publications=["p"])
    one.run(stop_at=end(two.publisher), timeout=20)
    two.publisher.run("INSERT INTO t VALUES (1)")
    with using_the_slot(two.publisher) as pid:
        ended = f"SELECT pg_terminate_backend({pid})"
        Timer(0.7, lambda: two.publisher.run(ended)).start()
        one.run(stop_at=end(two.publisher), timeout=20)
    insist_on_same_rows(two)


@pytest.mark.pg(">=18")
@pytest.mark.one_colour
def test_a_slot_that_stays_in_use_is_reported_with_its_user(
    two: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgreplkit._sync.logical.applyattempt.RELEASED_WITHIN", 0.3)
    one = Applier(two.publisher.conninfo, two.subscriber.conninfo, "one", publications=["p"])
    one.run(stop_at=end(two.publisher), timeout=20)
    with using_the_slot(two.publisher) as pid, pytest.raises(SlotActive) as caught:
        one.run(timeout=20)
    assert caught.value.pid == pid


@pytest.mark.pg(">=13")  # before, a database has no wal_sender_timeout of its own
@pytest.mark.one_colour
@pytest.mark.matrix
@pytest.mark.usefixtures("impatient")
def test_an_applier_ends_its_own_sessions_of_which_the_path_was_cut(two: Pair) -> None:
    """The servers wait for their clients for a minute, or for hours."""
    two.publisher.run(f"ALTER DATABASE {two.publisher.name} SET wal_sender_timeout = 0")
    port = two.publisher.node.port
    with Relay(port) as relay:
        source, target = (
            relay.conninfo_of(one.conninfo) for one in (two.publisher, two.subscriber)
        )
        one = Applier(source, target, "one", publications=["p"], reconnect=20)
        one.run(stop_at=end(two.publisher), timeout=20)
        with running(one):
            two.publisher.run("INSERT INTO t VALUES (1)")
            wait_until(lambda: two.subscriber.all("SELECT id FROM t") == [(1,)])
            relay.freeze()
            two.publisher.run("INSERT INTO t VALUES (2)")
            wait_until(lambda: two.subscriber.all("SELECT id FROM t ORDER BY id") == [(1,), (2,)])


@pytest.mark.pg(">=18")
@pytest.mark.usefixtures("impatient")
def test_an_applier_whose_subscriber_has_fallen_silent_connects_again(two: Pair) -> None:
    """The answer to a commit is lost on the path, and the publisher sends nothing more."""
    with Relay(two.subscriber.node.port) as relay:
        subscriber = relay.conninfo_of(two.subscriber.conninfo)
        one = Applier(two.publisher.conninfo, subscriber, "one", publications=["p"], reconnect=20)
        one.run(stop_at=end(two.publisher), timeout=20)
        with running(one):
            with session(two.subscriber) as client, client.transaction():
                client.execute("LOCK TABLE t")
                two.publisher.run("INSERT INTO t VALUES (1)")
                waiting = "SELECT FROM pg_locks WHERE NOT granted"
                wait_until(lambda: bool(two.subscriber.all(waiting)))
                relay.freeze()
            two.publisher.run("INSERT INTO t VALUES (2)")
            wait_until(lambda: two.subscriber.all("SELECT id FROM t ORDER BY id") == [(1,), (2,)])


@pytest.mark.pg(">=18")
@pytest.mark.usefixtures("impatient")
def test_an_applier_whose_last_answer_is_lost_connects_again(two: Pair) -> None:
    """Everything to be applied has come, and the publisher sends more, which is not read."""
    with Relay(two.subscriber.node.port) as relay:
        subscriber = relay.conninfo_of(two.subscriber.conninfo)
        one = Applier(two.publisher.conninfo, subscriber, "one", publications=["p"], reconnect=20)
        one.run(stop_at=end(two.publisher), timeout=20)
        with session(two.subscriber) as client, client.transaction():
            client.execute("LOCK TABLE t")
            two.publisher.run("INSERT INTO t VALUES (1)")
            run = Thread(target=one.run, kwargs={"stop_at": end(two.publisher)}, daemon=True)
            run.start()
            waiting = "SELECT FROM pg_locks WHERE NOT granted"
            wait_until(lambda: bool(two.subscriber.all(waiting)))
            # The first one after that position shows that nothing before it is left.
            two.publisher.run("INSERT INTO t VALUES (2)")
            two.publisher.run("INSERT INTO t VALUES (3)")
            relay.freeze()
        run.join(20)
        assert not run.is_alive()
    assert (1,) in two.subscriber.all("SELECT id FROM t")


@pytest.mark.pg(">=18")
@pytest.mark.usefixtures("impatient")
def test_an_applier_reports_a_path_that_falls_silent_while_it_takes_its_origin(two: Pair) -> None:
    with Relay(two.subscriber.node.port, frozen_by=b"CREATE SEQUENCE") as relay:
        subscriber = relay.conninfo_of(two.subscriber.conninfo, connect_timeout=2)
        one = Applier(two.publisher.conninfo, subscriber, "one", publications=["p"])
        with pytest.raises(ConnectionFailed, match="the server sent nothing"):
            one.run(stop_at=end(two.publisher), timeout=20)


@pytest.mark.parametrize("side", ["publisher", "subscriber"])
@pytest.mark.pg(">=18")
@pytest.mark.one_colour
def test_the_connection_of_a_pooler_is_refused(two: Pair, side: str) -> None:
    """Its session has others after this one, with the settings and locks of the applier."""
    servers = {"publisher": two.publisher.conninfo, "subscriber": two.subscriber.conninfo}
    with Pooler(two.publisher.node.port) as pooler:
        servers[side] = pooler.conninfo_of(servers[side])
        one = Applier(servers["publisher"], servers["subscriber"], "one", publications=["p"])
        refusal = f"connection to 127.0.0.1:{pooler.port} leads to a connection pooler; connect to"
        for call in (one.check, lambda: one.run(timeout=20), one.drop):
            with pytest.raises(ServerError, match=refusal):
                call()
    assert two.publisher.all("SELECT FROM pg_replication_slots WHERE slot_name ~ 'one'") == []
    assert two.subscriber.all("SELECT FROM pg_namespace WHERE nspname = 'pgreplkit'") == []
