"""The error for damaged WAL."""

from __future__ import annotations

import pickle

from pgreplkit import LSN
from pgreplkit.offline.damage import InvalidWal, opaque


def test_the_error_names_what_is_known_of_the_place() -> None:
    assert str(InvalidWal("bad", path="/x/0", lsn=LSN("0/5"))) == (
        "could not read the WAL at 0/5 of /x/0: bad; restore the file from another copy of the WAL"
    )
    assert str(InvalidWal("bad", remedy="wait")) == "could not read the WAL: bad; wait"


def test_an_opaque_file_stays_one_in_a_pickle() -> None:
    error = opaque("/x/0", "the file is encrypted", "decrypt it first")
    assert pickle.loads(pickle.dumps(error)).is_opaque
    assert not pickle.loads(pickle.dumps(InvalidWal("bad"))).is_opaque
