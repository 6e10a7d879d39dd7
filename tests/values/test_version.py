"""ServerVersion: the accepted forms of a version, and comparisons with ints."""

import pickle
from operator import eq, ge, gt, le, lt, ne

import pytest
from hypothesis import given, strategies as st
from packaging.version import Version

from pgreplkit.errors import InvalidServerVersion
from pgreplkit.values.version import ServerVersion

COMPARISONS = [lt, le, gt, ge, eq, ne]


@given(st.integers(10, 99), st.integers(0, 99))
def test_every_form_names_the_same_version(major: int, minor: int) -> None:
    text, number = f"{major}.{minor}", major * 10000 + minor
    forms = [
        ServerVersion(text),
        ServerVersion(number),
        ServerVersion(str(number)),
        ServerVersion(Version(text)),
        ServerVersion(f"{text} (Debian {text}-1.pgdg13+1)"),
    ]
    assert all(form.release == (major, minor) for form in forms)
    assert len({*forms}) == 1
    assert ServerVersion(major) == ServerVersion(str(major)) == ServerVersion(Version(str(major)))


@pytest.mark.parametrize(
    ("text", "named"),
    [("19devel", 19), ("18beta2", 18), ("18rc1", 18), ("9.6.24", 9), (" 17.2", 17), ("18\n", 18)],
)
def test_texts_that_servers_show_are_read(text: str, named: int) -> None:
    assert ServerVersion(text).major == named


def test_a_development_version_is_before_its_release() -> None:
    assert ServerVersion("19devel") < ServerVersion("19beta1") < ServerVersion(19)


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
        ServerVersion(text)


@pytest.mark.parametrize(
    "number", [0, -18, 1000, 99999, 10000000, pytest.param(1 << 20000, id="huge")]
)
def test_a_number_between_a_major_and_a_version_num_is_refused(number: int) -> None:
    with pytest.raises(InvalidServerVersion):
        ServerVersion(number)


@pytest.mark.parametrize("stranger", [None, True, 18.4, b"18", (18, 4)])
def test_a_float_is_not_a_version(stranger: object) -> None:
    with pytest.raises(TypeError, match=type(stranger).__name__):
        ServerVersion(stranger)  # type: ignore[arg-type]


@given(st.integers(10, 99), st.integers(0, 99), st.integers(1, 999))
def test_an_int_is_compared_with_the_major_version(major: int, minor: int, other: int) -> None:
    version = ServerVersion(f"{major}.{minor}")
    for compare in COMPARISONS:
        assert compare(version, other) == compare(major, other)
        assert compare(other, version) == compare(other, major)
    assert (version == other) == (major == other)
    assert version in {major}


@given(st.integers(10, 99), st.integers(0, 99), st.integers(100000, 999999))
def test_a_server_version_num_is_compared_with_the_whole_version(
    major: int, minor: int, other: int
) -> None:
    version, number = ServerVersion(f"{major}.{minor}"), major * 10000 + minor
    for compare in [lt, le, gt, ge]:
        assert compare(version, other) == compare(number, other)
        assert compare(version, number) == compare(number, number)
        assert compare(version, Version(str(version))) == compare(number, number)
    for compare in COMPARISONS:
        assert compare(version, ServerVersion(number)) == compare(number, number)


@given(st.integers(10, 20), st.integers(0, 9), st.integers(10, 20), st.integers(0, 9))
def test_equal_versions_have_equal_hashes(major: int, minor: int, other: int, patch: int) -> None:
    version, text = ServerVersion(f"{major}.{minor}"), f"{other}.{patch}"
    rivals = [ServerVersion(text), Version(text), other, other * 10000 + patch]
    for rival in rivals:
        assert version != rival or hash(version) == hash(rival)
        assert (rival == version) is (version == rival)


def test_a_development_version_belongs_to_its_major_version() -> None:
    assert ServerVersion("19devel") == 19
    assert not ServerVersion("19devel") < 19


@pytest.mark.parametrize("other", ["18", 18.0, None, True])
def test_a_version_does_not_compare_with_other_types(other: object) -> None:
    version = ServerVersion(18)
    assert version != other
    with pytest.raises(TypeError):
        version < other  # type: ignore[operator] # noqa: B015
    assert pickle.loads(pickle.dumps(version)) == version
    assert repr(version) == "ServerVersion('18')"
