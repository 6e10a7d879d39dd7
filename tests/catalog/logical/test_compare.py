"""The statements of a comparison, by major version."""

from __future__ import annotations

import pytest

from pgreplkit.catalog.logical.compare import columns_of


@pytest.mark.parametrize(
    ("version", "locale"),
    [(14, "datcollate"), (15, "daticulocale"), (16, "daticulocale"), (17, "datlocale")],
)
def test_the_default_collation_is_that_of_the_databases_provider(version: int, locale: str) -> None:
    names = {"datcollate", "daticulocale", "datlocale"}
    found = {name for name in names if name in columns_of(version)}
    assert found == {"datcollate", locale}
