"""The pytest plugin in a user's test suite, and pytest-postgresql on a lab's server."""

from __future__ import annotations

import pytest
from clusters import Clusters

from pgreplkit.lab import Lab, find_servers


def test_the_fixture_provides_a_lab_and_closes_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from pathlib import Path

        def test_with_a_lab(pgreplkit_lab):
            with pgreplkit_lab.primary().connect() as primary:
                assert not primary.is_in_recovery()
            Path("root").write_text(str(pgreplkit_lab.root))

        def test_same_lab(pgreplkit_lab):
            assert list(pgreplkit_lab.nodes) == ["primary1"]
        """
    )
    pytester.runpytest_subprocess("-p", "no:postgresql").assert_outcomes(passed=2)
    root = (pytester.path / "root").read_text()
    assert not pytester.path.joinpath(root).exists()


def test_a_database_of_pytest_postgresql_on_a_lab_server(
    pytester: pytest.Pytester,
    pgreplkit_lab: Lab,
    clusters: Clusters,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # pytest-postgresql adds the worker of pytest-xdist to the database's name.
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    node = clusters.of(find_servers()[0].version.major).primary
    pytester.makeini(
        f"""
        [pytest]
        postgresql_host = {node.host}
        postgresql_port = {node.port}
        postgresql_password = {pgreplkit_lab.password}
        """
    )
    pytester.makepyfile(
        """
        import pgreplkit
        from pytest_postgresql import factories

        postgresql = factories.postgresql("postgresql_noproc")

        def test_on_its_own_database(postgresql):
            pgreplkit.register(postgresql)
            primary = pgreplkit.Primary(postgresql)
            assert primary.identity().database == postgresql.info.dbname == "tests"
            [lsn] = postgresql.execute("SELECT pg_current_wal_insert_lsn()").fetchone()
            assert isinstance(lsn, pgreplkit.LSN)
            assert primary.wal_position().insert >= lsn
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


def test_a_failed_comparison_of_lsns_shows_their_distance(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from pgreplkit import LSN

        def test_them():
            assert LSN("0/10") == LSN("0/12")
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:postgresql")
    result.stdout.fnmatch_lines(["*assert LSN('0/10') == LSN('0/12')", "*2 bytes apart"])
    result.stdout.no_fnmatch_line("*representation of details failed*")


def test_a_failure_shows_the_end_of_the_logs_written_during_the_test(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture(scope="module")
        def silent(pgreplkit_lab):
            return pgreplkit_lab.primary(name="silent", settings={"log_checkpoints": False})

        @pytest.fixture
        def primary(silent, pgreplkit_lab):
            with pgreplkit_lab.primary(name="other").connect() as primary:
                yield primary

        def test_passes(silent):
            pass

        def test_fails(primary):
            primary.connection.execute("SELECT 1 / 0")

        def test_uses_no_lab():
            assert False
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:postgresql")
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(["*- log of other -*", "*ERROR:  division by zero"])
    result.stdout.no_fnmatch_line("*- log of silent -*")
