"""Fixtures: recorded WAL of each major version."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
from recordedwal import MAJORS, SAMPLE, Recorded, unpack


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
