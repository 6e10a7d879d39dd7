"""standby_config: the files for each major version."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, strategies as st
from psycopg.conninfo import conninfo_to_dict

import pgreplkit
from pgreplkit import LSN, standby_config
from pgreplkit.plans.cluster.standbyconfig import named, quoted

CONNINFO = "host=db1 user=rep"
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@pytest.mark.parametrize("version", range(10, 19))
def test_each_major_version_has_its_own_configuration_files(version: int) -> None:
    config = standby_config(CONNINFO, server_version=version, slot="a", restore_command="cp %f %p")
    if version < 12:
        assert list(config.files) == ["recovery.conf"]
        assert config.settings["standby_mode"] == "on"
    else:
        assert list(config.files) == ["standby.signal", "postgresql.auto.conf"]
        assert config.files["standby.signal"] == ""
        assert "standby_mode" not in config.settings
    assert config.settings["primary_conninfo"] == CONNINFO
    assert config.settings["recovery_target_timeline"] == "latest"
    assert "restore_command = 'cp %f %p'\n" in config.files[config.settings_file]


@pytest.mark.parametrize(
    ("version", "name"), [(10, "trigger_file"), (12, "promote_trigger_file"), (16, None)]
)
def test_the_trigger_file_setting_depends_on_the_major_version(
    version: int, name: str | None
) -> None:
    if name is None:
        with pytest.raises(pgreplkit.errors.UnsupportedByServer, match="needs PostgreSQL 10 to 15"):
            standby_config(CONNINFO, server_version=version, trigger_file="/tmp/x")
    else:
        config = standby_config(CONNINFO, server_version=version, trigger_file="/tmp/x")
        assert config.settings[name] == "/tmp/x"


@pytest.mark.parametrize(
    ("target", "setting", "text"),
    [
        ({"recovery_target_lsn": LSN("1/2A")}, "recovery_target_lsn", "1/2A"),
        (
            {"recovery_target_time": datetime(2026, 1, 2, 3, 4, 5, 6, UTC)},
            *("recovery_target_time", "2026-01-02 03:04:05.000006+00:00"),
        ),
        (
            {"recovery_target_time": datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=-3)))},
            *("recovery_target_time", "2026-01-02 00:00:00-03:00"),
        ),
        ({"recovery_target_xid": 7}, "recovery_target_xid", "7"),
        ({"recovery_target_name": "it's"}, "recovery_target_name", "it's"),
        ({"recovery_target_immediate": True}, "recovery_target", "immediate"),
        ({"recovery_target_inclusive": False}, "recovery_target_inclusive", "off"),
        ({"recovery_target_timeline": 3}, "recovery_target_timeline", "3"),
        ({"recovery_target_timeline": "current"}, "recovery_target_timeline", "current"),
        ({"recovery_target_action": "promote"}, "recovery_target_action", "promote"),
        ({"apply_delay": timedelta(seconds=1.5)}, "recovery_min_apply_delay", "1500"),
    ],
)
def test_a_target_is_written_as_the_server_reads_it(
    target: dict[str, object], setting: str, text: str
) -> None:
    config = standby_config(CONNINFO, server_version=14, **target)  # type: ignore[arg-type]
    assert config.settings[setting] == text


def test_before_12_the_backups_timeline_is_the_default() -> None:
    config = standby_config(CONNINFO, server_version=11, recovery_target_timeline="current")
    assert "recovery_target_timeline" not in config.settings


@pytest.mark.parametrize(
    "wrong",
    [
        {"recovery_target_lsn": LSN(1), "recovery_target_xid": 5},
        {"recovery_target_time": datetime(2026, 1, 1)},
        {"apply_delay": timedelta(-1)},
        {"apply_delay": timedelta(25)},
        {"slot": "Not-A-Slot"},
        {"recovery_target_timeline": "foo"},
        {"recovery_target_timeline": 0},
        {"recovery_target_timeline": True},
        {"recovery_target_action": "bogus"},
        {"recovery_target_xid": -4},
        {"application_name": "x" * 64},
        {"application_name": "réplica"},
    ],
)
def test_values_that_no_server_accepts_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"target|delay|slot|timeline|number|application_name"):
        standby_config(CONNINFO, server_version=18, **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        {"primary_conninfo": None},
        {"apply_delay": 5},
        {"recovery_target_time": "2026-01-01"},
        {"recovery_target_lsn": "0/1"},
        {"recovery_target_inclusive": "no"},
        {"restore_command": 5},
        {"application_name": 5},
        {"slot": 5},
    ],
)
def test_arguments_of_a_wrong_type_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(TypeError):
        standby_config(**{"primary_conninfo": CONNINFO, "server_version": 18, **wrong})  # type: ignore[arg-type]


def test_a_password_is_not_shown() -> None:
    config = standby_config("host=db1 password=secret", server_version=18)
    assert "secret" not in repr(config)
    assert "secret" in str(config)


@given(texts)
def test_a_quoted_value_is_one_line(value: str) -> None:
    text = quoted(value)
    assert text.splitlines()[:1] == [text] or "\n" not in text
    assert text[0] == text[-1] == "'"


def test_a_nul_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        quoted("a\0b")


@given(st.sampled_from(["", "host=a", "host=a application_name=b", "host='x y' "]), texts)
def test_libpq_reads_the_application_name(conninfo: str, name: str) -> None:
    parts = conninfo_to_dict(named(conninfo, name))
    assert parts == {**conninfo_to_dict(conninfo), "application_name": name}


@given(st.sampled_from(["postgresql://a/", "postgres://u@a:5/?sslmode=require"]), texts)
def test_libpq_reads_the_application_name_of_a_uri(conninfo: str, name: str) -> None:
    parts = conninfo_to_dict(named(conninfo, name))
    assert parts == {**conninfo_to_dict(conninfo), "application_name": name}
