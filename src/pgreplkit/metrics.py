"""Metrics for Prometheus: the samples of a watch and the feeds of a fleet."""

from pgreplkit._public import TYPE_CHECKING, lazy as _lazy

if TYPE_CHECKING:
    from pgreplkit.exporters.feeds import FeedCollector as FeedCollector
    from pgreplkit.exporters.prometheus import Collector as Collector

# Hidden from type checkers, which would take any name for a public one.
if not TYPE_CHECKING:
    __getattr__, __dir__ = _lazy(__name__)
    __all__ = __dir__()
