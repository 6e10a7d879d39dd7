"""The archiver, and the files that wait for it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from serverfacts import NOW, archiver

from pgreplkit.catalog.server.retention import ready_files


@pytest.mark.parametrize(
    ("archived", "failed", "is_failing"),
    [(0, None, False), (None, 0, True), (0, 1, True), (1, 0, False)],
)
def test_an_archiver_fails_if_its_last_attempt_did(
    archived: int | None, failed: int | None, is_failing: bool
) -> None:
    times = [None if days is None else NOW + timedelta(days) for days in (archived, failed)]
    status = archiver(last_archived_time=times[0], last_failed_time=times[1])
    assert status.is_failing is is_failing


def test_the_function_that_lists_waiting_files_exists_since_12() -> None:
    assert "pg_ls_archive_statusdir" in ready_files(12)
    assert "pg_ls_archive_statusdir" not in ready_files(11)
