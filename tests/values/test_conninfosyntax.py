"""Connection strings, parsed without libpq."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from psycopg.conninfo import conninfo_to_dict

from pgreplkit.values.conninfosyntax import format_conninfo, parse_conninfo, parse_shown_conninfo

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


@given(st.dictionaries(names, st.text(anything, min_size=1).filter(lambda text: "=" not in text)))
def test_a_conninfo_that_a_server_shows_has_values_without_quotes(
    parameters: dict[str, str],
) -> None:
    shown = " ".join(f"{name}={value}" for name, value in parameters.items())
    assert parse_shown_conninfo(shown) == parameters


@pytest.mark.parametrize(
    "options",
    [
        "-c work_mem=7MB",
        "-c application_name=x -c  host=y",
        "-cwork_mem=7MB --geqo=off",
        r"-c search_path=a\ b",
    ],
)
def test_the_settings_in_shown_options_are_no_parameters(options: str) -> None:
    shown = f'host=db1 options={options} application_name=it\'s "Two" sslmode=prefer'
    assert parse_shown_conninfo(shown) == {
        "host": "db1",
        "options": options,
        "application_name": 'it\'s "Two"',
        "sslmode": "prefer",
    }
