"""The differences between async and sync, here for threads: waiting and concurrency.

Written by hand.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, suppress
from errno import EBADF
from inspect import isasyncgen, isawaitable, iscoroutine, iscoroutinefunction, isgenerator
from queue import Empty, SimpleQueue
from select import POLLIN, POLLNVAL, POLLOUT, poll
from threading import Event, Lock as Lock, RLock, Semaphore, Thread
from time import sleep as sleep
from typing import Any, Protocol, TypeAlias, TypeVar
from weakref import WeakMethod

T = TypeVar("T")
Job: TypeAlias = Future[T]
Call: TypeAlias = Callable[[], T]
"""A call for a thread; for a task in the async twin."""


class TaskGroup:
    """A group of concurrent calls, in at most ``size`` threads.

    A call that hangs does not keep the program from ending, as one of a ThreadPoolExecutor would.
    """

    def __init__(self, size: int) -> None:
        self._to_start = max(1, size)
        self._idle = Semaphore(0)
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._closed = Event()

    def start(self, call: Call[T]) -> Job[T]:
        """Start a call in a thread."""
        job: Job[T] = Future()
        self._calls.put((job, call))
        if not self._idle.acquire(blocking=False) and self._to_start:
            self._to_start -= 1
            Thread(target=self._work, name="pgreplkit", daemon=True).start()
        return job

    def _work(self) -> None:
        while call := self._calls.get():
            _complete(*call)
            del call  # which may hold connections, while this waits for the next one
            self._idle.release()
        self._calls.put(None)  # for the next thread

    def wait(self, jobs: Sequence[Job[T]], timeout: float) -> None:
        """Wait until the jobs are done, at most ``timeout`` seconds."""
        wait(jobs, timeout=timeout)

    def rest(self, seconds: float) -> None:
        """Sleep, at most until the group is closed."""
        self._closed.wait(seconds)

    def close(self) -> None:
        """Cancel the calls that have not started; running ones end on their own."""
        self._closed.set()
        with suppress(Empty):
            while call := self._calls.get_nowait():
                call[0].cancel()
        self._calls.put(None)


def _complete(job: Job[T], call: Callable[[], T]) -> None:
    """Give the job the result of the call."""
    if not job.set_running_or_notify_cancel():
        return
    try:
        job.set_result(call())
    except BaseException as error:
        job.set_exception(error)
        del job  # whose error holds this frame


def to_thread(call: Callable[[], T]) -> T:
    """Run a blocking call."""
    return call()


def to_thread_shielded(call: Callable[[], T]) -> T:
    """Run a blocking call."""
    return call()


def shielded(call: Call[T]) -> T:
    """Run a call to its end."""
    return call()


class Closable(Protocol):
    """An object that has to be closed."""

    def close(self) -> None:
        """Close it."""


def abandon(job: Job[Any]) -> None:
    """Close the result of a call that is no longer wanted, and cannot be cancelled."""
    job.add_done_callback(_close)


def _close(job: Job[Closable]) -> None:
    if not job.cancelled() and job.exception() is None:
        job.result().close()


def wait_readable(descriptor: int, timeout: float) -> bool:
    """Wait until a socket is readable; return False after ``timeout`` seconds."""
    return wait_sockets((descriptor,), (), timeout)


def wait_sockets(readers: Sequence[int], writers: Sequence[int], timeout: float) -> bool:
    """Wait until one of the sockets is ready; return False after ``timeout`` seconds."""
    # A selector would be created and closed for each wait, by system calls of its own.
    waiting = poll()
    for descriptor in {*readers, *writers}:
        events = POLLIN if descriptor in readers else 0
        events |= POLLOUT if descriptor in writers else 0
        waiting.register(descriptor, events)
    ready = waiting.poll(timeout * 1000)
    if any(events & POLLNVAL for _, events in ready):
        raise OSError(EBADF, os.strerror(EBADF))
    return bool(ready)


def yield_to_others() -> None:
    """Do nothing: other threads run anyway, and giving up the processor would cost much."""


def guard() -> AbstractContextManager[object]:
    """Return a lock between threads."""
    return RLock()


class Heartbeat:
    """Periodic calls of a method in a background thread, every ``interval`` seconds.

    They end with ``close``, or with the lifetime of the method's object.
    """

    def __init__(self, beat: Callable[[], None], interval: float) -> None:
        self._closed = Event()
        args = (WeakMethod(beat), interval, self._closed)
        Thread(target=_beating, args=args, name="pgreplkit-heartbeat", daemon=True).start()

    def close(self) -> None:
        """Stop the calls."""
        self._closed.set()


def _beating(beat: WeakMethod[Callable[[], None]], interval: float, closed: Event) -> None:
    while not closed.wait(interval):
        call = beat()
        if call is None:
            return
        call()
        del call


def failure_of_hook(call: Callable[[], object], timeout: float | None) -> BaseException | None:
    """Call a caller's hook, in a thread if its time is limited; return what it raises.

    A TypeError is returned for a coroutine, which the sync classes do not run, and for a
    generator.

    Raises: TimeoutError if it has not ended in time; it may still run then.
    """
    if timeout is None:
        return _failure_of_hook(call)
    group = TaskGroup(1)
    try:
        return group.start(lambda: _failure_of_hook(call)).result(timeout)
    finally:
        group.close()


def _failure_of_hook(call: Callable[[], object]) -> BaseException | None:
    try:
        result = call()
        if iscoroutine(result):
            result.close()
        if isawaitable(result):
            raise TypeError("the hook returned a coroutine, which only the async classes run")
        if isgenerator(result) or isasyncgen(result):
            raise TypeError("the hook returned a generator, of which nothing has run")
    except BaseException as error:
        return error
    return None


class Runner:
    """Runs the coroutines of asynchronous objects in an event loop of its own, in a thread.

    The loop runs all the time, because clients of engines answer their servers in between.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="pgreplkit-sink", daemon=True)
        self._thread.start()

    def run(self, call: Coroutine[object, object, T]) -> T:
        """Run a coroutine to its end."""
        return self.result(self.start(call))

    def start(self, call: Coroutine[object, object, T]) -> Job[T]:
        """Start a coroutine in the background."""
        return asyncio.run_coroutine_threadsafe(call, self._loop)

    def result(self, job: Job[T]) -> T:
        """Wait for the result of a coroutine."""
        try:
            return job.result()
        except BaseException:
            # An interrupt such as Ctrl-C ends the wait, and must end the coroutine too.
            job.cancel()
            raise

    def close(self) -> None:
        """Cancel the coroutines that have not ended, and end the thread."""
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(_cancel_others(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _cancel_others() -> None:
    jobs = asyncio.all_tasks() - {asyncio.current_task()}
    for job in jobs:
        job.cancel()
    await asyncio.gather(*jobs, return_exceptions=True)


def insist_on_hook(hook: object, name: str) -> None:
    """Raise TypeError if a caller's hook cannot be called, or is a coroutine function."""
    if not callable(hook):
        raise TypeError(f"{name} must be a function, not {type(hook).__name__}")
    # An object's __call__ may be one.
    if iscoroutinefunction(hook) or iscoroutinefunction(type(hook).__call__):
        raise TypeError(f"{name} is a coroutine function, which only the async classes run")
