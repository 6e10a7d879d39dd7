"""The publications that a comparison covers by default: an error if there are none."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from pgreplkit.errors import PublicationNotFound
from pgreplkit.plans.logical.coverage import publications_covered

names = st.sampled_from(["a", "b", "c"])
publications = st.frozensets(names)
subscriptions = st.dictionaries(st.sampled_from(["s", "t"]), st.sets(names, min_size=1).map(sorted))


@given(subscriptions, publications)
def test_something_that_exists_is_covered_or_an_error_is_raised(
    subscribed: dict[str, list[str]], published: frozenset[str]
) -> None:
    try:
        covered = publications_covered("compare", subscribed, published)
    except PublicationNotFound:
        partly = [s for s in subscribed.values() if 0 < len({*s} & published) < len(s)]
        assert partly or not published
    else:
        assert covered
        assert {*covered} <= published
        ours = {name for own in subscribed.values() for name in own} & published
        assert {*covered} == (ours or published)


def test_a_subscription_to_another_publisher_is_passed_over() -> None:
    subscribed = {"here": ["a"], "elsewhere": ["x", "y"]}
    assert publications_covered("compare", subscribed, ["a", "b"]) == ["a"]


def test_all_publications_are_covered_without_a_subscription() -> None:
    assert publications_covered("compare", {}, ["b", "a"]) == ["a", "b"]


def test_a_publication_that_a_subscription_lost_is_an_error() -> None:
    with pytest.raises(PublicationNotFound, match=r"'s' names 'lost', which the publisher"):
        publications_covered("compare", {"s": ["a", "lost"]}, ["a"])


def test_a_subscription_that_lost_all_its_publications_is_known_by_its_slot() -> None:
    subscribed = {"s": ["lost"]}
    assert publications_covered("compare", subscribed, ["a"]) == ["a"]
    with pytest.raises(PublicationNotFound, match=r"'s' names 'lost', which the publisher"):
        publications_covered("compare", subscribed, ["a"], with_slot=["s"])


def test_a_publisher_without_publications_is_an_error() -> None:
    with pytest.raises(PublicationNotFound, match="name the tables with tables="):
        publications_covered("compare", {"s": ["a"]}, [])
