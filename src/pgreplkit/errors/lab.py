"""What keeps a throwaway cluster from running."""

from __future__ import annotations

from pgreplkit.errors.base import Error


class LabError(Error):
    """A throwaway cluster could not be made or run."""


class ServerNotFound(LabError):
    """No server of the major asked for was found on this machine."""


class ServerStartFailed(LabError):
    """A server's program failed; the end of what it printed is in the text."""
