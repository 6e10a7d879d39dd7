"""SyncStandbyNames: the server's grammar, and editing without surprise."""

import pytest
from hypothesis import example, given, strategies as st

from pgreplkit import SyncMethod, SyncStandbyNames
from pgreplkit.errors import InvalidSyncStandbyNames
from pgreplkit.testing.strategies import sync_standby_names

FIRST, ANY = SyncMethod.FIRST, SyncMethod.ANY
words = st.text(st.characters(exclude_characters="\0"), max_size=8)


@given(sync_standby_names())
@example(SyncStandbyNames(("*", "FIRST", "any", "", "1", 'a"b', "é", "a b", "\ud800")))
@example(SyncStandbyNames(("ﬁrst", "fırst", "firſt")))
def test_parsing_the_text_returns_the_value(names: SyncStandbyNames) -> None:
    assert SyncStandbyNames.parse(str(names)) == names


@pytest.mark.parametrize(
    ("text", "method", "count", "names"),
    [
        ("a", FIRST, 1, ("a",)),
        ("a, b", FIRST, 1, ("a", "b")),
        ("*", FIRST, 1, ("*",)),
        ('"*"', FIRST, 1, ("*",)),
        ("2 (a, b, c)", FIRST, 2, ("a", "b", "c")),
        ("2(a,b)", FIRST, 2, ("a", "b")),
        ("FIRST 2 (a, b)", FIRST, 2, ("a", "b")),
        ("first 1 (a)", FIRST, 1, ("a",)),
        ("aNy 00002(*)", ANY, 2, ("*",)),
        ("ANY1", FIRST, 1, ("ANY1",)),
        ("ANY 2147483647 (a)", ANY, 2147483647, ("a",)),
        ("1, 2", FIRST, 1, ("1", "2")),
        ("01", FIRST, 1, ("01",)),
        ("1 (1)", FIRST, 1, ("1",)),
        ('"any", "FIRST"', FIRST, 1, ("any", "FIRST")),
        ('"a""b"', FIRST, 1, ('a"b',)),
        ('""""', FIRST, 1, ('"',)),
        ('""', FIRST, 1, ("",)),
        ('ANY 1 ("", a)', ANY, 1, ("", "a")),
        ('"a b", "c-d"', FIRST, 1, ("a b", "c-d")),
        (" \t\n\r\f\va \t,\v b ", FIRST, 1, ("a", "b")),
        ("a$1, _b", FIRST, 1, ("a$1", "_b")),
        ("é\u00a0, \u2028", FIRST, 1, ("é\u00a0", "\u2028")),
        ("ﬁrst", FIRST, 1, ("ﬁrst",)),
        ("fırst, firſt", FIRST, 1, ("fırst", "firſt")),
    ],
)
def test_accepted_texts_are_parsed_as_the_server_parses_them(
    text: str, method: SyncMethod, count: int, names: tuple[str, ...]
) -> None:
    assert SyncStandbyNames.parse(text) == SyncStandbyNames(names, count, method)


@pytest.mark.parametrize(
    "text",
    [
        " ",
        "\n",
        ",",
        "a,",
        ",a",
        "a,,b",
        "a b",
        "a;b",
        "a-b",
        "a.b",
        "$a",
        "1a",
        "-1 (a)",
        "(",
        ")",
        "()",
        "(a)",
        "1 ()",
        "1 (a",
        "1 a)",
        "1 (a) b",
        "1 (a),",
        "1 1",
        "1 a",
        "0 (a)",
        "00 (a)",
        "2147483648 (a)",
        "99999999999999999999 (a)",
        "FIRST",
        "first",
        "ANY",
        "FIRST 1",
        "FIRST a",
        "FIRST (a)",
        "FIRST 1 a",
        "FIRST 1 (FIRST)",
        "any, b",
        "a, first",
        "FIRST1 (a)",
        "+1 (a)",
        '"',
        '"a',
        'a"',
        '"a"b"',
        '"a""',
        '"a" "b"',
        "'a'",
        "a\0",
        '"a\0"',
        "ﬁrst 1 (a)",
        "１ (a)",
        "fırst 1 (a)",
        "1 ((a))",
        "1 (a, 2 (b))",
        "**",
        "* a",
        "a*",
    ],
)
def test_texts_that_the_server_refuses_are_refused(text: str) -> None:
    with pytest.raises(InvalidSyncStandbyNames):
        SyncStandbyNames.parse(text)


