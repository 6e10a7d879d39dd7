"""Connections are cut if their servers do not answer.

``watched`` is for statements, which may take long, ``answered_in_time`` for commands that a live
server answers at once.
"""

from __future__ import annotations

import os
import select
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from socket import AF_INET, IPPROTO_TCP, SHUT_RDWR, SOCK_STREAM, fromfd
from threading import Event, Lock, Thread, Timer

import psycopg
from psycopg import BaseConnection, errors

from pgreplkit._text import one_line
from pgreplkit.catalog.server.session import IS_WORKING
from pgreplkit.driver.conninfo import conninfo_of

_BEAT = 1.0
"""Seconds between two looks at the statements that wait."""
_ANSWERED_WITHIN = 10.0
"""Seconds that a second connection may take for two queries: it may meet the same silence."""
_TAKEN = struct.Struct("=120xQ")
"""The field tcpi_bytes_acked of Linux's struct tcp_info."""


@contextmanager
def watched(
    connection: BaseConnection[object], conninfo: Callable[[], str] | None = None
) -> Iterator[None]:
    """Cut the connection if the server does not work on the statement of the block.

    A statement may take long, so a second connection asks after a while what the server does. No
    other limit would end the wait on a path that falls silent: TCP itself waits for hours, and a
    proxy that no longer forwards still answers its probes. ``conninfo`` returns the string for that
    connection, if this one does not have it.

    Raises: psycopg's ConnectionTimeout.
    """
    with watched_at_times(connection, conninfo) as watch:
        watch.begin()
        yield


@contextmanager
def watched_at_times(
    connection: BaseConnection[object], conninfo: Callable[[], str] | None = None
) -> Iterator[Watch]:
    """Cut the connection as ``watched`` does, between a begin and the next end of the watch.

    A wait for one result may consist of many short ones, with other work in between.

    Raises: psycopg's ConnectionTimeout.
    """
    find = conninfo or (lambda: conninfo_of(connection))
    with _watching(lambda: _Statement(connection, find)) as watch:
        yield watch


@contextmanager
def answered_in_time(
    connection: BaseConnection[object], *, within: float | None = None
) -> Iterator[None]:
    """Cut the connection if the commands of the block are not answered in time.

    psycopg waits for an answer without limit, so a path that falls silent would stop the caller.
    By default the limit is that of a stream whose server has wal_sender_timeout off.

    Raises: psycopg's ConnectionTimeout.
    """
    with _watching(lambda: _Wait(connection, within)) as watch:
        watch.begin()
        yield


@contextmanager
def _watching(new_wait: Callable[[], _Wait]) -> Iterator[Watch]:
    watch = Watch(new_wait)
    try:
        yield watch
    except psycopg.Error as error:
        if watch.found is None:
            raise
        raise errors.ConnectionTimeout(watch.found) from error
    finally:
        watch.end()


class Watch:
    """The waits of one connection, one after the other."""

    def __init__(self, new_wait: Callable[[], _Wait]) -> None:
        self._new_wait = new_wait
        self._wait: _Wait | None = None
        self._found: str | None = None

    @property
    def found(self) -> str | None:
        """Why the connection was cut; None if it was not."""
        return self._found if self._wait is None else self._found or self._wait.found

    def begin(self) -> None:
        """Begin to watch, unless a wait was begun."""
        if self._wait is None:
            self._wait = self._new_wait()
            _WATCHER.add(self._wait)

    def end(self) -> None:
        """End the wait, if one was begun: the server has answered, or the connection was cut."""
        if self._wait is not None:
            self._wait.end()
            self._found = self._found or self._wait.found
            _WATCHER.remove(self._wait)
            self._wait = None


class _Wait:
    """A command whose answer is not complete yet."""

    def __init__(self, connection: BaseConnection[object], within: float | None = None) -> None:
        self.since: float = time.monotonic()
        self.found: str | None = None
        """Why the connection was cut."""
        self.is_looked_at = False
        self._connection, self._within = connection, within
        self._ended, self._lock = Event(), Lock()

    @property
    def limit(self) -> float:
        """Seconds for an answer."""
        return _limit() if self._within is None else self._within

    def end(self) -> None:
        """Note that the wait is over, so that the connection is not cut."""
        with self._lock:
            self._ended.set()

    def look(self) -> None:
        """Cut the connection if its server does not answer."""
        # The caller may have closed it.
        with suppress(psycopg.Error):
            self._judge()
        self.since, self.is_looked_at = time.monotonic(), False

    def _judge(self) -> None:
        self._cut(f"the server did not answer within {self.limit:g} s")

    def _cut(self, found: str) -> None:
        with self._lock, suppress(OSError):
            # After the end of the wait, another connection may have the descriptor.
            if self._ended.is_set():
                return
            if not _has_arrived(self._connection, within=0):
                self.found = found
                _shut(self._connection)


