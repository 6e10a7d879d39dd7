"""The base classes of the error tree."""

from __future__ import annotations


class Error(Exception):
    """The base class of all errors of pgreplkit."""


class OperationError(Error):
    """An operation that failed.

    Attributes:
        operation: the operation, as a verb and its object: ``drop slot 'feed'``.
        found: the reason, as far as it is known.
        remedy: what to do about it; empty where that depends on the reason.
    """

    operation: str
    found: str
    remedy: str = ""
    _code: str = ""

    def __init__(self, operation: str, found: str, *, remedy: str = "") -> None:
        super().__init__(operation, found)
        self.operation, self.found = operation, found
        if remedy:
            self.remedy = remedy

    def __str__(self) -> str:
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"could not {self.operation}: {self.found}{self._code}{remedy}"
