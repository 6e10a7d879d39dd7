"""What differs between the colours: waiting, and doing several things at once, in an event loop."""

from __future__ import annotations

import asyncio
from asyncio import Lock as Lock, Task, sleep as sleep
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from inspect import isawaitable
from typing import TypeAlias, TypeVar
from weakref import WeakMethod

T = TypeVar("T")
Job: TypeAlias = Task[T]


class TaskGroup:
    """Does things at once, each for as long as it takes.

    ``size`` is how many there are, which matters to threads only.
    """

    def __init__(self, size: int) -> None:
        self._jobs: set[Task[object]] = set()
        self._closed = asyncio.Event()

    def start(self, call: Callable[[], Coroutine[object, object, T]]) -> Job[T]:
        """Begin with it."""
        job = asyncio.ensure_future(call())
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        return job

    async def wait(self, jobs: Sequence[Job[T]], timeout: float) -> None:
        """Wait until they are done, or that many seconds."""
        if jobs:
            await asyncio.wait(jobs, timeout=timeout)

    async def rest(self, seconds: float) -> None:
        """Do nothing for that long, or until it is closed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closed.wait()

    async def close(self) -> None:
        """Give up what is not done."""
        self._closed.set()
        jobs = [*self._jobs]
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)


async def to_thread(call: Callable[[], T]) -> T:
    """Do what blocks out of the loop's way, in a thread."""
    return await asyncio.to_thread(call)


async def to_thread_shielded(call: Callable[[], T]) -> T:
    """The same, to its end even where the caller is cancelled: it is not left to a thread alone."""
    job = asyncio.ensure_future(asyncio.to_thread(call))
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        while not job.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([job])
        raise


async def wait_readable(descriptor: int, timeout: float) -> bool:
    """Whether there is something to read from a socket, within that many seconds."""
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


def guard() -> AbstractContextManager[object]:
    """What one of several threads holds at a time; in a loop there is but one."""
    return nullcontext()


class Heartbeat:
    """Calls a method every ``interval`` seconds while the caller's code does something else.

    It ends with ``close``, or when nobody holds the method's object any more.
    """

    def __init__(self, beat: Callable[[], None], interval: float) -> None:
        self._task = asyncio.ensure_future(_beating(WeakMethod(beat), interval))

    def close(self) -> None:
        """Stop it."""
        self._task.cancel()


async def _beating(beat: WeakMethod[Callable[[], None]], interval: float) -> None:
    while True:
        await sleep(interval)
        call = beat()
        if call is None:
            return
        call()
        del call


async def completed(result: object) -> None:
    """Wait for what a caller's hook gave, when that is a coroutine."""
    if isawaitable(result):
        await result
