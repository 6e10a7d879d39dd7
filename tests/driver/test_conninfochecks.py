"""Connection strings that no server could ever be reached with."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from pgreplkit.apply import Applier
from pgreplkit.applycommand import main
from pgreplkit.driver.conninfochecks import insist_on_usable, unusable
from pgreplkit.errors import ConnectionFailed
from pgreplkit.feedcommand import main as feeds
from pgreplkit.mesh import Mesh
from pgreplkit.supervised import MISCONFIGURED

UNUSABLE = [
    ("port=abc", "port must be"),
    ("port=0", "port must be"),
    ("port=65536", "port must be"),
    ("port=-1", "port must be"),
    ("port='54 32'", "port must be"),
    ("host=a,b port=1,x", "port must be"),
    ("host=a,b port=1,2,3", "2 hosts and 3 ports"),
    ("host=a,b hostaddr=10.0.0.1", "2 hosts and 1 values of hostaddr"),
    ("hostaddr=db1", "hostaddr must be"),
    ("host='a b'", "host must be"),
    ("host=a:5432", "host must be"),
    ("host=[::1]", "host must be"),
    ("host=a..b", "host must be"),
    ("host=a/b", "host must be"),
    ("host='d\tb'", "host must be"),
    (f"host={'a' * 64}", "host must be"),
    ("postgresql://me:s3cret/x@db1/app", "port must be"),
    ("postgresql://db1?port=s3cret", "port must be"),
    ("keepalives_idle=x", "keepalives_idle must be"),
    ("tcp_user_timeout=1.5", "tcp_user_timeout must be"),
    ("connect_timeout=soon", "connect_timeout must be"),
    ("sslmode=bad", "sslmode"),
    ("channel_binding=bad", "channel_binding"),
    ("gssencmode=bad", "gssencmode"),
    ("target_session_attrs=bad", "target_session_attrs"),
    ("service=nowhere", "nowhere"),
    ("nonsense=1", "unknown to libpq"),
    ("host", "malformed"),
    ("postgresql://[::1", "malformed"),
    ("postgresql://a?x", "malformed"),
    ("host='a", "malformed"),
]
USABLE = [
    *("", "host=a,b port=1,2", "host=a,b port=5", "host=a,b port=,2", "port=' 5432 '"),
    *("host=::1", "host=fe80::1%eth0", "host=/tmp,@abstract", "host=x.y. hostaddr=127.1"),
    *("hostaddr=::1,10.0.0.1", "host=a_b-c.example", "host=bücher.example", "host=,b"),
    *("sslmode=require gssencmode=require", "keepalives_idle=-1", "connect_timeout=2.5"),
    *("postgresql://me:p%2Fw@[::1]:5433,db2/app?sslmode=verify-full", "host=10.1"),
]


@pytest.mark.parametrize(("conninfo", "found"), UNUSABLE)
def test_an_unusable_connection_string_is_a_wrong_configuration(
    conninfo: str, found: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for publisher, subscriber in ((conninfo, ""), ("", conninfo)):
        with pytest.raises(ConnectionFailed, match=found):
            Applier(publisher, subscriber, "one", publications=["p"])
        with pytest.raises(ConnectionFailed, match=found) as raised:
            Mesh({"a": publisher, "b": subscriber}, tables=["t"])
        assert "s3cret" not in str(raised.value)
        config = tmp_path / "config.toml"
        config.write_text(
            f'name = "one"\npublisher = """{publisher}"""\nsubscriber = """{subscriber}"""\n'
            'publications = ["p"]\n'
        )
        assert main([str(config)]) == main([str(config), "--check"]) == MISCONFIGURED
    config.write_text(
        f'[feeds.one]\nsource = """{conninfo}"""\npublications = ["p"]\nencoder = "plain"\n'
        '[feeds.one.sink]\nengine = "redis"\nurl = "redis://127.0.0.1"\n'
    )
    assert feeds([str(config)]) == MISCONFIGURED
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("conninfo", USABLE)
def test_a_usable_connection_string_is_taken(conninfo: str) -> None:
    insist_on_usable(conninfo)


def test_the_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGPORT", "PGSSLMODE", "PGSERVICE"):
        with monkeypatch.context() as patched:
            patched.setenv(name, "nonsense")
            with pytest.raises(ConnectionFailed, match="cannot be used"):
                insist_on_usable("host=a")


@given(st.dictionaries(st.sampled_from(["host", "hostaddr", "port", "keepalives"]), st.text()))
def test_any_parameters_can_be_looked_at(parameters: dict[str, str]) -> None:
    assert isinstance(unusable(parameters), str)
