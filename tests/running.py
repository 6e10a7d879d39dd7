"""Calls that run in a thread while a test looks at them, such as an applier or a mesh."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Protocol

from clusters import TIMEOUT


class Runs(Protocol):
    """An applier, a mesh, or a node of one."""

    def run(self) -> object: ...

    def stop(self) -> None: ...


@contextmanager
def in_thread(call: Callable[[], object], *, end: Callable[[], object]) -> Iterator[Thread]:
    """Call a function in a thread during the block; raise its error at the end of the block.

    ``end`` lets it return. Afterwards nothing runs, even if an assertion of the block has failed:
    a thread that outlives its test disturbs or fails another one.
    """
    errors: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            errors.append(error)

    # A call that never ends must not keep the process of the tests.
    thread = Thread(target=run, daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        if thread.is_alive():  # an applier's next run would end at once
            end()
        thread.join(TIMEOUT)
    assert not thread.is_alive(), f"the call did not end in {TIMEOUT:g} s"
    for error in errors:
        raise error


@contextmanager
def running(one: Runs) -> Iterator[Thread]:
    """Call ``run`` in a thread during the block, and ``stop`` at its end, as ``in_thread`` does."""
    with in_thread(one.run, end=one.stop) as thread:
        yield thread
