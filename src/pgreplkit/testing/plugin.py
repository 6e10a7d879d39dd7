"""pytest plugin: a session-wide lab, its server for pytest-postgresql, and details of failures.

A failed test that uses the lab reports the end of its servers' logs. A failed comparison of two
LSNs reports their distance in bytes. pytest loads the plugin automatically when pgreplkit is
installed.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from packaging.version import Version

    from pgreplkit.lab import Lab, Node


_LAB = pytest.StashKey["Lab"]()
_STARTED = pytest.StashKey[float]()


class LabServer(NamedTuple):
    """The attributes that pytest-postgresql reads of a process fixture."""

    host: str
    port: int
    password: str
    version: Version
    user: str = "postgres"
    options: str = ""
    dbname: str = "tests"
    template_dbname: None = None
    maintenance_dbname: str = "postgres"


@pytest.fixture(scope="session")
def pgreplkit_lab(pytestconfig: pytest.Config) -> Iterator[Lab]:
    """Provide a Lab for the whole test session; its servers are removed at the end."""
    # pytest imports this module in every project that has pgreplkit installed: the lab, which
    # needs psycopg and psutil, is imported only by sessions that use it.
    from pgreplkit.lab import Lab

    with Lab() as lab:
        pytestconfig.stash[_LAB] = lab
        yield lab


@pytest.fixture(scope="session")
def pgreplkit_primary(pgreplkit_lab: Lab) -> Node:
    """Start a primary in the lab. Override this fixture to choose its version and settings."""
    return pgreplkit_lab.primary()


@pytest.fixture(scope="session")
def pgreplkit_postgresql(pgreplkit_lab: Lab, pgreplkit_primary: Node) -> LabServer:
    """Provide ``pgreplkit_primary`` as a process fixture of pytest-postgresql.

    ``factories.postgresql("pgreplkit_postgresql")`` then creates a database for each test.
    """
    node = pgreplkit_primary
    return LabServer(node.host, node.port, pgreplkit_lab.password, node.installation.version)


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
            log = node.log_file
            # A server that was never started has none.
            if log.exists() and log.stat().st_mtime >= item.stash[_STARTED]:
                report.sections.append((f"log of {node.name}", node.log_tail()))
    return report


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Explain a failed comparison of two LSNs by their distance in bytes."""
    from pgreplkit.values.lsn import LSN

    if op == "==" and isinstance(left, LSN) and isinstance(right, LSN):
        return [f"{left!r} == {right!r}", f"{abs(right - left)} bytes apart"]
    return None
