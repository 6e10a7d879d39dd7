"""Journals of plans, read from their files."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgreplkit.errors import HostFileError
from pgreplkit.host.journalfile import read_journal


@pytest.mark.parametrize("text", ["", "{", "[]", '{"steps": []}', '{"steps": [{"kind": "X"}]}'])
def test_the_error_about_a_file_that_is_not_a_journal_names_it(text: str, tmp_path: Path) -> None:
    file = tmp_path / "shop18.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"could not read .*journal: .*shop18\.json"):
        read_journal(file)


def test_the_error_about_a_missing_journal_names_it(tmp_path: Path) -> None:
    with pytest.raises(HostFileError, match=r"shop18\.json"):
        read_journal(tmp_path / "shop18.json")
