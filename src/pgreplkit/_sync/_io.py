"""What differs between the colours: waiting, and doing several things at once, in threads.

Written by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from inspect import isawaitable, iscoroutine
from selectors import EVENT_READ, DefaultSelector
from threading import Event, Lock as Lock, RLock, Thread
from time import sleep as sleep
from typing import TypeAlias, TypeVar
from weakref import WeakMethod

T = TypeVar("T")
Job: TypeAlias = Future[T]


class TaskGroup:
    """Does things at once, each for as long as it takes, in at most ``size`` threads."""

    def __init__(self, size: int) -> None:
        self._threads = ThreadPoolExecutor(max(1, size), thread_name_prefix="pgreplkit")
        self._closed = Event()

    def start(self, call: Callable[[], T]) -> Job[T]:
        """Begin with it."""
        return self._threads.submit(call)

    def wait(self, jobs: Sequence[Job[T]], timeout: float) -> None:
        """Wait until they are done, or that many seconds."""
        wait(jobs, timeout=timeout)

    def rest(self, seconds: float) -> None:
        """Do nothing for that long, or until it is closed."""
        self._closed.wait(seconds)

    def close(self) -> None:
        """Give up what is not done."""
        self._closed.set()
        self._threads.shutdown(wait=False, cancel_futures=True)


def to_thread(call: Callable[[], T]) -> T:
    """Do what blocks, here and now."""
    return call()


def to_thread_shielded(call: Callable[[], T]) -> T:
    """The same."""
    return call()


def wait_readable(descriptor: int, timeout: float) -> bool:
    """Whether there is something to read from a socket, within that many seconds."""
    with DefaultSelector() as selector:
        selector.register(descriptor, EVENT_READ)
        return bool(selector.select(timeout))


def guard() -> AbstractContextManager[object]:
    """What one of several threads holds at a time."""
    return RLock()


class Heartbeat:
    """Calls a method every ``interval`` seconds while the caller's code does something else.

    It ends with ``close``, or when nobody holds the method's object any more.
    """

    def __init__(self, beat: Callable[[], None], interval: float) -> None:
        self._closed = Event()
        args = (WeakMethod(beat), interval, self._closed)
        Thread(target=_beating, args=args, name="pgreplkit-heartbeat", daemon=True).start()

    def close(self) -> None:
        """Stop it."""
        self._closed.set()


def _beating(beat: WeakMethod[Callable[[], None]], interval: float, closed: Event) -> None:
    while not closed.wait(interval):
        call = beat()
        if call is None:
            return
        call()
        del call


def completed(result: object) -> None:
    """See that a caller's hook did what it does.

    Raises: TypeError for a coroutine, which nobody here would run.
    """
    if iscoroutine(result):
        result.close()
    if isawaitable(result):
        raise TypeError("it gave a coroutine, which only the async classes run")
