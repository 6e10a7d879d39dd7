"""Concurrent calls of the sync colour, in threads."""

from __future__ import annotations

import gc
import socket
import subprocess
import sys
import weakref
from threading import Barrier, Event

import pytest

from pgreplkit._sync._io import TaskGroup

DISCOVER = """
import sys
from pgreplkit import Cluster
print(Cluster.discover(sys.argv[1:], timeout=0.1).topology)
"""


class Result:
    """Something that a weak reference can point to."""


def test_as_many_calls_run_at_once_as_the_group_has_threads() -> None:
    group, all_run, end = TaskGroup(2), Barrier(3), Event()

    def call() -> None:
        all_run.wait(10)
        assert end.wait(10)

    jobs = [group.start(call) for _ in range(2)]
    third = group.start(lambda: "third")
    all_run.wait(10)
    group.wait([third], timeout=0.05)
    assert not third.done()
    end.set()
    assert third.result(10) == "third"
    assert [job.result(10) for job in jobs] == [None, None]
    group.close()


def test_an_error_is_that_of_the_job_and_the_thread_goes_on() -> None:
    group = TaskGroup(1)
    failed, next_one = group.start(lambda: 1 // 0), group.start(lambda: 2)
    with pytest.raises(ZeroDivisionError):
        failed.result(10)
    assert next_one.result(10) == 2
    group.close()


def test_a_closed_group_cancels_what_has_not_started() -> None:
    group, begun, end = TaskGroup(1), Event(), Event()

    def call() -> bool:
        begun.set()
        return end.wait(10)

    running, waiting = group.start(call), group.start(lambda: False)
    assert begun.wait(10)
    group.close()
    assert waiting.cancelled()
    end.set()
    assert running.result(10)


def test_an_idle_thread_holds_no_result() -> None:
    group = TaskGroup(1)
    job = group.start(Result)
    result = weakref.ref(job.result(10))
    next_one = group.start(lambda: None)
    assert next_one.result(10) is None
    del job
    gc.collect()
    assert result() is None
    group.close()


def test_a_connection_that_hangs_does_not_keep_a_program_from_ending() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        conninfo = f"host=127.0.0.1 port={silent.getsockname()[1]} connect_timeout=300"
        program = [sys.executable, "-c", DISCOVER, conninfo]
        run = subprocess.run(program, capture_output=True, timeout=60, check=True)
    assert b"timed out after 0.1 s" in run.stdout
