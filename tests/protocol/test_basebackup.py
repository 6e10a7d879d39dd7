"""A base backup's messages in both framings, its archives, and its options as text."""

from __future__ import annotations

import io
import struct
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, strategies as st

from pgreplkit import BackupArchive, BackupManifest, BackupProgress, InvalidBackupMessage
from pgreplkit.plans.streams.backupstream import (
    BackupOptions,
    BackupStage,
    FoundFile,
    TablespaceProgress,
    differences,
)
from pgreplkit.protocol import commands
from pgreplkit.protocol.basebackup import BackupFraming, BackupTablespace
from pgreplkit.protocol.tarstream import TarStream
from pgreplkit.values.manifest import ManifestFile

TABLESPACES = [BackupTablespace(16401, "/some/where", 2048), BackupTablespace(None, None, 4096)]


class Heard:
    """Records the calls of a sink in order, with consecutive data joined."""

    def __init__(self) -> None:
        self.told: list[tuple[str, object]] = []

    def begin(self, archive: BackupArchive) -> None:
        self.told.append(("begin", archive.name))

    def write(self, data: memoryview) -> None:
        self._more("data", data)

    def end(self) -> None:
        self.told.append(("end", None))

    def manifest(self, data: memoryview) -> None:
        self._more("manifest", data)

    def _more(self, kind: str, data: memoryview) -> None:
        before: Any = self.told.pop()[1] if self.told and self.told[-1][0] == kind else b""
        self.told.append((kind, before + bytes(data)))


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
    heard = Heard()
    framing = BackupFraming(14, TABLESPACES, heard)
    assert framing.archives_left == 2
    for messages in ((b"ab", b"c"), (b"de", b"fg"), (b"{", b"}")):
        framing.begin_copy()
        framing.feed(views(*messages))
        framing.end_copy()
    assert heard.told == EXPECTED
    assert (framing.done, framing.manifest, framing.archives_left) == ([3, 4], b"{}", -1)


def test_from_15_on_messages_start_with_a_type_byte() -> None:
    heard = Heard()
    framing = BackupFraming(15, TABLESPACES, heard)
    assert framing.archives_left == 1
    framing.begin_copy()
    progress = b"p" + struct.pack(">q", 3)
    framing.feed(views(b"n16401.tar\0/some/where\0", b"dab", b"dc", progress, b"nbase.tar\0\0"))
    framing.feed(views(b"ddefg", progress, b"m", b"d{", b"d}"))
    framing.end_copy()
    assert heard.told == EXPECTED
    assert (framing.done, framing.manifest, framing.archives_left) == ([3, 4], b"{}", 0)


def test_progress_of_a_compressed_backup_is_the_servers() -> None:
    framing = BackupFraming(15, TABLESPACES, Heard())
    framing.begin_copy()
    counted = [b"p" + struct.pack(">q", number) for number in (100, 2000, 2500)]
    framing.feed(views(b"n16401.tar.gz\0/some/where\0", b"dab", *counted[:2]))
    framing.feed(views(b"nbase.tar.gz\0\0", b"dcd", counted[2]))
    assert framing.done == [2000, 500]


@pytest.mark.parametrize("message", [b"", b"x", b"p123", b"nnew.tar\0/no/where\0", b"dabc"])
def test_other_messages_are_refused(message: bytes) -> None:
    with pytest.raises(InvalidBackupMessage):
        BackupFraming(15, TABLESPACES, Heard()).feed(views(message))


def test_an_archive_after_the_manifest_is_refused() -> None:
    heard = Heard()
    framing = BackupFraming(15, TABLESPACES, heard)
    with pytest.raises(InvalidBackupMessage):
        framing.feed(views(b"nbase.tar\0\0", b"dab", b"m", b"d{}", b"n16401.tar\0/some/where\0"))
    assert heard.told[-1] == ("manifest", b"{}")


MESSAGES = [
    *(b"n16401.tar\0/some/where\0", b"dab", b"p" + struct.pack(">q", 3)),
    *(b"nbase.tar.gz\0\0", b"ddefg", b"p" + struct.pack(">q", 9), b"m", b"d{}"),
]


