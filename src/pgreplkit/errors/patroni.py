"""Errors of Patroni's REST API."""

from __future__ import annotations

from pgreplkit.errors.base import OperationError


class PatroniError(OperationError):
    """A request that Patroni did not carry out."""


class PatroniUnreachable(PatroniError):
    """No member's REST API answered."""


class PatroniRefused(PatroniError):
    """A request that Patroni answered with an error.

    Attributes:
        status: the HTTP status of the answer: 401 for a wrong user or password, 412 for an unmet
            precondition, 503 for a failure on the way.
    """

    status: int

    def __init__(self, operation: str, found: str, status: int) -> None:
        super().__init__(operation, found)
        self.status, self._code = status, f" (HTTP status {status})"
        if status == 401:
            self.remedy = "pass username= and password= of its REST API"

    def __reduce__(self) -> tuple[type[PatroniRefused], tuple[str, str, int]]:
        return PatroniRefused, (self.operation, self.found, self.status)
