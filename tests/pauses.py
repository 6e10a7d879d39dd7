"""Pauses of this thread while another makes a call, as where C code keeps the GIL."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Thread


def longest_pause_during(call: Callable[[], object]) -> float:
    """Return the longest time for which this thread could not run while another makes a call."""
    calling = Thread(target=call)
    longest, before = 0.0, time.monotonic()
    calling.start()
    while longest == 0.0 or calling.is_alive():
        time.sleep(0.01)
        now = time.monotonic()
        longest, before = max(longest, now - before), now
    return longest