def test_the_empty_text_has_no_names() -> None:
    assert SyncStandbyNames.parse("") == SyncStandbyNames()
    assert str(SyncStandbyNames()) == ""


@given(sync_standby_names(), st.lists(words, max_size=4))
def test_added_names_appear_once_and_keep_the_order(
    before: SyncStandbyNames, added: list[str]
) -> None:
    after = before.add(*added)
    assert after.names[: len(before.names)] == before.names
    assert all(name in after for name in added)
    assert after.add(*added) == after
    assert (after.count, after.method) == (before.count, before.method)


@given(sync_standby_names(), st.data())
def test_removed_names_disappear_and_keep_the_order(
    before: SyncStandbyNames, data: st.DataObject
) -> None:
    known = st.sampled_from(before.names) if before.names else words
    gone = data.draw(st.lists(known | words, max_size=4))
    after = before.remove(*gone, force=True)
    assert not any(name in after for name in gone)
    assert after.names == tuple(name for name in before.names if name in after)
    assert after.remove(*gone, force=True) == after


@pytest.mark.parametrize(("name", "same"), [("Node_A", True), ("É", False), ("node", False)])
def test_names_are_compared_as_the_server_compares_them(name: str, same: bool) -> None:
    names = SyncStandbyNames(("node_a", "é"))
    assert (name in names) is same
    assert (names.add(name) == names) is same
    assert (names.remove(name, force=True) != names) is same


@given(sync_standby_names(), st.data())
def test_removing_leaves_enough_names_or_is_refused(
    before: SyncStandbyNames, data: st.DataObject
) -> None:
    known = st.sampled_from(before.names) if before.names else words
    gone = data.draw(st.lists(known | words, max_size=4))
    after = before.remove(*gone, force=True)
    enough = after == before or "*" in after.names or len(after.names) >= after.count
    if enough:
        assert before.remove(*gone) == after
        assert after == before or after.is_met_by(after.names * after.count)
    else:
        with pytest.raises(InvalidSyncStandbyNames, match="force=True"):
            before.remove(*gone)


@given(sync_standby_names())
def test_a_quorum_is_satisfied_by_enough_names(names: SyncStandbyNames) -> None:
    connected = ["other", *names.names[:1] * names.count] if names.count < 100 else []
    if connected and names.names:
        assert names.is_met_by(connected)
        if "*" not in names.names and "other" not in names:
            assert not names.is_met_by(connected[:-1])
    assert SyncStandbyNames().is_met_by([])


def test_a_name_added_twice_appears_once() -> None:
    assert SyncStandbyNames(("a",)).add("b", "B").names == ("a", "b")


@pytest.mark.parametrize("count", [0, -1, 1 << 31, pytest.param(10**5000, id="huge")])
def test_a_count_that_the_server_cannot_keep_is_refused(count: int) -> None:
    with pytest.raises(InvalidSyncStandbyNames):
        SyncStandbyNames(("a",), count)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(InvalidSyncStandbyNames, match="neither FIRST nor ANY"):
        SyncStandbyNames(("a",), 1, SyncMethod("ALL"))


@pytest.mark.parametrize(
    "arguments", [(["a"],), ("a",), ((5,),), (("a",), True), (("a",), "1"), (("a",), 1.0)]
)
def test_arguments_of_another_type_are_a_type_error(arguments: tuple[tuple[str, ...], int]) -> None:
    with pytest.raises(TypeError):
        SyncStandbyNames(*arguments)


def test_a_name_with_a_nul_is_refused() -> None:
    with pytest.raises(InvalidSyncStandbyNames):
        SyncStandbyNames(("a\0",))
