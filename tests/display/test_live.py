"""watch.show(): one display of a notebook, which each round updates."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from clusters import wait_until

from pgreplkit import AsyncWatch, Watch

SERVERS = {"<db1>": "host=/nowhere"}


@pytest.fixture
def outputs() -> Iterator[Any]:
    capture: Any = pytest.importorskip("IPython.utils.capture")
    shell: Any = pytest.importorskip("IPython.core.interactiveshell").InteractiveShell
    shell.instance()
    try:
        with capture.capture_output() as captured:
            yield captured
    finally:
        shell.clear_instance()


def check(outputs: Any, *, at_least: int) -> None:
    found = [output for output in outputs.outputs if "text/html" in output.data]
    assert len(found) >= at_least
    # All but the first replace the first.
    assert [output.update for output in found] == [False] + [True] * (len(found) - 1)
    assert len({output.transient["display_id"] for output in found}) == 1
    assert all("&lt;db1&gt;" in output.data["text/html"] for output in found)
    samples = "1 sample" if len(found) == 1 else f"{len(found)} samples"
    assert samples in found[-1].data["text/html"]


def test_the_display_ends_after_its_seconds(outputs: Any) -> None:
    with Watch(SERVERS, interval=0.02) as watch:
        watch.show(seconds=0.1)
    check(outputs, at_least=1)


def test_an_interrupt_ends_the_display_and_not_the_watch(outputs: Any) -> None:
    with Watch(SERVERS, interval=0.02) as watch:
        main = threading.main_thread().ident
        assert main is not None

        def interrupt(thread: int = main) -> None:
            wait_until(lambda: len(outputs.outputs) > 2)
            signal.pthread_kill(thread, signal.SIGINT)

        interrupting = threading.Thread(target=interrupt)
        interrupting.start()
        watch.show(seconds=30)
        interrupting.join()
        assert next(watch)["<db1>"].error is not None
    check(outputs, at_least=3)


def test_async_code_shows_samples_in_a_task(outputs: Any) -> None:
    async def shown() -> None:
        async with AsyncWatch(SERVERS, interval=0.02) as watch:
            task = asyncio.create_task(watch.show(seconds=30))
            while len(outputs.outputs) < 3:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(shown())
    check(outputs, at_least=3)
