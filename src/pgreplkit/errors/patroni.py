"""What Patroni answered when it could not do what was asked, or that it did not answer."""

from __future__ import annotations

from pgreplkit.errors.base import Error


class PatroniError(Error):
    """Patroni did not do what was asked.

    Attributes:
        tried: what was asked of it.
        found: what came back.
    """

    tried: str
    found: str

    def __init__(self, tried: str, found: str) -> None:
        super().__init__(tried, found)
        self.tried, self.found = tried, found

    def __str__(self) -> str:
        return f"{self.tried}: {self.found}"


class PatroniUnreachable(PatroniError):
    """No member's REST API answered."""


class PatroniRefused(PatroniError):
    """Patroni answered, and did not do it.

    Attributes:
        status: the answer's HTTP status: 401 is for a user or password, 412 for something that it
            needs, 503 for what went wrong on the way.
    """

    status: int

    def __init__(self, tried: str, found: str, status: int) -> None:
        super().__init__(tried, found)
        self.status = status

    def __reduce__(self) -> tuple[type[PatroniRefused], tuple[str, str, int]]:
        return PatroniRefused, (self.tried, self.found, self.status)

    def __str__(self) -> str:
        hint = "; give username= and password= of its REST API" if self.status == 401 else ""
        return f"{super().__str__()} (HTTP status {self.status}){hint}"
