"""The differences between async and sync, here for asyncio: waiting and concurrency."""

from __future__ import annotations

import asyncio
from asyncio import Lock as Lock, Task, sleep as sleep
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext, suppress
from contextvars import copy_context
from functools import partial
from inspect import isasyncgen, isawaitable, isgenerator
from threading import Thread
from typing import Protocol, TypeAlias, TypeVar
from weakref import WeakMethod

T = TypeVar("T")
Job: TypeAlias = Task[T]
Call: TypeAlias = Callable[[], Coroutine[object, object, T]]
"""A call for a task; of a thread in the sync twin."""

_CANCELLED_WITHIN = 1.0
"""Seconds for a caller's hook to end when it is cancelled; it may suppress the cancellation."""


class TaskGroup:
    """A group of concurrent tasks.

    ``size`` is the number of threads in the sync twin; tasks need no limit.
    """

    def __init__(self, size: int) -> None:
        self._jobs: set[Task[object]] = set()
        self._closed = asyncio.Event()

    def start(self, call: Call[T]) -> Job[T]:
        """Start a task."""
        job = asyncio.ensure_future(call())
        # The event loop itself has only a weak reference to a task.
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        return job

    async def wait(self, jobs: Sequence[Job[T]], timeout: float) -> None:
        """Wait until the jobs are done, at most ``timeout`` seconds."""
        if jobs:
            await asyncio.wait(jobs, timeout=timeout)

    async def rest(self, seconds: float) -> None:
        """Sleep, at most until the group is closed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closed.wait()

    async def close(self) -> None:
        """Cancel the unfinished tasks."""
        self._closed.set()
        jobs = [*self._jobs]
        for job in jobs:
            job.cancel()
        # One task that failed must not hide that another is still running, and a caller that is
        # cancelled meanwhile must not close the connections that they still use.
        await shielded(partial(_ended, jobs))


async def _ended(jobs: Sequence[Task[object]]) -> None:
    await asyncio.gather(*jobs, return_exceptions=True)


async def shielded(call: Call[T]) -> T:
    """Run a call to its end; if the caller is cancelled, wait for that end first."""
    job = asyncio.ensure_future(call())
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        # A second cancellation must not end the wait.
        while not job.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([job])
        if not job.cancelled():
            # asyncio logs an exception that was never retrieved.
            job.exception()
        raise


async def to_thread(call: Callable[[], T]) -> T:
    """Run a blocking call in a thread."""
    return await asyncio.to_thread(call)


async def to_thread_shielded(call: Callable[[], T]) -> T:
    """Run a blocking call in a thread; if the caller is cancelled, wait for its end first."""
    # The thread still uses the caller's files.
    return await shielded(partial(asyncio.to_thread, call))


class Closable(Protocol):
    """An object that has to be closed."""

    async def close(self) -> None:
        """Close it."""


async def abandon(job: Job[Closable]) -> None:
    """Cancel a job whose result would have to be closed."""
    job.cancel()
    await shielded(partial(_closed, job))


async def _closed(job: Job[Closable]) -> None:
    await asyncio.wait([job])
    # It may have ended before it could be cancelled.
    if not job.cancelled() and job.exception() is None:
        await job.result().close()


async def wait_readable(descriptor: int, timeout: float) -> bool:
    """Wait until a socket is readable; return False after ``timeout`` seconds."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        async with asyncio.timeout(timeout):
            await readable.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(descriptor)
    return True


async def wait_sockets(readers: Sequence[int], writers: Sequence[int], timeout: float) -> bool:
    """Wait until one of the sockets is ready; return False after ``timeout`` seconds."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    for descriptor in readers:
        loop.add_reader(descriptor, ready.set)
    for descriptor in writers:
        loop.add_writer(descriptor, ready.set)
    try:
        async with asyncio.timeout(timeout):
            await ready.wait()
    except TimeoutError:
        return False
    finally:
        for descriptor in readers:
            loop.remove_reader(descriptor)
        for descriptor in writers:
            loop.remove_writer(descriptor)
    return True


async def yield_to_others() -> None:
    """Let other tasks of the event loop run; threads need no such turn."""
    await sleep(0)


def guard() -> AbstractContextManager[object]:
    """Return the lock of the sync twin; an event loop runs in one thread and needs none."""
    return nullcontext()


class Heartbeat:
    """Periodic calls of a method in the background, every ``interval`` seconds.

    They end with ``close``, or with the lifetime of the method's object.
    """

    def __init__(self, beat: Callable[[], None], interval: float) -> None:
        # A strong reference would keep a forgotten stream, and its connection, alive.
        self._task = asyncio.ensure_future(_beating(WeakMethod(beat), interval))

    def close(self) -> None:
        """Stop the calls."""
        self._task.cancel()


async def _beating(beat: WeakMethod[Callable[[], None]], interval: float) -> None:
    while True:
        await sleep(interval)
        call = beat()
        if call is None:
            return
        call()
        # Held during the sleep, this reference would keep the object alive.
        del call


async def failure_of_hook(
    call: Callable[[], object], timeout: float | None
) -> BaseException | None:
    """Run a caller's hook, and await its result if it is awaitable; return what it raises.

    A TypeError is returned for a generator, which no one would run.

    Raises: TimeoutError if it has not ended in time; a function may still run in its thread then.
    """
    job = asyncio.ensure_future(_failure_of_hook(call))
    try:
        await asyncio.wait([job], timeout=timeout)
        if not job.done():
            raise TimeoutError
    finally:
        if job.cancel():
            await asyncio.wait([job], timeout=_CANCELLED_WITHIN)
    return job.result()


async def _failure_of_hook(call: Callable[[], object]) -> BaseException | None:
    # Returned, and not raised: an event loop does not survive an interrupt in one of its tasks, and
    # a cancellation that the hook raises is not one of the caller.
    outcome: Future[tuple[object, BaseException | None]] = Future()
    # So that it stays usable if this task is cancelled.
    outcome.set_running_or_notify_cancel()

    def run() -> None:
        try:
            outcome.set_result((call(), None))
        except BaseException as error:
            outcome.set_result((None, error))

    # A hook that hangs does not keep the program from ending, as one of asyncio.to_thread would.
    Thread(target=copy_context().run, args=(run,), name="pgreplkit-hook", daemon=True).start()
    result, error = await asyncio.wrap_future(outcome)
    try:
        if isawaitable(result):
            await result
        elif isgenerator(result) or isasyncgen(result):
            raise TypeError("the hook returned a generator, of which nothing has run")
    except BaseException as raised:
        return raised
    return error


class Runner:
    """Runs the coroutines of asynchronous objects, for code of both colours.

    The sync twin runs them in an event loop of its own, in a thread.
    """

    def __init__(self) -> None:
        self._jobs: set[Task[object]] = set()

    async def run(self, call: Coroutine[object, object, T]) -> T:
        """Run a coroutine to its end."""
        return await call

    def start(self, call: Coroutine[object, object, T]) -> Job[T]:
        """Start a coroutine in the background."""
        job = asyncio.ensure_future(call)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        return job

    async def result(self, job: Job[T]) -> T:
        """Wait for the result of a coroutine."""
        return await job

    async def close(self) -> None:
        """Cancel the coroutines that have not ended."""
        jobs = [*self._jobs]
        for job in jobs:
            job.cancel()
        await shielded(partial(_ended, jobs))


def insist_on_hook(hook: object, name: str) -> None:
    """Raise TypeError if a caller's hook cannot be called."""
    if not callable(hook):
        raise TypeError(f"{name} must be a function, not {type(hook).__name__}")
