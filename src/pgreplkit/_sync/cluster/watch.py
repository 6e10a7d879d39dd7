# Generated from pgreplkit/_async/cluster/watch.py by `nox -s sync`. Do not edit.
"""Watch: periodic samples of several servers at once."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from logging import getLogger
from typing import Self

from pgreplkit._hooks import live_display
from pgreplkit._sync._io import Job, TaskGroup
from pgreplkit._sync.server.retention import read_retention
from pgreplkit._sync.server.server import Server
from pgreplkit._sync.standby import Standby
from pgreplkit._sync.wire.closing import Closing
from pgreplkit._text import one_line
from pgreplkit.catalog.cluster.nodestate import NODE_STATE
from pgreplkit.driver.conninfo import address
from pgreplkit.errors import Error, WaitTimeout
from pgreplkit.plans.cluster.watch import NodeSample, WatchSample, WatchSamples, compared
from pgreplkit.plans.logical.subscription import SubscriptionStatus
from pgreplkit.values.flags import checked_flags
from pgreplkit.values.seconds import Timeout, checked_seconds
from pgreplkit.values.several import several

_LOGGER = getLogger("pgreplkit.watch")

_GIVEN_UP_AFTER = 3
"""Rounds without an answer after which a connection counts as dead and is opened again. One or two
may be slow, and a new connection costs the server more than a late answer."""


class Watch(Closing):
    """An iterator over samples of several servers, one round every ``interval`` seconds.

    ``servers`` are connection strings or servers. The keys of a mapping name them, otherwise they
    are named by their address. A watch opens a connection for each connection string, and opens it
    again after a failure; connected servers remain the caller's. A server that fails, or does not
    answer within ``timeout`` seconds (by default ``interval``), is an error in the sample and does
    not delay the others.

    With ``retention``, samples have the WAL retention and the state of the archiver; with
    ``subscriptions``, those of the connection's database, on primaries.

    Close the watch, or use it as a context manager.

    Needs:
        pg_monitor on each server; for subscriptions as ``Primary.subscriptions()``.
    """

    def __init__(
        self,
        servers: Mapping[str, str | Server] | Iterable[str | Server],
        *,
        interval: Timeout = 1.0,
        timeout: Timeout | None = None,
        retention: bool = False,
        subscriptions: bool = False,
    ) -> None:
        checked_flags(retention=retention, subscriptions=subscriptions)
        if isinstance(servers, Mapping):
            named = several(servers.items(), "servers", at_least=1)
        else:
            named = tuple(map(_named, several(servers, "servers", at_least=1)))
        self._watched = [_Watched(name, server, retention, subscriptions) for name, server in named]
        if len({watched.name for watched in self._watched}) < len(self._watched):
            raise ValueError(
                f"two of the servers {', '.join(watched.name for watched in self._watched)} have"
                " the same name; leave one out, or pass a mapping with distinct names"
            )
        self.interval: float = checked_seconds(interval, "interval")
        if not self.interval:
            raise ValueError("interval must be more than 0 seconds")
        self.timeout: float = self.interval
        if timeout is not None:
            self.timeout = checked_seconds(timeout, "timeout")
        self._group = TaskGroup(len(self._watched))
        self._next_round: float | None = None
        self._before: WatchSample | None = None
        self._is_closed = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> WatchSample:
        """Wait until the next round is due, and return its sample; the first is due at once."""
        if self._is_closed:
            raise StopIteration
        now = time.monotonic()
        due = now if self._next_round is None else self._next_round
        if due > now:
            self._group.rest(due - now)
        if self._is_closed:
            raise StopIteration
        # Missed rounds are skipped: a slow caller must not cause a burst of queries.
        self._next_round = max(due + self.interval, time.monotonic())
        try:
            sample = self._round()
        except RuntimeError:
            if self._is_closed:  # The task group no longer starts tasks.
                raise StopIteration from None
            raise
        if self._is_closed:
            raise StopIteration
        self._before = sample
        return sample

    def take(self, count: int) -> WatchSamples:
        """Return the next ``count`` samples; fewer if the watch is closed before."""
        samples: list[WatchSample] = []
        for sample in self:
            samples.append(sample)
            if len(samples) >= count:
                break
        return WatchSamples(tuple(samples))

    def show(self, seconds: Timeout = 60.0) -> None:
        """Show the lag over time in a notebook, in one chart that each round updates.

        It ends after ``seconds``, if the kernel is interrupted, or if the watch is closed. In async
        code it can be a task next to other work: ``asyncio.create_task(watch.show())``.

        Raises:
            ExtraMissing: If IPython is not installed: ``pip install 'pgreplkit[notebook]'``.
        """
        limit, samples = checked_seconds(seconds, "seconds"), list[WatchSample]()
        update = live_display()
        end = time.monotonic() + limit
        # The interrupt is how a person ends it, and no error.
        with suppress(KeyboardInterrupt):
            for sample in self:
                samples.append(sample)
                update(WatchSamples(tuple(samples)))
                if time.monotonic() + self.interval > end:
                    break

    def close(self) -> None:
        """Stop the watch, and close the connections that it opened."""
        self._is_closed = True
        # Connections first: closing one ends the query that a thread waits for.
        for watched in self._watched:
            watched.close()
        self._group.close()

    def _round(self) -> WatchSample:
        for watched in self._watched:
            watched.start(self._group)
        self._group.wait([w.job for w in self._watched if w.job], self.timeout)
        # Rates come from two samples of the same server.
        nodes = [watched.answer(self.timeout, self._before) for watched in self._watched]
        return WatchSample(taken_at=datetime.now(UTC), nodes={node.name: node for node in nodes})


class _Watched:
    """One server of a watch, and its pending query."""

    def __init__(
        self, name: str, server: str | Server, retention: bool, subscriptions: bool
    ) -> None:
        self.name = name
        self._retention, self._subscriptions = retention, subscriptions
        self._wal_rate: float | None = None
        self.job: Job[NodeSample] | None = None
        self._missed = 0
        self._generation = 0
        self._silent_since: float | None = None
        if not isinstance(server, str | Server):
            raise TypeError(
                f"servers must be connection strings or servers, not {type(server).__name__}"
            )
        self._conninfo = server if isinstance(server, str) else None
        # The class of standbys has all methods that are needed for either role, and the role may
        # change from round to round.
        self._server = None if isinstance(server, str) else Standby._taking_over(server)

    def start(self, group: TaskGroup) -> None:
        """Start a query unless one is pending; cancel one that has been pending for too long."""
        if self.job is not None and self._missed >= _GIVEN_UP_AFTER and self._conninfo is not None:
            self.job.cancel()
            self.job = None
            self.close()
        if self.job is None:
            self._missed = 0
            self.job = group.start(self._ask)

    def answer(self, timeout: float, before: WatchSample | None) -> NodeSample:
        """Return the sample, or the error that there is none; log where a gap begins and ends."""
        sample = compared(self._answer(timeout), before)
        self._wal_rate = sample.wal_rate
        now, since = time.monotonic(), self._silent_since
        if sample.error is None and since is not None:
            self._silent_since = None
            _LOGGER.info("%s answers again after a gap of %.1f s", self.name, now - since)
        elif sample.error is not None and since is None:
            self._silent_since = now
            _LOGGER.warning("%s does not answer: %s", self.name, one_line(sample.error))
        return sample

    def _answer(self, timeout: float) -> NodeSample:
        if self.job is None or not self.job.done():
            self._missed += 1
            error = WaitTimeout(
                f"timed out after {timeout:g} s waiting for the state of {self.name}"
            )
            return NodeSample(name=self.name, error=error)
        job, self.job = self.job, None
        return job.result()

    def close(self) -> None:
        """Close the connection if the watch opened it, or is opening it."""
        # A connection that is being opened at this moment belongs to the generation before.
        self._generation += 1
        if self._conninfo is not None and self._server is not None:
            server, self._server = self._server, None
            server.close()

    def _ask(self) -> NodeSample:
        server, generation = self._server, self._generation
        try:
            if server is None:
                opened = Server.connect(self._conninfo or "")
                server = Standby._taking_over(opened)
                if generation != self._generation:
                    # close() came while the connection was opened.
                    raise WaitTimeout(f"gave up the connection to {self.name}")
                self._server = server
            return self._sampled(server)
        except Error as error:
            if self._conninfo is not None and server is not None:
                # The next round opens another connection.
                if self._server is server:
                    self._server = None
                server.close()
            return NodeSample(name=self.name, error=error)

    def _sampled(self, server: Standby) -> NodeSample:
        link = server._link
        operation, sql = f"read the state of {self.name}", NODE_STATE.sql(server.version.major)
        state = NODE_STATE.read(link.one(operation, sql))
        retention, subscriptions = None, self._read_subscriptions(server, state.in_recovery)
        if self._retention:
            # The rate of the previous round: measuring another one would delay this one.
            retention = read_retention(link, wal_rate=self._wal_rate)
        return NodeSample(
            name=self.name,
            is_primary=not state.in_recovery,
            system_id=state.system_id,
            started_at=state.started_at,
            timeline=state.timeline,
            lsn=state.lsn,
            lag=server.replay_lag() if state.in_recovery else None,
            senders=tuple(server.replicas()),
            slots=tuple([slot.state for slot in server.slots()]),
            retention=retention,
            subscriptions=subscriptions,
            observed_at=state.observed_at,
        )

    def _read_subscriptions(
        self, server: Standby, in_recovery: bool
    ) -> tuple[SubscriptionStatus, ...]:
        # A standby has its primary's subscriptions, which do nothing there.
        if in_recovery or not self._subscriptions:
            return ()
        from pgreplkit._sync.logical.subscribing import read_subscriptions
        from pgreplkit._sync.logical.subscription import Subscription

        found = read_subscriptions(server._link)
        return tuple([Subscription(server._link, each).status() for each in found])


def _named(server: str | Server) -> tuple[str, str | Server]:
    if isinstance(server, Server):
        if server.connection.closed:
            return repr(server), server
        info = server.connection.info
        return f"{info.host}:{info.port}", server
    # _Watched refuses other types.
    return address(server) if isinstance(server, str) else repr(server), server
