"""The pytest plugin in a user's test suite."""

from __future__ import annotations

import pytest


def test_the_fixtures_provide_a_lab_and_a_database_on_its_server(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import pytest
        from pytest_postgresql import factories

        database = factories.postgresql("pgreplkit_postgresql")

        @pytest.fixture(scope="session")
        def pgreplkit_primary(pgreplkit_lab):
            return pgreplkit_lab.primary(settings={"wal_level": "logical"})
        """
    )
    pytester.makepyfile(
        """
        from pathlib import Path

        import pgreplkit

        def test_on_its_own_database(database, pgreplkit_lab):
            primary = pgreplkit.Primary(database)
            assert primary.identity().database == database.info.dbname == "tests"
            assert primary.setting("wal_level").value == "logical"
            database.execute("CREATE TABLE orders (id int)")
            database.commit()
            Path("root").write_text(str(pgreplkit_lab.root))

        def test_on_a_new_database(database, pgreplkit_lab):
            database.execute("CREATE TABLE orders (id int)")
            assert list(pgreplkit_lab.nodes) == ["primary1"]
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=2)
    root = (pytester.path / "root").read_text()
    assert not pytester.path.joinpath(root).exists()


def test_a_failure_shows_the_end_of_the_logs_of_the_test_and_the_distance_of_lsns(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        """
        import pytest
        from pgreplkit import LSN

        @pytest.fixture(scope="module")
        def silent(pgreplkit_lab):
            return pgreplkit_lab.primary(name="silent", settings={"log_checkpoints": False})

        @pytest.fixture
        def primary(silent, pgreplkit_lab):
            # A node without files has no log.
            vacant = pgreplkit_lab._node(silent.installation, "vacant")
            pgreplkit_lab.nodes["vacant"] = vacant
            with pgreplkit_lab.primary(name="other").connect() as primary:
                yield primary

        def test_passes(silent):
            pass

        def test_fails(primary):
            primary.connection.execute("SELECT 1 / 0")

        def test_uses_no_lab():
            assert LSN("0/10") == LSN("0/12")
        """
    )
    # In this order: the log of a server is shown if it grew within the test that failed.
    result = pytester.runpytest_subprocess("-p", "no:postgresql", "-p", "no:randomly")
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(["*- log of other -*", "*ERROR:  division by zero"])
    result.stdout.no_fnmatch_line("*- log of silent -*")
    result.stdout.fnmatch_lines(["*assert LSN('0/10') == LSN('0/12')", "*2 bytes apart"])
    result.stdout.no_fnmatch_line("*representation of details failed*")
