"""The connection string of a connection, for another server or a program."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

import pytest
from hypothesis import given, strategies as st
from psycopg.conninfo import make_conninfo

from pgreplkit import plan_clone
from pgreplkit.driver.conninfo import (
    address,
    complete,
    handed_on,
    is_local,
    replication_conninfo,
    resolved,
    with_database,
)
from pgreplkit.driver.probe import probe
from pgreplkit.errors import ConnectionFailed
from pgreplkit.plans.cluster.failover import Reply

REACHED = {"host": "db1", "port": "5432", "dbname": "shop", "user": "rep"}

parameters = st.dictionaries(
    st.sampled_from(
        ["sslmode", "options", "keepalives_idle", "connect_timeout", "application_name", "service"]
    ),
    st.text("abc", min_size=1),
)


def for_server(
    given: dict[str, str | int | None] | None, reported: dict[str, str], major: int = 18
) -> dict[str, str | int | None]:
    return handed_on(given, reported, REACHED, major=major, is_pinned=False)


@pytest.mark.parametrize(
    ("conninfo", "expected"),
    [
        ("host=localhost", True),
        ("host=/var/run/postgresql", True),
        ("host=@pg", True),
        ("host=127.0.0.2 port=5433", True),
        ("host=::1", True),
        ("host=db1,localhost", True),
        ("host=db1 hostaddr=127.0.0.1", True),
        ("host=localhost hostaddr=10.0.0.1", False),
        ("host=db1", False),
        ("postgresql://10.0.0.1,10.0.0.2/shop", False),
    ],
)
def test_a_local_address_leads_each_machine_to_itself(conninfo: str, expected: bool) -> None:
    assert is_local(conninfo) is expected


def test_without_a_host_the_address_is_that_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PGHOST", raising=False)
    assert is_local("dbname=shop")
    monkeypatch.setenv("PGHOST", "db1")
    assert not is_local("dbname=shop")


@given(parameters)
def test_given_parameters_are_kept_unless_they_belong_to_the_session(
    parameters: dict[str, str | int | None],
) -> None:
    kept = for_server(parameters, {})
    own = {"application_name", "service"}
    assert {name: v for name, v in kept.items() if name not in REACHED} == {
        name: v for name, v in parameters.items() if name not in own
    }


def test_all_hosts_are_kept_with_the_choice_between_them() -> None:
    given: dict[str, str | int | None] = {
        "host": "db1,db2",
        "port": "5432,5433",
        "target_session_attrs": "read-write",
    }
    kept = for_server(given, {"host": "db1", "hostaddr": "10.0.0.1", "port": "5432"})
    assert kept == {**given, "dbname": "shop", "user": "rep"}


def test_a_program_gets_exactly_the_server_that_was_reached() -> None:
    given: dict[str, str | int | None] = {
        "host": "db1,db2",
        "hostaddr": "10.0.0.1,10.0.0.2",
        "target_session_attrs": "read-write",
        "load_balance_hosts": "random",
        "sslmode": "require",
    }
    pinned = handed_on(given, {}, REACHED, major=18, is_pinned=True)
    assert pinned == {**REACHED, "sslmode": "require"}


def test_an_address_is_kept_only_where_it_was_given() -> None:
    reported = {"host": "db1", "hostaddr": "10.0.0.1"}
    assert "hostaddr" not in for_server({"host": "db1"}, reported)
    assert for_server({"hostaddr": "10.0.0.1"}, reported)["hostaddr"] == "10.0.0.1"
    assert for_server(None, reported)["hostaddr"] == "10.0.0.1"


def test_parameters_of_a_service_or_the_environment_are_resolved() -> None:
    kept = for_server({"service": "shop"}, {"service": "shop", "sslmode": "verify-full"})
    assert kept == {**REACHED, "sslmode": "verify-full"}


@pytest.mark.parametrize(("libpq", "is_kept"), [(15, False), (16, True)])
def test_parameters_that_only_a_newer_libpq_reports_are_omitted(libpq: int, is_kept: bool) -> None:
    reported = {"require_auth": "scram-sha-256", "sslcertmode": "allow"}
    kept = for_server({}, reported, libpq)
    assert ("require_auth" in kept) == is_kept
    assert "sslcertmode" not in kept


def test_given_parameters_are_kept_for_an_old_server() -> None:
    assert for_server({"require_auth": "scram-sha-256"}, {}, 10)["require_auth"]


@pytest.mark.parametrize(
    ("conninfo", "params"), [("host=a\0 password=secret", {}), ("host=a", {"user": "a\0b"})]
)
def test_a_connection_string_with_nul_is_refused(conninfo: str, params: dict[str, str]) -> None:
    with pytest.raises(ConnectionFailed, match="contains the character NUL") as caught:
        complete(conninfo, params)
    assert "secret" not in str(caught.value)
    assert address("host=a\0 password=secret") == "a malformed connection string"


def test_a_malformed_connection_string_has_no_address() -> None:
    assert address("host=a password='secret") == "a malformed connection string"


def test_an_option_that_only_a_newer_libpq_knows_does_not_hide_the_address() -> None:
    assert address("host=db1 port=5433 some_future_option=on") == "db1:5433"


def test_a_service_and_the_environment_are_resolved_without_a_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = tmp_path / "services"
    services.write_text("[one]\nhost=db1\nport=6000\nconnect_timeout=3\nsslmode=require\n")
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    monkeypatch.setenv("PGAPPNAME", "mine")
    known = resolved("service=one port=7000 target_session_attrs=standby")
    expected = {"host": "db1", "port": "7000", "sslmode": "require", "application_name": "mine"}
    assert expected.items() <= known.items()
    assert "target_session_attrs" not in known
    assert resolved("service=two") == {}
    # Our own default is only for a connection without any limit.
    assert "connect_timeout" not in complete("service=one", {})
    assert "connect_timeout=10" in complete("", {})
    assert address("service=one") == "the service 'one'"


def test_a_server_whose_service_asks_for_encryption_or_a_role_is_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        services = tmp_path / "services"
        port = listening.getsockname()[1]
        text = f"host=127.0.0.1\nport={port}\nsslmode=require\nconnect_timeout=2\n"
        services.write_text(f"[one]\n{text}target_session_attrs=standby\n")
        monkeypatch.setenv("PGSERVICEFILE", str(services))
        assert probe("service=one") is Reply.OPEN
    assert probe("service=one") is Reply.SILENT
    assert probe("service=two") is Reply.NOT_ASKED


@pytest.mark.parametrize(
    "wrong",
    [
        *({"port": port} for port in ("99999", "0", "-1", "postgresql", "54 32")),
        *({"hostaddr": text} for text in ("localhost", "not-an-address", "127.0.0.1.")),
    ],
)
def test_an_address_that_libpq_refuses_is_no_evidence_that_a_server_is_lost(
    wrong: dict[str, str],
) -> None:
    conninfo = make_conninfo("", **{"host": "127.0.0.1", "port": "1", **wrong})
    assert probe(conninfo) is Reply.NOT_ASKED


def test_a_connection_string_for_streams_serves_other_sessions_too() -> None:
    for value in ("true", "database", "nonsense"):
        assert "replication" not in complete(f"host=a replication={value}", {})
        whole = complete("host=a", {"replication": value})
        assert "replication" not in whole
        assert "replication=database" in replication_conninfo(whole, is_logical=True)


@pytest.mark.parametrize(
    ("error", "reply"),
    [
        (OSError(errno.EMFILE, "too many open files"), Reply.NOT_ASKED),
        (
            socket.gaierror(socket.EAI_AGAIN, "temporary failure in name resolution"),
            Reply.NOT_ASKED,
        ),
        # On macOS, EAI_AGAIN has the number of ENOENT.
        (socket.gaierror(errno.ENOENT, "temporary failure in name resolution"), Reply.NOT_ASKED),
        (socket.gaierror(socket.EAI_NONAME, "unknown name"), Reply.SILENT),
    ],
)
def test_a_cause_on_this_machine_is_not_evidence_that_a_server_is_lost(
    monkeypatch: pytest.MonkeyPatch, error: OSError, reply: Reply
) -> None:
    def fails(*arguments: object) -> socket.socket:
        raise error

    assert probe("host=127.0.0.1 port=1") is Reply.SILENT
    monkeypatch.setattr(socket, "create_connection", fails)
    assert probe("host=127.0.0.1 port=1") is reply


@pytest.mark.parametrize("conninfo", ["nosuch=1", "host='a", "postgresql://a b/%zz"])
def test_a_malformed_connection_string_is_refused_without_its_text(conninfo: str) -> None:
    for use in (with_database, lambda text: plan_clone(text, "/nowhere")):
        with pytest.raises(
            ConnectionFailed, match="malformed, or has a parameter unknown"
        ) as caught:
            use(conninfo)
        assert conninfo not in str(caught.value)


@pytest.mark.parametrize("where", ["conninfo", "parameter"])
def test_a_text_that_is_not_utf8_is_refused_without_repeating_it(where: str) -> None:
    # As Python returns bytes of the environment.
    text = b"secret\xff".decode(errors="surrogateescape")
    params = {"password": text} if where == "parameter" else {}
    with pytest.raises(ConnectionFailed, match="UTF-8 does not have") as caught:
        complete(f"password={text}" if where == "conninfo" else "", params)
    assert "secret" not in repr(caught.value)
    assert caught.value.__context__ is None
