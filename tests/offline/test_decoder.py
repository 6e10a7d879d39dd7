"""WalDecoder: its arguments."""

from __future__ import annotations

import pytest

from pgreplkit.offline.decoder import WalDecoder


@pytest.mark.parametrize("number", [9, 19, "18", None])
def test_a_decoder_knows_its_major_versions(number: int) -> None:
    with pytest.raises(ValueError, match="major must be 10 to 18, got"):
        WalDecoder(major=number)
