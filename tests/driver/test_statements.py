"""Options of statements, without a server."""

from __future__ import annotations

import pytest

from pgreplkit.catalog.logical.publication import GeneratedColumns
from pgreplkit.driver.statements import publication_options


@pytest.mark.parametrize("given", [GeneratedColumns.STORED, "stored"])
def test_generated_columns_are_published_as_asked(given: GeneratedColumns | str) -> None:
    [option] = publication_options(lambda _: None, None, None, given)
    assert option.as_string(None) == "publish_generated_columns = 'stored'"


def test_an_unknown_word_for_generated_columns_is_not_taken_for_none() -> None:
    with pytest.raises(ValueError, match="must be 'stored' or 'none', got 'virtual'"):
        publication_options(lambda _: None, None, None, "virtual")
