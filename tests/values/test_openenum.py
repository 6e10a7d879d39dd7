"""OpenEnum: known words are members, unknown ones are kept."""

import copy
import pickle
from itertools import pairwise

import pytest
from hypothesis import example, given, strategies as st

from pgreplkit.backups import BackupStage
from pgreplkit.checks import CheckStatus
from pgreplkit.rows import BackupPhase, ClonePhase, EffectiveAfter, Severity, WalStatus
from pgreplkit.values.openenum import OpenEnum, OrderedEnum


class Shade(OpenEnum):
    DARK = "dark"
    LIGHT = "light"


@pytest.mark.parametrize("shade", Shade)
def test_a_known_word_is_its_member(shade: Shade) -> None:
    assert Shade(shade.value) is shade
    assert shade == shade.value


@given(st.text())
@example("DARK")
@example("")
def test_an_unknown_word_is_kept_as_it_is(word: str) -> None:
    shade = Shade(word)
    assert isinstance(shade, Shade)
    assert (shade, str(shade), shade.value, hash(shade)) == (word, word, word, hash(word))
    assert repr(shade) == f"Shade({word!r})"
    assert eval(repr(shade)) == shade


@given(st.text() | st.sampled_from(["dark", "light"]))
def test_copies_and_pickles_are_equal_and_of_the_same_type(word: str) -> None:
    shade = Shade(word)
    pickled = [
        pickle.loads(pickle.dumps(shade, protocol))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    ]
    for twin in (copy.copy(shade), copy.deepcopy(shade), *pickled):
        assert twin == shade
        assert type(twin) is Shade


def test_an_unknown_word_does_not_become_a_member() -> None:
    Shade("pale")
    assert [shade.value for shade in Shade] == ["dark", "light"]


@pytest.mark.parametrize("stranger", [None, 5, b"dark"])
def test_values_other_than_text_are_refused(stranger: object) -> None:
    with pytest.raises(ValueError, match="not a valid Shade"):
        Shade(stranger)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "kind",
    [BackupPhase, BackupStage, CheckStatus, ClonePhase, EffectiveAfter, Severity, WalStatus],
)
def test_words_with_an_order_are_not_compared_as_texts(kind: type[OrderedEnum]) -> None:
    declared, newer = [*kind], kind("a newer word")
    assert sorted([newer, *declared]) == [*declared, newer]
    for lower, higher in pairwise([*declared, newer]):
        assert lower < higher
        assert lower <= higher.value
        assert not lower >= higher
        assert not lower.value > higher
        assert max(higher, lower) is higher
