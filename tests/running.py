"""Appliers and meshes that run in a thread while a test looks at them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Protocol


class Runs(Protocol):
    """An applier, a mesh, or a node of one."""

    def run(self) -> object: ...

    def stop(self) -> None: ...


@contextmanager
def running(one: Runs) -> Iterator[Thread]:
    """Call ``run`` in a thread during the block; raise its error at the end of the block.

    Afterwards nothing runs, even if an assertion of the block has failed: the error of a thread
    that outlives its test fails another test.
    """
    errors: list[BaseException] = []

    def run() -> None:
        try:
            one.run()
        except BaseException as error:
            errors.append(error)

    # A run that never ends must not keep the process of the tests.
    thread = Thread(target=run, daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        if thread.is_alive():  # later, it would end the next run
            one.stop()
        thread.join(20)
    assert not thread.is_alive(), "the run did not end in 20 s"
    for error in errors:
        raise error