@given(st.integers(0, len(MESSAGES) - 1), st.data())
def test_mutated_messages_are_accepted_or_refused(place: int, data: st.DataObject) -> None:
    framing = BackupFraming(15, TABLESPACES, Heard())
    framing.begin_copy()
    message = MESSAGES[place]
    begin, end = sorted(data.draw(st.tuples(*[st.integers(0, len(message))] * 2)))
    changed = message[:begin] + data.draw(st.binary(max_size=6)) + message[end:]
    with suppress(InvalidBackupMessage):
        framing.feed(views(*MESSAGES[:place], changed, *MESSAGES[place + 1 :]))


class Unpacked:
    def __init__(self) -> None:
        self.members: dict[str, bytes | None] = {}
        self.whole: list[str] = []

    def member(self, info: tarfile.TarInfo) -> None:
        self.name = info.name
        self.members[info.name] = b"" if info.isreg() else None

    def content(self, data: memoryview) -> None:
        self.members[self.name] = (self.members[self.name] or b"") + bytes(data)

    def done(self) -> None:
        self.whole.append(self.name)


def archived(files: dict[str, bytes], *, is_terminated: bool) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        folder = tarfile.TarInfo("a folder")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        end = archive.offset
    return buffer.getvalue() if is_terminated else buffer.getvalue()[:end]


@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=100), st.binary(max_size=2000), max_size=4),
    st.lists(st.integers(0, 12000)),
    st.booleans(),
)
def test_a_tar_archive_can_be_split_anywhere(
    files: dict[str, bytes], cuts: list[int], is_terminated: bool
) -> None:
    data = archived(files, is_terminated=is_terminated)
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    unpacked = Unpacked()
    stream = TarStream(unpacked)
    for begin, end in pairwise(places):
        stream.feed(memoryview(data)[begin:end])
    stream.close()
    assert unpacked.members == {"a folder": None, **files}
    assert unpacked.whole == [*files]


def test_a_truncated_or_invalid_archive_is_refused() -> None:
    data = archived({"a": b"content" * 100}, is_terminated=False)
    for length in (100, 1500):
        stream = TarStream(Unpacked())
        stream.feed(memoryview(data)[:length])
        with pytest.raises(InvalidBackupMessage, match="too early"):
            stream.close()
    with pytest.raises(InvalidBackupMessage, match="invalid header"):
        TarStream(Unpacked()).feed(memoryview(b"x" * 512))
    link = tarfile.TarInfo("hard")
    link.type, link.linkname = tarfile.LNKTYPE, "/etc/passwd"
    with pytest.raises(InvalidBackupMessage, match="member of type"):
        TarStream(Unpacked()).feed(memoryview(link.tobuf(tarfile.USTAR_FORMAT)))


HEADERS = ("name", 0, 100), ("mode", 100, 8), ("size", 124, 12), ("type", 156, 1)


@given(st.sampled_from(HEADERS), st.data())
def test_a_mutated_header_is_accepted_or_refused(
    field: tuple[str, int, int], data: st.DataObject
) -> None:
    _, begin, length = field
    whole = bytearray(archived({"a": b"content", "b": b"more"}, is_terminated=True))
    whole[512 + begin : 512 + begin + length] = data.draw(
        st.binary(min_size=length, max_size=length)
    )
    unsigned = sum(whole[512:660]) + 8 * 0x20 + sum(whole[668:1024])
    whole[660:668] = b"%06o\0 " % unsigned
    unpacked = Unpacked()
    stream = TarStream(unpacked)
    with suppress(InvalidBackupMessage):
        stream.feed(memoryview(whole))
        stream.close()
    assert unpacked.members["a folder"] is None


def test_a_member_with_a_negative_size_is_refused() -> None:
    header = bytearray(tarfile.TarInfo("a").tobuf(tarfile.USTAR_FORMAT))
    header[124:136] = b"\xff" * 12
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 0x20 + sum(header[156:512]))
    with pytest.raises(InvalidBackupMessage, match="size"):
        TarStream(Unpacked()).feed(memoryview(header + b"x"))


