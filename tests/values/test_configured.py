"""Checks of configuration files in TOML."""

from __future__ import annotations

import pytest

from pgreplkit.values.configured import (
    called,
    insist_on_keys,
    insist_on_strings,
    insist_on_type,
    parse_toml,
)


def test_a_text_that_is_not_toml_is_refused() -> None:
    assert parse_toml("name = 'orders'") == {"name": "orders"}
    with pytest.raises(ValueError, match=r"could not read the configuration: it is not TOML"):
        parse_toml("name = ")
    with pytest.raises(ValueError, match=r"the configuration: a number .* too long"):
        parse_toml("n = " + "9" * 5000)


def test_unknown_and_missing_keys_are_named_with_their_table() -> None:
    insist_on_keys({"slot": 1, "sink": 2}, ["slot", "sink", "source"], ["slot"])
    with pytest.raises(ValueError, match=r"unknown key 'slto' in 'feeds.a'; known are sink, slot"):
        insist_on_keys({"slto": 1}, ["slot", "sink"], ["slot"], "feeds.a")
    with pytest.raises(ValueError, match=r"'slot' is missing$"):
        insist_on_keys({}, ["slot"], ["slot"])


def test_a_bool_is_not_a_number() -> None:
    insist_on_type(5, "retries", int, "a number")
    insist_on_type(True, "copy", bool, "true or false")
    for given, shown in ((True, "True"), ("5", "a string")):
        with pytest.raises(ValueError, match=f"'retries' must be a number, got {shown}"):
            insist_on_type(given, "retries", int, "a number")


@pytest.mark.parametrize("given", ["secret", ["secret"], {"password": "secret"}])
def test_a_value_that_may_be_a_password_is_not_repeated(given: object) -> None:
    for check in (
        lambda: insist_on_type(given, "publisher", int, "a number"),
        lambda: insist_on_strings([given, 1], "publisher"),
        lambda: called(int, "publisher", [given]),
    ):
        with pytest.raises(ValueError, match="'publisher' must be") as raised:
            check()
        assert "secret" not in str(raised.value)


@pytest.mark.parametrize("given", ["p", [1], None])
def test_a_list_of_strings_is_neither_a_string_nor_a_list_of_others(given: object) -> None:
    insist_on_strings(["p"], "publications")
    with pytest.raises(ValueError, match=r"'publications' must be a list of strings"):
        insist_on_strings(given, "publications")


def test_the_errors_of_a_call_name_the_key() -> None:
    assert called(int, "sink", {}) == 0
    with pytest.raises(ValueError, match=r"'feeds.a': .*unexpected keyword"):
        called(test_a_bool_is_not_a_number, "feeds.a", {"urls": []})
    with pytest.raises(ValueError, match=r"'feeds.a' must be a table, got 3"):
        called(int, "feeds.a", 3)
