"""Test support: a pytest plugin, Hypothesis strategies for values, and the laws of sinks."""

from pgreplkit._public import TYPE_CHECKING, lazy as _lazy

if TYPE_CHECKING:
    from pgreplkit.testing.sinklaws import (
        LawBroken as LawBroken,
        SinkLaws as SinkLaws,
        sink_laws as sink_laws,
    )

# Hidden from type checkers, which would take any name for a public one.
if not TYPE_CHECKING:
    __getattr__, __dir__ = _lazy(__name__)
    __all__ = __dir__()
