"""pytest plugin: a session-wide lab, and more details in the reports of failed tests.

A failed test that uses the lab reports the end of its servers' logs. A failed comparison of two
LSNs reports their distance in bytes. pytest loads the plugin automatically when pgreplkit is
installed.
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
    """Provide a Lab for the whole test session; its servers are removed at the end."""
    # pytest imports this module in every project that has pgreplkit installed: the lab, which
    # needs psycopg and psutil, is imported only by sessions that use it.
    from pgreplkit.lab import Lab

    with Lab() as lab:
        pytestconfig.stash[_LAB] = lab
        yield lab


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Record when the test started."""
    item.stash[_STARTED] = time.time()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to a failed report the end of each server log that was written during the test."""
    report = yield
    if report.failed and "pgreplkit_lab" in getattr(item, "fixturenames", ()):
        lab = item.config.stash.get(_LAB, None)
        for node in lab.nodes.values() if lab else ():
            if node.log_file.stat().st_mtime >= item.stash[_STARTED]:
                report.sections.append((f"log of {node.name}", node.log_tail()))
    return report


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Explain a failed comparison of two LSNs by their distance in bytes."""
    from pgreplkit.values.lsn import LSN

    if op == "==" and isinstance(left, LSN) and isinstance(right, LSN):
        return [f"{left!r} == {right!r}", f"{abs(right - left)} bytes apart"]
    return None
