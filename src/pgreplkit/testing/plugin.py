"""pytest plugin: a session-wide lab, and byte distances in failed LSN comparisons.

pytest loads it automatically when pgreplkit is installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pgreplkit.lab import Lab


@pytest.fixture(scope="session")
def pgreplkit_lab() -> Iterator[Lab]:
    """Provide a Lab for the whole test session; its servers are removed at the end."""
    # pytest imports this module in every project that has pgreplkit installed: the lab, which
    # needs psycopg and psutil, is imported only by sessions that use it.
    from pgreplkit.lab import Lab

    with Lab() as lab:
        yield lab


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Explain a failed comparison of two LSNs by their distance in bytes."""
    from pgreplkit.values.lsn import LSN

    if op == "==" and isinstance(left, LSN) and isinstance(right, LSN):
        return [f"{left!r} == {right!r}", f"{abs(right - left)} bytes apart"]
    return None
