"""ExtraMissing: a package that one of pgreplkit's extras installs is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pgreplkit.errors.base import OperationError


class ExtraMissing(OperationError, ImportError):
    """A package is missing, or psycopg finds no libpq; an extra of pgreplkit installs it.

    Attributes:
        extra: the extra to install, for example ``lab``.
        name: the package that could not be imported.
    """

    extra: str
    name: str | None

    def __init__(self, extra: str, package: str, found: str) -> None:
        remedy = f"run: pip install 'pgreplkit[{extra}]'"
        super().__init__(f"import {package}", found, remedy=remedy)
        self.extra, self.name = extra, package

    def __reduce__(self) -> tuple[type[ExtraMissing], tuple[str, str, str]]:
        return ExtraMissing, (self.extra, self.name or "", self.found)


@contextmanager
def needs_extra(extra: str, package: str) -> Iterator[None]:
    """Import an optional package inside this block.

    Raises: ExtraMissing, with the extra that installs the package.
    """
    try:
        yield
    except ImportError as error:
        # psycopg's message lists its attempts on further lines.
        raise ExtraMissing(extra, package, str(error).partition("\n")[0].rstrip(".")) from error
