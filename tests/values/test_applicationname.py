"""application_name: names that the server keeps, and valid names derived from any text."""

import pytest
from hypothesis import given, strategies as st

from pgreplkit.values.applicationname import application_name_for, checked_application_name

PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=63)


@given(PRINTABLE)
def test_a_valid_name_stays_as_it_is(name: str) -> None:
    assert checked_application_name(name) == application_name_for(name) == name


@given(st.text(st.characters(exclude_categories=[])))
def test_a_derived_name_is_valid(text: str) -> None:
    checked_application_name(application_name_for(text))


@pytest.mark.parametrize(
    ("text", "name"),
    [("réplica-süd", "replica-sud"), ("it's db2", "it's db2"), ("x" * 63, "x" * 63)],
)
def test_accents_are_removed(text: str, name: str) -> None:
    assert application_name_for(text) == name


def test_shortened_and_replaced_names_remain_different() -> None:
    texts = ["x" * 70, "x" * 71, "日本", "東京", "x\x7f", "x\n"]
    names = {application_name_for(text) for text in texts}
    assert len(names) == len(texts)


@pytest.mark.parametrize("name", ["é", "x" * 64, "a\0", "a\n", "\x7f"])
def test_names_that_the_server_would_change_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="an application_name has"):
        checked_application_name(name)


def test_an_application_name_is_a_str() -> None:
    with pytest.raises(TypeError):
        checked_application_name(b"db1")  # type: ignore[arg-type]
