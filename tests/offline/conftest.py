"""Fixtures: recorded WAL of each major version, and an archive of two timelines."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest
from recordedwal import MAJORS, SAMPLE, Recorded, unpack
from walarchives import FORK, content_of
from walsegments import name_of


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Recorded]:
    return functools.partial(unpack, tmp_path_factory.mktemp("recorded"))


@pytest.fixture(params=SAMPLE, ids=str)
def sampled(request: pytest.FixtureRequest, unpacked: Callable[[int], Recorded]) -> Recorded:
    """For tests of behaviour that does not depend on the version: all would take long."""
    return unpacked(request.param)


@pytest.fixture(params=MAJORS, ids=str)
def recorded(request: pytest.FixtureRequest, unpacked: Callable[[int], Recorded]) -> Recorded:
    return unpacked(request.param)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Segments 3 to 6 of timeline 1, and 5 to 8 of timeline 2, which began in segment 5."""
    for number in range(3, 7):
        (tmp_path / name_of(number)).write_bytes(content_of(number))
    for number in range(5, 9):
        (tmp_path / name_of(number, 2)).write_bytes(content_of(number, 2))
    (tmp_path / "00000002.history").write_text(f"1\t{FORK}\tno recovery target specified\n")
    return tmp_path
