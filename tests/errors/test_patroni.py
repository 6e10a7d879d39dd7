"""The errors of Patroni's REST API."""

from __future__ import annotations

from pgreplkit import errors


def test_only_a_refused_login_asks_for_a_password() -> None:
    refused = errors.PatroniRefused("restart db1", "no auth header received", 401)
    assert str(refused).endswith("(HTTP status 401); pass username= and password= of its REST API")
    other = errors.PatroniRefused("restart db1", "not possible", 503)
    assert str(other) == "could not restart db1: not possible (HTTP status 503)"
