"""Hooks of a caller that raise, hang or return coroutines, in both colours."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import suppress
from functools import partial
from threading import Event
from types import coroutine

import pytest

from pgreplkit._async import _io as async_io
from pgreplkit._async.cluster.hooks import call_hook as acall_hook
from pgreplkit._sync import _io as sync_io
from pgreplkit._sync.cluster.hooks import call_hook
from pgreplkit.errors import ControlFailed

HANGS = """
import asyncio, threading
from pgreplkit._async._io import failure_of_hook

async def main():
    try:
        await failure_of_hook(lambda: threading.Event().wait(), 0.1)
    except TimeoutError:
        print("late")

asyncio.run(main())
"""


class Unprintable(Exception):
    """An exception without a text."""

    def __str__(self) -> str:
        raise RuntimeError


RAISED: list[BaseException] = [
    ValueError("no pooler"),
    # Future.set_exception refuses it.
    StopIteration(),
    asyncio.CancelledError(),
    GeneratorExit(),
    SystemExit(0),
    KeyboardInterrupt(),
]


def raising(error: BaseException) -> object:
    raise error


async def araising(error: BaseException) -> None:
    # A generator, which a coroutine is, turns StopIteration into RuntimeError.
    raise error


@pytest.mark.parametrize("error", RAISED, ids=repr)
def test_what_a_hook_raises_is_returned(error: BaseException) -> None:
    call = partial(raising, error)
    assert sync_io.failure_of_hook(call, None) is error
    assert sync_io.failure_of_hook(call, 10) is error
    assert asyncio.run(async_io.failure_of_hook(call, 10)) is error
    if not isinstance(error, StopIteration):
        assert asyncio.run(async_io.failure_of_hook(partial(araising, error), 10)) is error


def test_a_coroutine_is_run_by_the_async_classes_only() -> None:
    ends: list[str] = []

    async def hook() -> None:
        await asyncio.sleep(0)
        ends.append("end")

    assert asyncio.run(async_io.failure_of_hook(hook, 10)) is None
    assert isinstance(sync_io.failure_of_hook(hook, 10), TypeError)
    assert ends == ["end"]


def test_a_generator_is_an_error_because_nothing_of_it_has_run() -> None:
    async def later() -> AsyncIterator[None]:
        yield

    for hook in (lambda: (one for one in "abc"), later):
        for failure in (
            sync_io.failure_of_hook(hook, None),
            sync_io.failure_of_hook(hook, 10),
            asyncio.run(async_io.failure_of_hook(hook, 10)),
        ):
            assert isinstance(failure, TypeError)
            assert "generator" in str(failure)

    @coroutine
    def awaitable() -> Iterator[None]:
        yield

    assert asyncio.run(async_io.failure_of_hook(awaitable, 10)) is None


def test_a_hook_that_hangs_ends_with_its_timeout() -> None:
    end = Event()

    async def stubborn() -> None:
        while not end.is_set():
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.1)

    async def limited(hook: Callable[[], object]) -> float:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            await async_io.failure_of_hook(hook, 0.1)
        end.set()
        return time.monotonic() - began

    with pytest.raises(TimeoutError):
        sync_io.failure_of_hook(end.wait, 0.1)
    assert asyncio.run(limited(end.wait)) < 5
    end.clear()
    assert asyncio.run(limited(stubborn)) < 5


def test_a_cancelled_caller_cancels_the_hook() -> None:
    found: list[str] = []

    async def hook() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            found.append("cleaned up")

    async def main() -> None:
        task = asyncio.create_task(async_io.failure_of_hook(hook, 60))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert found == ["cleaned up"]

    asyncio.run(main())


def test_a_hook_that_hangs_does_not_keep_the_program_from_ending() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "late\n")


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (SystemExit(0), r"redirect has called sys\.exit\(0\)"),
        (asyncio.CancelledError(), "CancelledError"),
        (StopIteration(), "server: StopIteration$"),
        (Unprintable(), "Unprintable: <exception str"),
        (OSError("down"), "OSError: down"),
    ],
    ids=repr,
)
def test_all_but_an_interrupt_is_a_failure_of_the_hook(error: BaseException, found: str) -> None:
    def hook(node: str) -> None:
        assert node == "new"
        raise error

    call: Callable[[], Coroutine[object, object, None]] = partial(
        acall_hook, "move the clients to the new server", "redirect", hook, "new", 10
    )
    with pytest.raises(ControlFailed, match=found):
        asyncio.run(call())
    with pytest.raises(ControlFailed, match=found) as failed:
        call_hook("move the clients to the new server", "redirect", hook, "new", 10)
    assert failed.value.__cause__ is error
    with pytest.raises(KeyboardInterrupt):
        call_hook("fence a", "fence", lambda _: raising(KeyboardInterrupt()), "a", None)
