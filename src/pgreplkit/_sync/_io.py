"""What differs between the colours: waiting, and doing several things at once, in threads.

Written by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from inspect import isawaitable, iscoroutine
from threading import Lock as Lock
from time import sleep as sleep
from typing import TypeAlias, TypeVar

T = TypeVar("T")
Job: TypeAlias = Future[T]


class Crew:
    """Does things at once, each for as long as it takes, in at most ``size`` threads."""

    def __init__(self, size: int) -> None:
        self._threads = ThreadPoolExecutor(max(1, size), thread_name_prefix="pgreplkit")

    def start(self, call: Callable[[], T]) -> Job[T]:
        """Begin with it."""
        return self._threads.submit(call)

    def wait(self, jobs: Sequence[Job[T]], timeout: float) -> None:
        """Wait until they are done, or that many seconds."""
        wait(jobs, timeout=timeout)

    def close(self) -> None:
        """Give up what is not done."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def aside(call: Callable[[], T]) -> T:
    """Do what blocks, here and now."""
    return call()


def completed(result: object) -> None:
    """See that a caller's hook did what it does.

    Raises: TypeError for a coroutine, which nobody here would run.
    """
    if iscoroutine(result):
        result.close()
    if isawaitable(result):
        raise TypeError("it gave a coroutine, which only the async classes run")