class _Statement(_Wait):
    """A statement whose result is not complete yet."""

    def __init__(self, connection: BaseConnection[object], conninfo: Callable[[], str]) -> None:
        super().__init__(connection)
        self._conninfo = conninfo

    def _judge(self) -> None:
        """Ask the server for the statement, and cut the connection if the server lacks it."""
        taken = _taken(self._connection)
        found = _why_silent(self._conninfo(), self._connection.info.backend_pid)
        # The answer may be on its way.
        is_cut = found is not None and not self._ended.wait(_BEAT)
        if is_cut and not _has_arrived(self._connection, within=_BEAT):
            # So may the rest of a large statement, for which the server waits.
            if _taken(self._connection) > taken:
                return
            self._cut(f"the server sent nothing for {self.limit:g} s, {found}")


class _Watcher:
    """The waits, and a thread that exists as long as there are any.

    One thread for all: a timer for each statement would cost a fifth of the time of a short one.
    """

    def __init__(self) -> None:
        self._lock, self._waiting = Lock(), set[_Wait]()
        self._thread: Thread | None = None

    def add(self, wait: _Wait) -> None:
        with self._lock:
            self._waiting.add(wait)
            if self._thread is None:
                self._thread = Thread(target=self._run, daemon=True, name="pgreplkit watchdog")
                self._thread.start()

    def remove(self, wait: _Wait) -> None:
        with self._lock:
            self._waiting.discard(wait)

    def _run(self) -> None:
        while True:
            time.sleep(_BEAT)
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    return
                now = time.monotonic()
                due = [w for w in self._waiting if w.since + w.limit < now and not w.is_looked_at]
            for wait in due:
                wait.is_looked_at = True
                # A thread for each: asking may take as long as a connection does.
                Thread(target=wait.look, daemon=True, name="pgreplkit watchdog").start()


_WATCHER = _Watcher()
# A forked process has neither the thread nor the statements, and perhaps a lock that is held.
os.register_at_fork(after_in_child=_WATCHER.__init__)  # type: ignore[misc]


def _limit() -> float:
    # A first connect does without it.
    from pgreplkit.plans.streams import silence

    return silence.DEFAULT_LIMIT


def _why_silent(conninfo: str, pid: int) -> str | None:
    """Return why the path to the server counts as cut; None if it works, or if that is unclear."""
    from pgreplkit.driver.probe import probe

    try:
        with psycopg.connect(conninfo, autocommit=True) as second:
            timer = Timer(_ANSWERED_WITHIN, lambda: _shut(second))
            timer.daemon = True
            timer.start()
            try:
                [own] = second.execute("SELECT pg_backend_pid()").fetchone() or [None]
                record = second.execute(IS_WORKING, [pid]).fetchone()
            finally:
                timer.cancel()
            # A connection pooler has process numbers of its own.
            is_direct = own == second.info.backend_pid
    except psycopg.Error as error:
        # A server that has no place for a second connection is alive.
        if probe(conninfo).is_alive:
            return None
        return f"and a second connection failed: {one_line(error)}"
    if not is_direct:
        return None
    if record is None:
        return "and its process has ended"
    return None if record[0] else "and its process waits for this client"


def _has_arrived(connection: BaseConnection[object], *, within: float) -> bool:
    """Whether data arrives that the client has not read: then it is the client who waits."""
    poll = select.poll()
    poll.register(connection.pgconn.socket, select.POLLIN)
    return bool(poll.poll(within * 1000))


def _taken(connection: BaseConnection[object]) -> int:
    """Return how many bytes the other host has taken; 0 where the system does not say."""
    if sys.platform == "linux":
        from socket import TCP_INFO

        # It is no TCP connection, or the kernel is older than the field.
        with suppress(OSError, struct.error):
            path = fromfd(connection.pgconn.socket, AF_INET, SOCK_STREAM)
            with path:
                taken: int
                [taken] = _TAKEN.unpack(path.getsockopt(IPPROTO_TCP, TCP_INFO, _TAKEN.size))
                return taken
    return 0


def _shut(connection: BaseConnection[object]) -> None:
    """End a connection, which wakes the thread or task that reads from it."""
    with suppress(OSError, psycopg.Error):
        path = fromfd(connection.pgconn.socket, AF_INET, SOCK_STREAM)
        with path:
            path.shutdown(SHUT_RDWR)
