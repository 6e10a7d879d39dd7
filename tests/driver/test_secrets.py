"""Secrets of connection strings, which neither an error nor a list of processes shows."""

from __future__ import annotations

import pytest

from pgreplkit.driver.secrets import private_conninfo, without_password
from pgreplkit.errors import ControlFailed
from pgreplkit.values.conninfosyntax import parse_conninfo


def test_options_that_only_a_newer_libpq_knows_are_shown_without_the_password() -> None:
    shown = without_password("password=secret host=db1 some_future_option=on")
    assert shown == "host=db1 some_future_option=on"


def test_a_malformed_connection_string_is_not_shown() -> None:
    assert without_password("host=a password='secret") is None


@pytest.mark.parametrize(
    "shown",
    [
        "user=me password=******** passfile=/my files/pass host=db1 options=-c work_mem=7MB"
        " application_name=DB 'Two' fallback_application_name=walreceiver",
        # After a change of the timeline: as it is configured, with the password.
        r"password='a secret' user=me host=db1 options='-c work_mem=7MB'"
        r" application_name='DB \'Two\''",
        "postgresql://me:a%20secret@db1/?options=-c%20work_mem=7MB&application_name=DB%20'Two'",
    ],
)
def test_the_connection_of_a_walreceiver_is_read_as_configured_and_as_shown(shown: str) -> None:
    parts = parse_conninfo(without_password(shown) or "")
    parts.pop("fallback_application_name", None)
    assert parts == {
        "user": "me",
        "host": "db1",
        "options": "-c work_mem=7MB",
        "application_name": "DB 'Two'",
    }


def test_a_secret_of_a_service_is_read_from_the_service_again() -> None:
    resolved = "host=a user=u password=p sslkey=/k sslpassword=secret"
    shown, passfile = private_conninfo(resolved, "service=db1 user=u")
    assert parse_conninfo(shown) == {"host": "a", "user": "u", "sslkey": "/k", "service": "db1"}
    assert passfile == b"*:*:*:*:p\n"


@pytest.mark.parametrize("opened_with", ["host=a sslpassword=hunter2", "service=x sslpassword=y"])
def test_a_secret_that_the_process_list_would_show_is_refused(opened_with: str) -> None:
    with pytest.raises(ControlFailed, match="would show sslpassword") as caught:
        private_conninfo("host=a sslpassword=hunter2", opened_with)
    assert "hunter2" not in str(caught.value)
