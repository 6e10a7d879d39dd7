"""Journals of plans, read from their files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pgreplkit.errors import HostFileError
from pgreplkit.host.journalfile import journal_at, read_journal, write_journal
from pgreplkit.plans.cluster.journal import Journal


@pytest.mark.parametrize("text", ["", "{", "[]", '{"steps": []}', '{"steps": [{"kind": "X"}]}'])
def test_the_error_about_a_file_that_is_not_a_journal_names_it(text: str, tmp_path: Path) -> None:
    file = tmp_path / "shop18.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"could not read .*: .*shop18\.json'; pass the path"):
        read_journal(file)
    with pytest.raises(ValueError, match=r"shop18\.json'; remove it$"):
        journal_at(file, remedy="remove it")


def test_the_error_about_a_missing_journal_names_it(tmp_path: Path) -> None:
    with pytest.raises(HostFileError, match=r"shop18\.json': No such file .*; pass the path"):
        read_journal(tmp_path / "shop18.json")


def test_a_journal_that_does_not_exist_may_be_new(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (None, tmp_path / "a", tmp_path / "a" / "b", tmp_path / "file" / "b"):
        assert journal_at(path, remedy="") is None


def test_a_pipe_and_a_device_are_no_journal(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero"), tmp_path):
        with pytest.raises(HostFileError, match="it is not a regular file; pass the path"):
            read_journal(path)
        with pytest.raises(HostFileError, match="it is not a regular file; remove it"):
            journal_at(path, remedy="remove it")


def test_the_error_about_an_unreadable_journal_says_what_to_do(tmp_path: Path) -> None:
    # A directory, and a name that no file can have.
    for path in (tmp_path, tmp_path / ("x" * 300)):
        with pytest.raises(HostFileError) as caught:
            journal_at(path, remedy="use another path")
        assert caught.value.remedy == "use another path"
        with pytest.raises(HostFileError, match="; pass the path of the operation's journal"):
            read_journal(path)


def test_the_error_about_a_journal_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    journal = Journal(operation="o", steps=())
    (tmp_path / "file").touch()
    for path in (tmp_path / "a" / "b", tmp_path / "file" / "b", tmp_path):
        with pytest.raises(HostFileError, match=r"write the journal .*; create its directory"):
            write_journal(path, journal)
    write_journal(tmp_path / "b", journal)
    assert read_journal(tmp_path / "b") == journal
