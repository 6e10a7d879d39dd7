"""Translated errors, and the values of rows in them."""

from __future__ import annotations

import pickle

import psycopg
import pytest
from tracebacks import printed

from pgreplkit.driver.failures import translate_errors, without_values
from pgreplkit.errors import ServerError

SECRET = "s3cret"
"""A traceback has the lines of this file, which must not contain it."""


class Unhashable(Exception):
    __hash__ = None  # type: ignore[assignment]


def chained() -> Exception:
    """Return an error of a rollback, with the error that was handled then, and its cause."""
    try:
        try:
            try:
                raise psycopg.DataError(f'invalid date: "{SECRET}"')
            except psycopg.Error as error:
                raise Unhashable from error
        except Unhashable:
            # Raised while it is handled, and not from it.
            raise psycopg.OperationalError("lost")  # noqa: B904
    except psycopg.Error as error:
        return error


def test_no_error_behind_another_keeps_a_value() -> None:
    error = chained()
    assert SECRET in printed(error)
    assert without_values(error) is error
    assert 'DataError: invalid date: "…"' in printed(error)
    assert SECRET not in printed(error)
    # A second time, as in an outer block.
    assert printed(without_values(error)) == printed(error)


def test_a_chain_of_errors_may_be_a_ring() -> None:
    one, two = ValueError("one"), ValueError("two")
    one.__context__, two.__context__ = two, one
    assert without_values(one) is one


def test_a_translated_error_hides_values_only_if_it_is_about_rows() -> None:
    for hides in (False, True):
        with pytest.raises(ServerError) as raised, translate_errors("copy t", hides_values=hides):
            raise psycopg.DataError(f'invalid date: "{SECRET}"')
        assert (SECRET not in printed(raised.value)) is hides
        assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)
