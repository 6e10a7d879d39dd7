"""InvalidWal: the error for WAL that is damaged or does not belong where it was found."""

from __future__ import annotations

from pgreplkit.errors.base import Error
from pgreplkit.values.lsn import LSN

DAMAGED = "restore the file from another copy of the WAL"


class InvalidWal(Error, ValueError):
    """WAL that is damaged, or is not the WAL that its file name promises.

    Attributes:
        found: the problem.
        path: the file; None for WAL that was not read from a file.
        lsn: the position of the problem, if it is known.
        remedy: what to do about it.
        is_opaque: True for a file that is encrypted, or compressed in another way than those that
            are read; it need not be damaged.
    """

    found: str
    path: str | None
    lsn: LSN | None
    remedy: str
    is_opaque: bool = False

    def __init__(
        self,
        found: str,
        *,
        path: str | None = None,
        lsn: LSN | None = None,
        remedy: str = DAMAGED,
    ) -> None:
        super().__init__(found, path, lsn, remedy)
        self.found, self.path, self.lsn, self.remedy = found, path, lsn, remedy

    def __reduce__(self) -> tuple[object, ...]:
        return _restored, (self.found, self.path, self.lsn, self.remedy), self.__dict__

    def __str__(self) -> str:
        at = f" at {self.lsn}" if self.lsn is not None else ""
        of = f" of {self.path}" if self.path else ""
        return f"could not read the WAL{at}{of}: {self.found}; {self.remedy}"


def _restored(found: str, path: str | None, lsn: LSN | None, remedy: str) -> InvalidWal:
    return InvalidWal(found, path=path, lsn=lsn, remedy=remedy)


def opaque(path: str, found: str, remedy: str) -> InvalidWal:
    """Return the error for a file that is encrypted, or compressed in an unknown way."""
    error = InvalidWal(found, path=path, remedy=remedy)
    error.is_opaque = True
    return error
