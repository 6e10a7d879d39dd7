"""The queries for appliers and subscriptions of the other direction."""

from __future__ import annotations

from pgreplkit.catalog.logical.applyloops import subscriptions


def test_subscriptions_choose_the_origin_of_changes_since_16() -> None:
    assert "suborigin <> 'none' AS takes_all" in subscriptions(16, shows_connection=True)
    assert "true AS takes_all" in subscriptions(15, shows_connection=True)


def test_a_connection_that_a_role_may_not_see_is_not_asked_for() -> None:
    assert "NULL AS conninfo" in subscriptions(18, shows_connection=False)
    assert "subconninfo AS conninfo" in subscriptions(18, shows_connection=True)
