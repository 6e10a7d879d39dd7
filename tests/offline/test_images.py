"""Page images of recorded WAL, restored, and the server's own compression."""

from __future__ import annotations

import contextlib
import sys
from struct import unpack_from

import attrs
import pytest
from hypothesis import given, strategies as st
from recordedwal import Recorded

from pgreplkit.errors import InvalidWal
from pgreplkit.offline.images import PAGE_SIZE, PageCompression, PageImage, decompress_pglz

SIZE_AND_VERSION = PAGE_SIZE | 4
COMPRESSION = {15: "lz4", 16: "pglz", 17: "zstd"}


def images_of(recorded: Recorded) -> list[PageImage]:
    blocks = [block for record in recorded.records for block in record.blocks]
    return [block.image for block in blocks if block.image is not None]


def test_restored_pages_have_headers_that_fit_their_holes(recorded: Recorded) -> None:
    images = images_of(recorded)
    assert len(images) > 5
    for image in images:
        page = image.restore()
        assert len(page) == PAGE_SIZE
        lower, upper, _, size_and_version = unpack_from("<HHHH", page, 12)
        assert size_and_version == SIZE_AND_VERSION
        if image.hole_length:
            assert (lower, upper) == (image.hole_offset, image.hole_offset + image.hole_length)
        assert image.applies
    expected = COMPRESSION.get(recorded.open().major)
    assert any(image.compression == expected for image in images)


def image_with(recorded: Recorded, compression: str) -> PageImage:
    return next(image for image in images_of(recorded) if image.compression == compression)


@pytest.mark.parametrize("version", COMPRESSION)
def test_a_damaged_image_raises_invalid_wal(unpacked: object, version: int) -> None:
    assert callable(unpacked)
    image = image_with(unpacked(version), COMPRESSION[version])
    with pytest.raises(InvalidWal, match="page image"):
        attrs.evolve(image, stored=image.stored[:-9]).restore()


@pytest.mark.parametrize(("version", "module"), [(15, "lz4.block"), (17, "zstandard")])
def test_compressed_images_need_an_extra(
    unpacked: object, version: int, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(unpacked)
    image = image_with(unpacked(version), COMPRESSION[version])
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match="pip install 'pgreplkit"):
        image.restore()


def compressed(items: list[bytes | tuple[int, int]]) -> tuple[bytes, bytes]:
    """Return pglz data with these literals and copies (length, distance), and its content."""
    stored, page, at = bytearray(), bytearray(), 0
    while at < len(items):
        group, at = items[at : at + 8], at + 8
        control = len(stored)
        stored.append(0)
        for bit, item in enumerate(group):
            if isinstance(item, bytes):
                stored += item
                page += item
                continue
            length, back = item
            stored[control] |= 1 << bit
            short = min(length, 18) - 3
            stored += bytes([back >> 4 & 0xF0 | short, back & 0xFF])
            if length >= 18:
                stored.append(length - 18)
            for _ in range(length):
                page.append(page[-back])
    return bytes(stored), bytes(page)


@st.composite
def pglz_items(draw: st.DrawFn) -> list[bytes | tuple[int, int]]:
    items: list[bytes | tuple[int, int]] = [b"a"]
    size = 1
    for _ in range(draw(st.integers(0, 20))):
        if draw(st.booleans()):
            items.append(draw(st.binary(min_size=1, max_size=1)))
            size += 1
        else:
            length = draw(st.integers(3, 273))
            items.append((length, draw(st.integers(1, min(size, 4095)))))
            size += length
    return items


@given(pglz_items())
def test_pglz_copies_may_overlap_themselves(items: list[bytes | tuple[int, int]]) -> None:
    stored, page = compressed(items)
    assert decompress_pglz(stored, len(page)) == page


@given(st.binary(max_size=300), st.integers(0, PAGE_SIZE))
def test_any_bytes_are_a_page_or_damage(stored: bytes, hole: int) -> None:
    for compression in (None, *PageCompression):
        image = PageImage(stored, 0, hole, compression, True)
        with contextlib.suppress(InvalidWal):
            assert len(image.restore()) == PAGE_SIZE
