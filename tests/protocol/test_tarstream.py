"""A tar archive that arrives in pieces, and archives that no server writes."""

from __future__ import annotations

import io
import tarfile
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from pgreplkit.errors import InvalidBackupMessage
from pgreplkit.protocol.tarstream import TarStream


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
