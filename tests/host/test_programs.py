"""Programs that are followed to their end."""

from __future__ import annotations

import signal
import time

from pgreplkit.host.programs import Programs, running_with


def test_a_program_that_was_killed_alone_takes_its_children_along() -> None:
    mark = f"--mark={time.time_ns()}"
    # The child has the output, as the one of pg_basebackup that receives WAL.
    child = f"sh -c 'sleep 600; :' sh {mark} &"
    run = Programs().follow("run it", ["sh", "-c", f"{child} kill -9 $$"], None, None)
    assert run.returncode == -signal.SIGKILL
    ends = time.monotonic() + 10
    while running_with(mark) and time.monotonic() < ends:
        time.sleep(0.02)
    assert running_with(mark) == []
