"""Errors of throwaway servers (pgreplkit.lab)."""

from __future__ import annotations

from pgreplkit.errors.base import Error


class LabError(Error):
    """A throwaway server could not be created or used."""


class ServerNotFound(LabError):
    """No server of the requested version is installed on this machine."""


class ServerStartFailed(LabError):
    """A program of a throwaway server failed; the message contains the end of its output."""
