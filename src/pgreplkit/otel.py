"""OpenTelemetry: the samples of a watch as gauges, and plans as spans."""

from pgreplkit._public import TYPE_CHECKING, lazy as _lazy

if TYPE_CHECKING:
    from pgreplkit.exporters.opentelemetry import observe as observe, trace_plan as trace_plan

# Hidden from type checkers, which would take any name for a public one.
if not TYPE_CHECKING:
    __getattr__, __dir__ = _lazy(__name__)
    __all__ = __dir__()