def options(**chosen: Any) -> BackupOptions:
    settings = {
        "label": "it's",
        "checkpoint": "spread",
        "wal": True,
        "wait": None,
        "max_rate": None,
        "tablespace_map": None,
        "verify_checksums": True,
        "manifest": None,
        "manifest_checksums": None,
        "compression": None,
        "compression_level": None,
        "is_incremental": False,
        **chosen,
    }
    return BackupOptions(**settings)


def command(major: int, *, with_map: bool = False, **chosen: Any) -> str:
    asked = options(**chosen).asked(major, with_map=with_map, checksums=None)
    return commands.base_backup(major, asked).decode()


def test_options_use_the_syntax_of_each_major_version() -> None:
    assert command(10) == "BASE_BACKUP LABEL 'it''s' PROGRESS NOWAIT WAL"
    assert command(14, with_map=True, verify_checksums=False, wal=False, max_rate=1 << 20) == (
        "BASE_BACKUP LABEL 'it''s' PROGRESS MAX_RATE 1024 TABLESPACE_MAP NOVERIFY_CHECKSUMS"
        " MANIFEST 'yes'"
    )
    assert command(17, checkpoint="fast", compression="zstd", compression_level=3) == (
        "BASE_BACKUP (LABEL 'it''s', PROGRESS, CHECKPOINT 'fast', WAIT false, WAL,"
        " MANIFEST 'yes', COMPRESSION 'zstd', COMPRESSION_DETAIL 'level=3')"
    )
    assert command(17, is_incremental=True, wait=True, manifest=False) == (
        "BASE_BACKUP (LABEL 'it''s', PROGRESS, CHECKPOINT 'spread', WAIT, WAL, INCREMENTAL)"
    )


def test_progress_has_a_fraction_if_the_server_estimated_the_size() -> None:
    def part(done: int, total: int | None) -> TablespaceProgress:
        return TablespaceProgress(oid=None, location=None, bytes_done=done, bytes_total=total)

    copying = BackupStage.COPYING
    progress = BackupProgress(stage=copying, tablespaces=(part(50, 100), part(10, 20)))
    assert (progress.bytes_done, progress.bytes_total, progress.share) == (60, 120, 0.5)
    assert str(progress) == "50% of about 120 bytes copied"
    unknown = BackupProgress(stage=copying, tablespaces=(part(50, 100), part(10, None)))
    assert (unknown.bytes_total, unknown.share, str(unknown)) == (None, None, "copying")
    assert str(BackupProgress()) == "waiting for a checkpoint"


def test_differences_name_missing_extra_and_changed_files() -> None:
    def listed(path: str | bytes, size: int, checksum: str | None = "AB") -> ManifestFile:
        now = datetime.now(UTC)
        algorithm = None if checksum is None else "SHA256"
        return ManifestFile(
            path=path,
            size=size,
            last_modified=now,
            checksum_algorithm=algorithm,
            checksum=checksum,
        )

    files = (listed("a", 1), listed("b", 2), listed(b"\xff", 3), listed("d", 4, None))
    manifest = BackupManifest(version=2, files=files, wal_ranges=(), checksum="")
    right = {
        "a": FoundFile(1, "ab"),
        "b": FoundFile(2, None),
        "\udcff": FoundFile(3, "ab"),
        "d": FoundFile(4, "cd"),
        "pg_wal/000000010000000000000001": FoundFile(5, "cd"),
        "backup_manifest": FoundFile(5, "cd"),
    }
    assert list(differences(manifest, right)) == []
    wrong = {**right, "a": FoundFile(1, "cd"), "b": FoundFile(3, "ab"), "e": FoundFile(0, "")}
    del wrong["d"]
    assert list(differences(manifest, wrong)) == [
        "a has another SHA256 checksum",
        "b has 3 bytes instead of 2",
        "d is missing",
        "e is not in the manifest",
    ]
