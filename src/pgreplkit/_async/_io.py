"""What differs between the colours: waiting, and doing several things at once, in an event loop."""

from __future__ import annotations

import asyncio
from asyncio import Lock as Lock, Task, sleep as sleep
from collections.abc import Callable, Coroutine, Sequence
from inspect import isawaitable
from typing import TypeAlias, TypeVar

T = TypeVar("T")
Job: TypeAlias = Task[T]


class Crew:
    """Does things at once, each for as long as it takes.

    ``size`` is how many there are, which matters to threads only.
    """

    def __init__(self, size: int) -> None:
        self._jobs: set[Task[object]] = set()

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

    async def close(self) -> None:
        """Give up what is not done."""
        jobs = [*self._jobs]
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)


async def aside(call: Callable[[], T]) -> T:
    """Do what blocks out of the loop's way, in a thread."""
    return await asyncio.to_thread(call)


async def completed(result: object) -> None:
    """Wait for what a caller's hook gave, when that is a coroutine."""
    if isawaitable(result):
        await result
