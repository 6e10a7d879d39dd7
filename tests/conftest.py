"""Fixtures: the majors to test, their clusters, and both colours."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import shutil
import signal
from collections.abc import Iterator

import attrs
import pytest
from clusters import Cluster, Clusters
from colours import Colour
from databases import Database, Pair, make_database, make_pair, remove_databases
from hypothesis import HealthCheck, settings
from tiers import COLOURS, SAMPLE, Run, alternating, every, sampled, supported

from pgreplkit.driver import watchdog
from pgreplkit.lab import Lab, find_servers
from pgreplkit.plans.streams import silence

pytest_plugins = ["pytester"]

# A shell starts jobs in the background without it, and so would their tests' programs start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The thousands of tests stay until the end, so each search for garbage among them is in vain.
gc.disable()

# Every run tests the same examples; nox -s fuzz tries new ones.
# A busy machine may stop a test for longer than any deadline.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("pgreplkit", patient, max_examples=50, derandomize=True)
settings.register_profile("fuzz", patient, max_examples=1000, derandomize=False)
settings.load_profile("pgreplkit")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pg", help="run the matrix on these major versions, as in 10,12,18")
    parser.addoption("--full", action="store_true", help="run every test on all of them")
    parser.addoption("--disturb", action="store_true", help="keep the servers under test busy")


def is_matrix(config: pytest.Config) -> bool:
    return bool(config.getoption("--pg"))


def majors(config: pytest.Config) -> list[int]:
    """Return the major versions under test: those of --pg, or the newest installed one."""
    if is_matrix(config):
        return [int(major) for major in config.getoption("--pg").split(",")]
    return newest_installed()


@functools.cache
def newest_installed() -> list[int]:
    return [server.version.major for server in find_servers()[:1]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a live test on the majors and in the colours of its tier."""
    if "major" in metafunc.fixturenames:
        runs = tier(metafunc.config, metafunc.definition)
        if "colour" in metafunc.fixturenames:
            pairs = [attrs.astuple(run) for run in runs]
            ids = [str(run) for run in runs]
            metafunc.parametrize(
                "major, colour", pairs, indirect=["colour"], ids=ids, scope="session"
            )
        else:
            chosen = list(dict.fromkeys(run.major for run in runs))
            ids = [f"pg{major}" for major in chosen]
            metafunc.parametrize("major", chosen, ids=ids, scope="session")
    elif "colour" in metafunc.fixturenames:
        metafunc.parametrize("colour", COLOURS, indirect=True)


def tier(config: pytest.Config, test: pytest.Function) -> list[Run]:
    """Return the runs of a live test that the options ask for."""
    fitting = supported(majors(config), [mark.args[0] for mark in test.iter_markers("pg")])
    if config.getoption("--full"):
        return every(fitting)
    if is_matrix(config):
        if len(majors(config)) <= SAMPLE:
            return alternating(fitting)
        is_slow = test.get_closest_marker("matrix") is not None
        return alternating(sampled(fitting, test.name, is_slow=is_slow))
    return every(fitting, ["async"] if test.get_closest_marker("one_colour") else COLOURS)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave long tests to the matrix, and to it only live tests, by major.

    A worker of pytest-xdist begins with a run of neighbours, so that it needs the servers of few
    majors.
    """

    def major_of(item: pytest.Item) -> int:
        major = item.callspec.params.get("major") if hasattr(item, "callspec") else None
        return major if isinstance(major, int) else 0  # no int where no major fits the test

    def is_wanted(item: pytest.Item) -> bool:
        is_long = item.get_closest_marker("matrix") is not None
        if is_matrix(config) and "major" in getattr(item, "fixturenames", ()):
            return major_of(item) > 0
        return is_long == is_matrix(config)

    config.hook.pytest_deselected(items=[item for item in items if not is_wanted(item)])
    items[:] = sorted(filter(is_wanted, items), key=major_of)


def pytest_collection_finish() -> None:
    # The classes that attrs replaced by those with slots would stay in __subclasses__().
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run coroutine tests to their end."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture(scope="session")
def clusters(pgreplkit_lab: Lab, pytestconfig: pytest.Config) -> Iterator[Clusters]:
    clusters = Clusters(pgreplkit_lab, disturbed=pytestconfig.getoption("--disturb"))
    yield clusters
    clusters.close()


@pytest.fixture(autouse=True)
def no_nodes_stay(request: pytest.FixtureRequest) -> Iterator[None]:
    """Remove the nodes that a test adds to the session's lab, because they need much disk space."""
    if "clusters" not in request.fixturenames:
        yield
        return
    clusters: Clusters = request.getfixturevalue("clusters")
    before = {*clusters.lab.nodes}
    yield
    for name in {*clusters.lab.nodes} - before - clusters.kept():
        clusters.lab.remove(clusters.lab.nodes[name])
        # A failed pg_rewind leaves a folder beside the data directory, in the way of the next one.
        for folder in clusters.lab.root.glob(f"{name}.*"):
            shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def quiet(request: pytest.FixtureRequest) -> Iterator[None]:
    """Pause the disturbances for tests that compare with an idle server."""
    if request.node.get_closest_marker("quiet") is None:
        yield
        return
    clusters: Clusters = request.getfixturevalue("clusters")
    with clusters.quiet:
        yield


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


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a server count as silent after half a second."""
    monkeypatch.setattr(silence, "DEFAULT_LIMIT", 0.5)
    monkeypatch.setattr(watchdog, "_BEAT", 0.2)


@pytest.fixture
def colour(request: pytest.FixtureRequest) -> Colour:
    return Colour(request.param)
