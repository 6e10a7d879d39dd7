"""primary_conninfo: parsed without libpq, and fitted to the standby's version."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgreplkit import standby_config
from pgreplkit.errors import UnsupportedByServer
from pgreplkit.values.conninfosyntax import format_conninfo, parse_conninfo

letters = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
values = st.text(letters, max_size=8)


@given(st.dictionaries(st.sampled_from(["host", "user", "password", "options", "dbname"]), values))
def test_connection_strings_are_written_and_read_as_libpq_does(parts: dict[str, str]) -> None:
    text = format_conninfo(parts)
    assert parse_conninfo(text) == parts
    assert conninfo_to_dict(text) == parts
    assert parse_conninfo(make_conninfo("", **parts)) == parts


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  host = a  port=1 ",
        r"host=a password='it\'s \\ x' user=b\ c",
        "postgresql://",
        "postgresql://a",
        "postgres://me:p%40ss@a:1,b:2/db?sslmode=require&application_name=x%20y",
        "postgresql://%2Ftmp/db",
        "postgresql:///db?host=/tmp&port=5433",
        "postgresql://[::1]:5433/",
        "postgresql://me@",
    ],
)
def test_connection_strings_are_read_as_libpq_does(text: str) -> None:
    assert parse_conninfo(text) == conninfo_to_dict(text)


@pytest.mark.parametrize("text", ["host", "host='a", "host=a'b", "postgresql://a?x"])
def test_a_malformed_connection_string_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError, match="connection") as caught:
        parse_conninfo(text)
    assert text not in str(caught.value)


@pytest.mark.parametrize(
    ("of", "conninfo", "written"),
    [
        (11, "host=a gssencmode=disable", "host=a"),
        (12, "host=a gssencmode=require", "host=a gssencmode=require"),
        (12, "host=a channel_binding=prefer", "host=a"),
        (16, "host=a sslnegotiation=postgres", "host=a"),
        (17, "host=a sslnegotiation=direct", "host=a sslnegotiation=direct"),
        (18, "host=a load_balance_hosts=random", "host=a"),
        (10, "host=a,b target_session_attrs=read-write user=x", "host=a,b user=x"),
        (14, "postgresql://a,b/db?target_session_attrs=primary", "host=a,b dbname=db"),
        (14, "postgresql://a/db?sslmode=require", "postgresql://a/db?sslmode=require"),
        (10, "service=primary", "service=primary"),
    ],
)
def test_a_walreceiver_gets_only_what_it_knows(of: int, conninfo: str, written: str) -> None:
    config = standby_config(conninfo, server_version=of)
    assert config.settings["primary_conninfo"] == written


@pytest.mark.parametrize(
    ("of", "parameter"),
    [
        (11, "gssencmode=require"),
        (12, "channel_binding=require"),
        (12, "ssl_min_protocol_version=TLSv1.3"),
        (15, "require_auth=scram-sha-256"),
        (15, "sslrootcert=system"),
        (16, "sslnegotiation=direct"),
        (17, "scram_client_key=x"),
    ],
)
def test_a_connection_that_would_be_less_secure_is_refused(of: int, parameter: str) -> None:
    with pytest.raises(UnsupportedByServer, match=parameter.partition("=")[0]):
        standby_config(f"host=a {parameter}", server_version=of)
