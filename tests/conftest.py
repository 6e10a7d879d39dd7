"""Fixtures: the majors to test, their clusters, and both colours."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Iterator
from typing import cast
from zlib import crc32

import pytest
from clusters import Cluster, Clusters
from colours import Colour
from databases import Database, Pair, make_database, make_pair, remove_databases
from hypothesis import settings

from pgreplkit.lab import Lab, find_servers

pytest_plugins = ["pytester"]

# A run tests what the run before it tested; nox -s fuzz looks for what is new.
settings.register_profile("pgreplkit", deadline=None, max_examples=100, derandomize=True)
settings.register_profile("fuzz", deadline=None, max_examples=1000, derandomize=False)
settings.load_profile("pgreplkit")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pg", help="majors to test on, as in 10,12,18; the newest found otherwise")


def majors(config: pytest.Config) -> list[int]:
    chosen = config.getoption("--pg")
    if chosen:
        return [int(major) for major in chosen.split(",")]
    return newest_found()


@functools.cache
def newest_found() -> list[int]:
    return [server.version.major for server in find_servers()[:1]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "major" in metafunc.fixturenames:
        ids = [f"pg{major}" for major in majors(metafunc.config)]
        metafunc.parametrize("major", majors(metafunc.config), ids=ids, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that take long are left to the matrix; what costs much is tested in one colour: tests
    that start servers or make databases of their own, and with many majors those between the
    oldest and the newest.

    The sync classes are generated from the async ones: the colour does not depend on the major.
    Which colour it is alternates, from test to test and from major to major.
    """
    between = majors(config)[1:-1]
    is_matrix = bool(config.getoption("--pg"))

    def is_wanted(item: pytest.Item) -> bool:
        if item.get_closest_marker("matrix") and not is_matrix:
            return False
        if not isinstance(item, pytest.Function):
            return True
        params = item.callspec.params if hasattr(item, "callspec") else {}
        major = cast(int, params.get("major", 0))
        is_costly = "clusters" in inspect.signature(item.function).parameters
        is_costly = is_costly or not {"pair", "database"}.isdisjoint(item.fixturenames)
        if major not in between and not is_costly:
            return True
        turn = major + (crc32(item.originalname.encode()) if is_costly else 0)
        return params.get("colour") in {None, ("sync", "async")[turn % 2]}

    config.hook.pytest_deselected(items=[item for item in items if not is_wanted(item)])
    items[:] = [item for item in items if is_wanted(item)]


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run coroutine tests to their end."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture(scope="session")
def clusters(pgreplkit_lab: Lab) -> Clusters:
    return Clusters(pgreplkit_lab)


@pytest.fixture(autouse=True)
def no_nodes_stay(request: pytest.FixtureRequest) -> Iterator[None]:
    """Remove the nodes that a test adds to the lab of all tests: they take much of a disk."""
    if "clusters" not in request.fixturenames:
        yield
        return
    clusters: Clusters = request.getfixturevalue("clusters")
    before = {*clusters.lab.nodes}
    yield
    for name in {*clusters.lab.nodes} - before - clusters.kept():
        clusters.lab.remove(clusters.lab.nodes[name])


@pytest.fixture(autouse=True)
def fitting_major(request: pytest.FixtureRequest) -> None:
    """Skip what the major under test does not have."""
    if "major" not in request.fixturenames:
        return  # It needs no server.
    for mark in request.node.iter_markers("pg"):
        if not eval(f"{request.node.callspec.params['major']} {mark.args[0]}"):
            pytest.skip(f"needs PostgreSQL {mark.args[0]}")


@pytest.fixture
def cluster(clusters: Clusters, major: int) -> Cluster:
    """The cluster of the major under test."""
    return clusters.of(major)


@pytest.fixture
def database(cluster: Cluster) -> Iterator[Database]:
    """A database on the primary under test."""
    database = make_database(cluster.primary)
    yield database
    remove_databases(database)


@pytest.fixture
def pair(cluster: Cluster) -> Iterator[Pair]:
    """Two databases of the primary under test, of which one can subscribe to the other."""
    pair = make_pair(cluster.primary, cluster.primary)
    yield pair
    remove_databases(pair.subscriber, pair.publisher)


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> Colour:
    return Colour(request.param)
