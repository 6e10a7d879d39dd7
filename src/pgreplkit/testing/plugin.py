"""The pytest plugin: a lab for the whole test session, and how far LSNs are apart in failures.

pytest finds it by itself where pgreplkit is installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pgreplkit.lab import Lab


@pytest.fixture(scope="session")
def pgreplkit_lab() -> Iterator[Lab]:
    """A Lab that is closed, with all its servers, when the test session ends."""
    # Every session of every project that has pgreplkit imports this module: not the lab with it.
    from pgreplkit.lab import Lab

    with Lab() as lab:
        yield lab


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """How far apart two positions are that should be the same."""
    from pgreplkit.values.lsn import LSN

    if op == "==" and isinstance(left, LSN) and isinstance(right, LSN):
        return [f"{left!r} == {right!r}", f"{abs(right - left)} bytes apart"]
    return None
