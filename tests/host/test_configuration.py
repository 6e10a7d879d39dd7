"""Configuration files, read as the server reads them, wherever they are."""

from __future__ import annotations

from posixpath import basename, dirname, join, normpath
from typing import cast

import pytest

from pgreplkit import NodeControl, standby_config
from pgreplkit.host.configuration import Launch, parse_line, read_configuration
from pgreplkit.host.facts import read_host
from pgreplkit.host.recoveryfiles import write_standby_files, written_conninfo


class Files:
    """A host with nothing but files."""

    data_directory = "/data"

    def __init__(self) -> None:
        self.files = {"/data/PG_VERSION": "16\n"}

    def read_file(self, name: str) -> bytes | None:
        text = self.files.get(normpath(join("/data", name)))
        return None if text is None else text.encode()

    def write_file(self, name: str, content: bytes | None) -> None:
        path = normpath(join("/data", name))
        self.files.pop(path, None)
        if content is not None:
            self.files[path] = content.decode()

    def list_folder(self, path: str) -> list[str] | None:
        return [basename(name) for name in self.files if dirname(name) == normpath(path)] or None

    def unwritable(self, path: str, *, recursive: bool = True) -> list[str]:
        return []

    @property
    def control(self) -> NodeControl:
        return cast(NodeControl, self)


def with_files(contents: dict[str, str]) -> Files:
    made = Files()
    made.files |= {normpath(join("/data", name)): text for name, text in contents.items()}
    return made


@pytest.mark.parametrize(
    ("line", "pair"),
    [
        ("a = 1", ("a", "1")),
        ("A=1 # x", ("a", "1")),
        ("a '1 # x'", ("a", "1 # x")),
        ("a = 'it''s' # 'x'", ("a", "it's")),
        (r"a = 'b\'c\n\101'", ("a", "b'c\nA")),
        ("ext.a = on", ("ext.a", "on")),
        ("a'1'", ("a", "1")),
        ("a1", None),
        ("#a = 1", None),
        ("a =", None),
        ("", None),
    ],
)
def test_a_line_is_read_as_the_server_reads_it(line: str, pair: tuple[str, str] | None) -> None:
    assert parse_line(line) == pair


def test_included_files_are_read_in_their_order() -> None:
    host = with_files(
        {
            "postgresql.conf": "a = 1\nb = 1\ninclude 'sub/one.conf'\ninclude_dir = 'conf.d'\n"
            "include_if_exists 'none.conf'\nc = 1\n",
            "sub/one.conf": "b = 2\ninclude = 'two.conf'\n",
            "sub/two.conf": "d = 2\n",
            "conf.d/b.conf": "c = 9\ne = b\n",
            "conf.d/a.conf": "e = a\n",
            "conf.d/.hidden.conf": "e = hidden\n",
            "conf.d/readme": "e = readme\n",
            "postgresql.auto.conf": "a = 3\n",
        }
    )
    found = read_configuration(host.control)
    values = {name: found.get(name) for name in "abcdef"}
    assert values == {"a": "3", "b": "2", "c": "1", "d": "2", "e": "b", "f": None}
    assert found.files == (
        *("postgresql.conf", "sub/one.conf", "sub/two.conf"),
        *("conf.d/a.conf", "conf.d/b.conf"),
    )
    assert found.written["d"].place == "sub/two.conf, line 1"


_OURS = "data_directory = '/data/'\ninclude 'x.conf'\n"


@pytest.mark.parametrize(
    "opts",
    [
        '/bin/postgres "-D" "/etc/pg"',
        '/bin/postgres "-D/etc/pg"',
        '/bin/postgres "-D" "/data" "-c" "config_file=/etc/pg/postgresql.conf"',
        '/bin/postgres "-D" "/data" "--config-file=/etc/pg/postgresql.conf"',
    ],
)
def test_a_configuration_outside_the_data_directory_is_found(opts: str) -> None:
    host = with_files({"postmaster.opts": opts, "/etc/pg/postgresql.conf": _OURS})
    host.files["/etc/pg/x.conf"] = "cluster_name = '15/main'\n"
    found = read_configuration(host.control)
    assert found.main_file == "/etc/pg/postgresql.conf"
    assert found.get("cluster_name") == "15/main"


