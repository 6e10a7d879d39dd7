"""server_version: the accepted forms of a version."""

import pytest
from hypothesis import given, strategies as st
from packaging.version import Version

from pgreplkit.errors import InvalidServerVersion
from pgreplkit.values.version import server_version


@given(st.integers(10, 99), st.integers(0, 99))
def test_every_form_names_the_same_version(major: int, minor: int) -> None:
    text, number = f"{major}.{minor}", major * 10000 + minor
    forms = {
        server_version(text),
        server_version(number),
        server_version(str(number)),
        server_version(Version(text)),
        server_version(f"{text} (Debian {text}-1.pgdg13+1)"),
    }
    assert forms == {Version(text)}
    assert server_version(major) == server_version(str(major)) == Version(str(major))


@pytest.mark.parametrize(
    ("text", "named"),
    [("19devel", 19), ("18beta2", 18), ("18rc1", 18), ("9.6.24", 9), (" 17.2", 17), ("18\n", 18)],
)
def test_texts_that_servers_show_are_read(text: str, named: int) -> None:
    assert server_version(text).major == named


def test_a_development_version_is_before_its_release() -> None:
    assert server_version("19devel") < server_version("19beta1") < server_version(19)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "PostgreSQL 18.4",
        "eighteen",
        "18.4.",
        "-18",
        "１８",
        "18\0",
        "\ud800",
        "x" * 64,
        "0",
        "90624",
        "99999",
        "10000000",
        "9" * 64,
    ],
)
def test_text_that_does_not_begin_with_a_version_is_refused(text: str) -> None:
    with pytest.raises(InvalidServerVersion):
        server_version(text)


@pytest.mark.parametrize(
    "number", [0, -18, 1000, 99999, 10000000, pytest.param(1 << 20000, id="huge")]
)
def test_a_number_between_a_major_and_a_version_num_is_refused(number: int) -> None:
    with pytest.raises(InvalidServerVersion):
        server_version(number)


@pytest.mark.parametrize("stranger", [None, True, 18.4, b"18", (18, 4)])
def test_a_float_is_no_version(stranger: object) -> None:
    with pytest.raises(TypeError, match=type(stranger).__name__):
        server_version(stranger)  # type: ignore[arg-type]
