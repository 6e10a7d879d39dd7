"""Errors about this machine's files, and about the host of a server."""

from __future__ import annotations

from pgreplkit.errors.base import OperationError


class HostFileError(OperationError):
    """A file of this host that could not be read or changed; it is unchanged."""


class ControlFailed(OperationError):
    """A program of a server's host failed, or a file there is out of reach."""


class WalNotFound(OperationError, LookupError):
    """WAL that a directory or file does not hold."""

    remedy = "restore it from an archive, or read another range"
