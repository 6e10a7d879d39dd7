"""The options of pgoutput."""

from __future__ import annotations

import pytest

from pgreplkit.protocol.pgoutput.options import names_of


def test_publication_names_are_quoted_in_the_options() -> None:
    assert names_of(["p", "q"]) == ("p", "q")
    for wrong in ("p", [1], [b"p"]):
        with pytest.raises(TypeError, match="publication"):
            names_of(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one publication"):
        names_of([])
