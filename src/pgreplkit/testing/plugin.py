"""The pytest plugin: a lab for the whole test session, as the fixture ``pgreplkit_lab``.

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
