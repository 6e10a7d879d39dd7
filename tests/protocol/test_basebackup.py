"""The messages of a base backup, in both framings."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, strategies as st

from pgreplkit.backups import BackupArchive
from pgreplkit.errors import InvalidBackupMessage
from pgreplkit.protocol.basebackup import BackupFraming, BackupTablespace

TABLESPACES = [BackupTablespace(16401, "/some/where", 2048), BackupTablespace(None, None, 4096)]


class Recorder:
    """Records the calls of a sink in order, with consecutive data joined."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, object]] = []

    def begin(self, archive: BackupArchive) -> None:
        self.calls.append(("begin", archive.name))

    def write(self, data: memoryview) -> None:
        self._more("data", data)

    def end(self) -> None:
        self.calls.append(("end", None))

    def manifest(self, data: memoryview) -> None:
        self._more("manifest", data)

    def _more(self, kind: str, data: memoryview) -> None:
        before: Any = self.calls.pop()[1] if self.calls and self.calls[-1][0] == kind else b""
        self.calls.append((kind, before + bytes(data)))


EXPECTED = [
    ("begin", "16401.tar"),
    ("data", b"abc"),
    ("end", None),
    ("begin", "base.tar"),
    ("data", b"defg"),
    ("end", None),
    ("manifest", b"{}"),
]


def views(*messages: bytes) -> Iterator[memoryview]:
    return map(memoryview, messages)


def test_before_15_each_archive_has_its_own_copy_stream() -> None:
    recorder = Recorder()
    framing = BackupFraming(14, TABLESPACES, recorder)
    assert framing.archives_left == 2
    for messages in ((b"ab", b"c"), (b"de", b"fg"), (b"{", b"}")):
        framing.begin_copy()
        framing.feed(views(*messages))
        framing.end_copy()
    assert recorder.calls == EXPECTED
    assert (framing.done, framing.manifest, framing.archives_left) == ([3, 4], b"{}", -1)


def test_from_15_on_messages_start_with_a_type_byte() -> None:
    recorder = Recorder()
    framing = BackupFraming(15, TABLESPACES, recorder)
    assert framing.archives_left == 1
    framing.begin_copy()
    progress = b"p" + struct.pack(">q", 3)
    framing.feed(views(b"n16401.tar\0/some/where\0", b"dab", b"dc", progress, b"nbase.tar\0\0"))
    framing.feed(views(b"ddefg", progress, b"m", b"d{", b"d}"))
    framing.end_copy()
    assert recorder.calls == EXPECTED
    assert (framing.done, framing.manifest, framing.archives_left) == ([3, 4], b"{}", 0)


def test_progress_of_a_compressed_backup_is_the_servers() -> None:
    framing = BackupFraming(15, TABLESPACES, Recorder())
    framing.begin_copy()
    counted = [b"p" + struct.pack(">q", number) for number in (100, 2000, 2500)]
    framing.feed(views(b"n16401.tar.gz\0/some/where\0", b"dab", *counted[:2]))
    framing.feed(views(b"nbase.tar.gz\0\0", b"dcd", counted[2]))
    assert framing.done == [2000, 500]


@pytest.mark.parametrize("message", [b"", b"x", b"p123", b"nnew.tar\0/no/where\0", b"dabc"])
def test_other_messages_are_refused(message: bytes) -> None:
    with pytest.raises(InvalidBackupMessage):
        BackupFraming(15, TABLESPACES, Recorder()).feed(views(message))


def test_an_archive_after_the_manifest_is_refused() -> None:
    recorder = Recorder()
    framing = BackupFraming(15, TABLESPACES, recorder)
    with pytest.raises(InvalidBackupMessage):
        framing.feed(views(b"nbase.tar\0\0", b"dab", b"m", b"d{}", b"n16401.tar\0/some/where\0"))
    assert recorder.calls[-1] == ("manifest", b"{}")


MESSAGES = [
    *(b"n16401.tar\0/some/where\0", b"dab", b"p" + struct.pack(">q", 3)),
    *(b"nbase.tar.gz\0\0", b"ddefg", b"p" + struct.pack(">q", 9), b"m", b"d{}"),
]


@given(st.integers(0, len(MESSAGES) - 1), st.data())
def test_mutated_messages_are_accepted_or_refused(place: int, data: st.DataObject) -> None:
    framing = BackupFraming(15, TABLESPACES, Recorder())
    framing.begin_copy()
    message = MESSAGES[place]
    begin, end = sorted(data.draw(st.tuples(*[st.integers(0, len(message))] * 2)))
    changed = message[:begin] + data.draw(st.binary(max_size=6)) + message[end:]
    with suppress(InvalidBackupMessage):
        framing.feed(views(*MESSAGES[:place], changed, *MESSAGES[place + 1 :]))
