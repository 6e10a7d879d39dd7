"""What keeps an operation on a cluster from being carried out."""

from __future__ import annotations

from pgreplkit.errors.base import Error


class ControlFailed(Error):
    """A server's host did not do what it was told: a program failed, or a file is out of reach.

    Attributes:
        tried: what was to be done.
        found: what the program said.
    """

    tried: str
    found: str

    def __init__(self, tried: str, found: str) -> None:
        super().__init__(tried, found)
        self.tried, self.found = tried, found

    def __str__(self) -> str:
        return f"{self.tried}: {self.found}"
