"""The gates by major version."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.version import Version

import pgreplkit
from pgreplkit.catalog.features import FEATURES, has, require


@pytest.mark.parametrize("name", FEATURES)
def test_a_feature_is_refused_by_the_major_version_before_it(name: str) -> None:
    feature = FEATURES[name]
    require(name, Version(f"{feature.since}.0"))
    assert has(name, feature.since)
    assert not has(name, feature.since - 1)
    with pytest.raises(pgreplkit.errors.UnsupportedByServer) as caught:
        require(name, Version(f"{feature.since - 1}.9"))
    assert feature.what in str(caught.value)
    assert f"{feature.since - 1}.9" in str(caught.value)


def test_every_feature_in_the_source_exists() -> None:
    source = Path(pgreplkit.__file__).parent
    used = re.compile(r'\b(?:has|require|_require)\(\s*"([a-z_.0-9]+)"')
    names = {name for path in source.rglob("*.py") for name in used.findall(path.read_text())}
    assert len(names) > 20
    assert names <= FEATURES.keys()
