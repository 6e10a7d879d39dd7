"""LatestSample: the sample of a watch for callers that ask at any time."""

from __future__ import annotations

import threading
import time

from pgreplkit._sync.cluster.watch import Watch
from pgreplkit.plans.cluster.watch import WatchSample


class LatestSample:
    """Takes a round of a watch when asked; a sample is valid for the watch's interval.

    So several scrapes, or several gauges, at the same time cost one round.
    """

    def __init__(self, watch: Watch) -> None:
        if not isinstance(watch, Watch):
            raise TypeError(f"watch must be a Watch, not {type(watch).__name__}")
        self._watch = watch
        self._lock = threading.Lock()
        self._sample: WatchSample | None = None
        self._taken = 0.0

    def get(self) -> WatchSample | None:
        """Return the sample; None if the watch is closed."""
        with self._lock:
            if self._sample is None or time.monotonic() - self._taken >= self._watch.interval:
                self._sample = next(self._watch, None)
                self._taken = time.monotonic()
            return self._sample
