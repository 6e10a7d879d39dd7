"""The pytest plugin: a lab for the whole test session, and failures that show what happened.

A failing test that uses the lab shows the end of its servers' logs; two LSNs that should be equal
show the distance between them. pytest loads the plugin where pgreplkit is installed.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pgreplkit.lab import Lab


_LAB = pytest.StashKey["Lab"]()
_STARTED = pytest.StashKey[float]()


@pytest.fixture(scope="session")
def pgreplkit_lab(pytestconfig: pytest.Config) -> Iterator[Lab]:
    """A Lab that is closed, with all its servers, when the test session ends."""
    # Every session of every project that has pgreplkit imports this module: not the lab with it.
    from pgreplkit.lab import Lab

    with Lab() as lab:
        pytestconfig.stash[_LAB] = lab
        yield lab


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Remember when the test began."""
    item.stash[_STARTED] = time.time()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to a failure the end of each log that a server of the lab wrote to during the test."""
    report = yield
    if report.failed and "pgreplkit_lab" in getattr(item, "fixturenames", ()):
        lab = item.config.stash.get(_LAB, None)
        for node in lab.nodes.values() if lab else ():
            if node.log_file.stat().st_mtime >= item.stash[_STARTED]:
                report.sections.append((f"log of {node.name}", node.log_tail()))
    return report


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """How far apart two positions are that should be the same."""
    from pgreplkit.values.lsn import LSN

    if op == "==" and isinstance(left, LSN) and isinstance(right, LSN):
        return [f"{left!r} == {right!r}", f"{abs(right - left)} bytes apart"]
    return None
