"""The text of an error as a log has it."""

from __future__ import annotations

import traceback


def printed(error: BaseException) -> str:
    """Return an error as ``logging.exception`` writes it, with all errors behind it."""
    return "".join(traceback.format_exception(error))
