# Generated from pgreplkit/_async/wire/closing.py by `nox -s sync`. Do not edit.
"""Closing: base class of objects that are closed at the end of a ``with`` block."""

from __future__ import annotations

from types import TracebackType
from typing import Self


class Closing:
    """A context manager that calls ``close()`` at the end of the block."""

    def close(self) -> None:
        """Close it; closing it again does nothing."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
