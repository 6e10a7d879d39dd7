"""Connection strings, parsed without libpq."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from psycopg.conninfo import conninfo_to_dict

from pgreplkit.values.conninfosyntax import format_conninfo, parse_conninfo

anything = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
values = st.text("a'\\ =\n") | st.text(anything)
names = st.sampled_from(["host", "user", "password", "dbname", "options", "application_name"])


@given(st.dictionaries(names, values))
def test_a_formatted_string_is_parsed_to_the_same_parameters(parameters: dict[str, str]) -> None:
    text = format_conninfo(parameters)
    assert parse_conninfo(text) == parameters
    # libpq agrees.
    assert conninfo_to_dict(text) == parameters


@pytest.mark.parametrize("text", ["secret", "host=a secret", "password='secret", "host=a\0secret"])
def test_a_malformed_string_is_not_repeated_in_the_error(text: str) -> None:
    with pytest.raises(ValueError, match="connection string") as caught:
        parse_conninfo(text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://",
        "postgres://me:pass%20word@db1:5433/app",
        "postgresql://db1,db2:5433/app?target_session_attrs=primary",
        "postgresql://[::1]:5433/app?sslmode=require&application_name=a%26b",
        "postgresql:///app?host=/tmp&port=5433",
    ],
)
def test_a_uri_is_read_as_libpq_reads_it(text: str) -> None:
    assert parse_conninfo(text) == conninfo_to_dict(text)
