"""Checks: reports and samples as results of monitoring plugins, with exit status and thresholds."""

from pgreplkit._public import TYPE_CHECKING, lazy as _lazy

if TYPE_CHECKING:
    from pgreplkit.monitoring.checkresult import (
        CheckResult as CheckResult,
        PerformanceValue as PerformanceValue,
    )
    from pgreplkit.monitoring.problems import CheckStatus as CheckStatus
    from pgreplkit.values.threshold import Threshold as Threshold

# Hidden from type checkers, which would take any name for a public one.
if not TYPE_CHECKING:
    __getattr__, __dir__ = _lazy(__name__)
    __all__ = __dir__()
