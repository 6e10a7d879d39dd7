"""The frames of compressed files, compared with the output of the codecs."""

from __future__ import annotations

from pathlib import Path

import pytest
from compressions import CODECS, SKIPPED, repetitive
from hypothesis import given, settings, strategies as st

from pgreplkit.offline.compression import content_size
from pgreplkit.offline.damage import InvalidWal


@pytest.mark.parametrize("codec", CODECS)
@settings(max_examples=15)
@given(size=st.sampled_from([1, 7, 255, 256, 300, 65_600, 300_000]), seed=st.integers(0, 3))
def test_a_whole_file_has_the_size_that_it_tells(
    tmp_path_factory: pytest.TempPathFactory, codec: str, size: int, seed: int
) -> None:
    form, compress, tells_size = CODECS[codec]
    path = tmp_path_factory.mktemp("whole") / "file"
    path.write_bytes(compress(repetitive(size, seed)))
    assert content_size(path, form) == (size if tells_size else None)


@pytest.mark.parametrize("codec", [codec for codec in CODECS if codec != "gzip"])
@settings(max_examples=30)
@given(data=st.data(), size=st.sampled_from([1, 300, 65_600]))
def test_a_file_that_ends_early_is_damaged(
    tmp_path_factory: pytest.TempPathFactory, codec: str, data: st.DataObject, size: int
) -> None:
    form, compress, _ = CODECS[codec]
    path = tmp_path_factory.mktemp("cut") / "file"
    stored = compress(repetitive(size, 1))
    # The first frame that is skipped is a file by itself.
    first = len(SKIPPED) + 1 if "skipped" in codec else 1
    path.write_bytes(stored[: data.draw(st.integers(first, len(stored) - 1))])
    with pytest.raises(InvalidWal, match="is damaged: it"):
        content_size(path, form)


@pytest.mark.parametrize("codec", [codec for codec in CODECS if codec != "gzip"])
def test_a_file_with_data_after_its_end_is_damaged(tmp_path: Path, codec: str) -> None:
    form, compress, _ = CODECS[codec]
    path = tmp_path / "file"
    path.write_bytes(compress(bytes(300)) + b"something else")
    with pytest.raises(InvalidWal, match=r"is damaged: (data follows its end|its end)"):
        content_size(path, form)
