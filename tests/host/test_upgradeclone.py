"""Files of the copy from which a new server is made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pgreplkit import LSN
from pgreplkit.errors import ControlFailed
from pgreplkit.host.upgradeclone import CloneDirectories, last_switch


def test_a_recovery_ended_at_the_last_switch_of_its_history() -> None:
    # The name of a restore point, in the encoding of its database.
    history = b'1\t0/3000000\tat restore point "caf\xe9"\n2\t0/5000060\tbefore LSN\n'
    assert last_switch(history, timeline=3) == LSN("0/5000060")


@pytest.mark.parametrize("history", [None, b"", b"# nothing\n"])
def test_a_missing_history_is_an_error_with_a_remedy(history: bytes | None) -> None:
    with pytest.raises(ControlFailed, match=r"00000003\.history is missing .*undo\(\) the plan"):
        last_switch(history, timeline=3)


def test_as_root_the_parent_directory_must_belong_to_another_account(tmp_path: Path) -> None:
    tmp_path.joinpath("pg_ctl").touch(0o755)
    parent, bindir, is_root = tmp_path / "18", tmp_path, os.geteuid() == 0
    clone = CloneDirectories.at(parent / "shop", bindir=bindir, old_bindir=bindir, settings=None)
    assert clone.unusable_parent() == f"{parent} is missing"
    parent.touch()
    assert clone.unusable_parent() == f"{parent} is no directory"
    parent.unlink()
    parent.mkdir()
    assert clone.unusable_parent() == ""
    assert clone.root_folder() == (str(parent) if is_root else "")
    if is_root:
        os.chown(parent, 65534, 65534)
        assert clone.root_folder() == ""


def test_libraries_that_the_new_version_lacks_are_found(tmp_path: Path) -> None:
    bindir, libraries = tmp_path / "bin", tmp_path / "lib"
    for folder in (bindir, libraries):
        folder.mkdir()
    bindir.joinpath("pg_ctl").touch(0o755)
    clone = CloneDirectories.at(tmp_path / "shop", bindir=bindir, old_bindir=bindir, settings=None)
    assert clone.missing_libraries([]) is None
    config = bindir / "pg_config"
    config.write_text(f"#!/bin/sh\necho {libraries}\n")
    config.chmod(0o755)
    for name in ("citext.so", "hstore.dylib", "whole.so", "own.so"):
        libraries.joinpath(name).touch()
    names = ["$libdir/citext", "$libdir/hstore", "whole.so", f"{libraries}/own", "$libdir/postgis"]
    assert clone.missing_libraries(names) == ["$libdir/postgis"]
