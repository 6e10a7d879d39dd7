"""The receivers that confirm commits, and those that never do with remote_apply."""

from __future__ import annotations

import pytest
from serverfacts import sender

from pgreplkit import SyncStandbyNames
from pgreplkit.plans.server.synccommits import confirming, unreplaying

A, B = sender("a"), sender("b")
FLUSHES = sender("f", replay_lsn=None)
SILENT = sender("s", flush_lsn=None, replay_lsn=None)
ALL = [SILENT, A, FLUSHES, B]


@pytest.mark.parametrize("commit", ["on", "remote_write", "local", "off", None])
def test_a_receiver_that_reports_its_flush_confirms(commit: str | None) -> None:
    names = SyncStandbyNames.parse("FIRST 1 (f, a)")
    assert confirming(names, ALL, synchronous_commit=commit) == ("a", "f", "b")


@pytest.mark.parametrize(
    ("names", "able", "never"),
    [
        ("FIRST 1 (a, f)", ("a", "b"), ("f",)),
        ("FIRST 1 (f, a)", (), ("f",)),
        ("FIRST 2 (F, a, b)", ("a",), ("f",)),
        ("FIRST 2 (a, b, f)", ("a", "b"), ("f",)),
        # Of receivers with one priority the server may choose any.
        ("FIRST 1 (*)", (), ("f",)),
        ("FIRST 1 (a, *)", ("a", "b"), ("f",)),
        ("ANY 1 (f, a)", ("a", "b"), ("f",)),
        ("ANY 1 (a, b)", ("a", "b"), ()),
    ],
)
def test_with_remote_apply_a_receiver_has_to_replay(
    names: str, able: tuple[str, ...], never: tuple[str, ...]
) -> None:
    parsed = SyncStandbyNames.parse(names)
    assert confirming(parsed, ALL, synchronous_commit="remote_apply") == able
    assert unreplaying(parsed, ALL) == never
