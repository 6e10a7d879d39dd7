"""What keeps a file of this host from being changed."""

from __future__ import annotations

from pgreplkit.errors.base import Error


class HostFileError(Error):
    """A file of this host could not be read or changed; it is as it was.

    Attributes:
        tried: what was to be done.
        found: why it was not.
    """

    tried: str
    found: str

    def __init__(self, tried: str, found: str) -> None:
        super().__init__(tried, found)
        self.tried, self.found = tried, found

    def __str__(self) -> str:
        return f"{self.tried}: {self.found}"
