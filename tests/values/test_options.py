"""The names of options."""

from __future__ import annotations

import pytest

from pgreplkit.values.options import insist_on_known


def test_an_unknown_name_is_refused_with_the_closest_known_one() -> None:
    insist_on_known("connect()", "argument", ["timeout"], ["timeout", "database"])
    with pytest.raises(
        TypeError, match=r"connect\(\) has no argument 'timeuot'; did you mean 'timeo"
    ):
        insist_on_known("connect()", "argument", ["timeuot"], ["timeout", "database"])


def test_without_a_close_name_all_known_names_are_listed() -> None:
    with pytest.raises(TypeError, match="it takes database, timeout"):
        insist_on_known("connect()", "argument", ["x"], ["timeout", "database"])