def test_the_command_line_of_another_data_directory_does_not_count() -> None:
    for opts in ('/bin/postgres "-D" "/other"', '/bin/postgres "-D" "/other" "-p" "1"'):
        host = with_files({"postmaster.opts": opts, "postgresql.conf": "port = 2\n"})
        host.files["/other/postgresql.conf"] = "port = 3\n"
        found = read_configuration(host.control)
        assert (found.main_file, found.get("port")) == ("postgresql.conf", "2")


def test_the_command_line_comes_before_the_files() -> None:
    arguments = ("-D", "/x", "-p", "1", "--recovery-target-time=now", "-c", "work_mem=5MB", "-F")
    launch = Launch(arguments)
    assert launch.config_dir == "/x"
    assert {name: setting.value for name, setting in launch.settings.items()} == {
        "port": "1",
        "recovery_target_time": "now",
        "work_mem": "5MB",
    }


def test_recovery_targets_are_removed_from_every_file() -> None:
    host = with_files(
        {
            "postgresql.conf": "recovery_target_name = 'before'\ninclude_dir 'conf.d'\n",
            "conf.d/restore.conf": "Recovery_Target_XID = 5\nrecovery_target_lsn = ''\n",
            "postgresql.auto.conf": "work_mem = '5MB'\nrecovery_target_time = 'now'\n"
            "recovery_target_action = 'promote'\nrecovery_target_inclusive = off\n"
            "recovery_target_timeline = 'current'\nrestore_command = 'x'\n",
            "recovery.signal": "",
        }
    )
    config = standby_config("host=a", server_version=16)
    write_standby_files(host.control, config)
    found = read_configuration(host.control)
    targets = [name for name in {**found.written, **found.auto} if name.startswith("recovery_t")]
    assert {name: found.get(name) for name in targets if found.get(name)} == {
        "recovery_target_timeline": "latest"
    }
    assert found.get("work_mem") == "5MB"
    assert found.get("restore_command") == "x"
    assert "/data/recovery.signal" not in host.files
    assert "/data/standby.signal" in host.files
    text = host.files["/data/postgresql.auto.conf"]
    assert "recovery_target_lsn" not in text
    write_standby_files(host.control, config)
    again = host.files["/data/postgresql.auto.conf"]
    assert sorted(again.splitlines()) == sorted(text.splitlines())


def test_recovery_targets_are_overridden_if_the_configuration_cannot_be_read() -> None:
    host = with_files({})
    write_standby_files(host.control, standby_config("host=a", server_version=16))
    assert "recovery_target_time = ''\n" in host.files["/data/postgresql.auto.conf"]


def test_a_trigger_file_that_exists_promotes_no_new_standby() -> None:
    files = {"postgresql.conf": "promote_trigger_file = 'promote.now'\n"}
    for trigger in ({}, {"promote.now": ""}):
        host = with_files({**files, **trigger})
        write_standby_files(host.control, standby_config("host=a", server_version=15))
        found = read_configuration(host.control).get("promote_trigger_file")
        assert found == ("" if trigger else "promote.now")
        host = with_files({"PG_VERSION": "11\n", **trigger})
        host.files["/data/recovery.conf"] = "trigger_file = 'promote.now'\n"
        write_standby_files(host.control, standby_config("host=a", server_version=11))
        assert ("trigger_file" in host.files["/data/recovery.conf"]) is not bool(trigger)


def test_a_trigger_file_on_the_command_line_is_reported() -> None:
    opts = '/bin/postgres "-D" "/data" "-c" "promote_trigger_file=/tmp/now"'
    for exists in (False, True):
        host = with_files({"postmaster.opts": opts, "postgresql.conf": ""})
        if exists:
            host.files["/tmp/now"] = ""
        fixed = read_host(host.control, "a").fixed_settings
        assert fixed == ({"promote_trigger_file": "/tmp/now"} if exists else {})


def test_recovery_targets_are_removed_from_a_recovery_conf() -> None:
    kept = "restore_command = 'x'\nrecovery_target = 'immediate'\nrecovery_target_action = pause\n"
    host = with_files({"PG_VERSION": "11\n", "recovery.conf": kept, "recovery.done": kept})
    write_standby_files(host.control, standby_config("host=a", server_version=11))
    names = [line.partition(" ")[0] for line in host.files["/data/recovery.conf"].splitlines()]
    assert sorted(names) == [
        *("primary_conninfo", "recovery_target_timeline", "restore_command", "standby_mode"),
    ]
    assert written_conninfo(host.control) == "host=a"
