"""pg_hba.conf of a real server: the verdict equals the result of a connection."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from clusters import Cluster, Clusters, conninfo_as, run, wait_until
from colours import Colour

import pgreplkit
from pgreplkit import add_passfile_entry
from pgreplkit.lab import Node


@pytest.fixture(scope="module")
def gate(clusters: Clusters, major: int) -> Iterator[Node]:
    """A primary whose pg_hba.conf the tests rewrite."""
    node = clusters.lab.primary(version=major, name=f"pg{major}-gate")
    run(node, "CREATE ROLE rep LOGIN REPLICATION PASSWORD 'rep'")
    run(node, "CREATE ROLE crew")
    run(node, "GRANT crew TO rep")
    yield node
    clusters.lab.remove(node)


OWN = "host all postgres 127.0.0.1/32 scram-sha-256\n"


def load(node: Node, *lines: str) -> Path:
    """Replace the rules, except the one that admits the tests themselves."""
    path = node.data_directory / "pg_hba.conf"
    path.write_text(OWN + "".join(f"{line}\n" for line in lines))
    run(node, "SELECT pg_reload_conf()")
    return path


def enters(node: Node, database: str) -> bool:
    """Return True if the role rep can connect; only pg_hba.conf decides."""
    conninfo = psycopg.conninfo.make_conninfo(conninfo_as(node, "rep"), gssencmode="disable")
    how = {"replication": "true"} if database == "replication" else {"dbname": database}
    try:
        psycopg.connect(conninfo, sslmode="disable", **how).close()  # type: ignore[arg-type]
    except psycopg.OperationalError as error:
        met = str(error)
    else:
        return True
    assert "pg_hba.conf" in met
    return False


@pytest.mark.parametrize(
    "line",
    [
        "host all all all scram-sha-256",
        "host replication all all scram-sha-256",
        "host replication +crew samehost scram-sha-256",
        "host all,replication rep 127.0.0.1 255.0.0.0 scram-sha-256",
        "hostssl replication rep all scram-sha-256",
        "hostnossl replication rep all scram-sha-256",
        "host replication rep 127.0.0.0/8 reject",
        "host postgres rep 127.0.0.0/8 scram-sha-256",
        "local all all trust",
        "host sameuser rep 127.0.0.1/32 scram-sha-256",
        'host "replication" rep 127.0.0.1/32 scram-sha-256',
        "host replication rep ::1/128 scram-sha-256",
    ],
)
async def test_the_verdict_equals_the_result_of_a_connection(
    gate: Node, colour: Colour, line: str
) -> None:
    load(gate, line)
    async with await colour.primary(gate.conninfo) as primary:
        for database in ("replication", "postgres"):
            verdict = await primary.check_access("rep", address="127.0.0.1", database=database)
            # A quoted "replication" is a database; the server does not show which it is.
            if '"' in line:
                continue
            wait_until(lambda d=database, v=verdict: enters(gate, d) is v.allowed)  # type: ignore[misc]
            if verdict.rule is not None:
                assert verdict.rule.line_number == 2


async def test_a_line_is_added_where_it_takes_effect_and_the_file_is_backed_up(
    gate: Node, colour: Colour
) -> None:
    path = load(gate, "# mine", "host replication all all reject", "# last")
    before, mode = path.read_bytes(), stat.S_IMODE(path.stat().st_mode)
    owner = path.stat().st_uid
    async with await colour.primary(gate.conninfo) as primary:
        assert not (await primary.check_access("rep", address="127.0.0.1")).allowed
        verdict = await primary.allow_access("rep", address="127.0.0.1")
        assert verdict.allowed
        assert verdict.rule is not None
        assert verdict.rule.line_number == 3
        wait_until(lambda: enters(gate, "replication"))
        text = path.read_text()
        assert text.splitlines()[2].split() == [
            *("host", "replication", "rep", "127.0.0.1/32", "scram-sha-256"),
        ]
        assert text.replace(f"{verdict.line}\n", "").encode() == before
        assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_uid) == (mode, owner)
        [backup] = path.parent.glob("pg_hba.conf.*.bak")
        assert backup.read_bytes() == before
        # A base backup reads it.
        assert backup.stat().st_uid == owner
        backup.unlink()
        # An existing line is not added again, but loaded.
        await primary.allow_access("rep", address="127.0.0.1")
        assert path.read_text() == text
        assert not [*path.parent.glob("pg_hba.conf.*.bak")]


async def test_without_a_matching_rule_the_line_is_appended(gate: Node, colour: Colour) -> None:
    path = load(gate)
    path.write_text(path.read_text().rstrip("\n"))
    async with await colour.primary(gate.conninfo) as primary:
        verdict = await primary.allow_access("rep", address="10.0.0.0/8", method="md5")
        assert verdict.allowed
    assert path.read_text().splitlines()[-1].split() == [
        *("host", "replication", "rep", "10.0.0.0/8", "md5"),
    ]
    for backup in path.parent.glob("pg_hba.conf.*.bak"):
        backup.unlink()


async def test_a_line_that_the_server_rejects_is_removed_again(gate: Node, colour: Colour) -> None:
    path = load(gate)
    before = path.read_bytes()
    async with await colour.primary(gate.conninfo) as primary:
        with pytest.raises(pgreplkit.errors.HostFileError, match="is unchanged"):
            await primary.allow_access("rep", address="127.0.0.1", method="no-such-method")
        assert path.read_bytes() == before
        assert not [*path.parent.glob("pg_hba.conf.*.bak")]
        path.write_bytes(before + b"nonsense\n")
        verdict = await primary.check_access("rep", address="127.0.0.1")
        assert [rule.line_number for rule in verdict.errors] == [2]
        with pytest.raises(
            pgreplkit.errors.HostFileError,
            match=r"errors in pg_hba\.conf prevent any change: line 2",
        ):
            await primary.allow_access("rep", address="127.0.0.1")
        load(gate)


async def test_access_checks_refuse_empty_names_and_missing_privileges(
    gate: Node, colour: Colour
) -> None:
    load(gate, "host all rep all scram-sha-256")
    async with await colour.primary(gate.conninfo) as primary:
        with pytest.raises(pgreplkit.errors.RoleNotFound):
            await primary.check_access("nobody", address=None)
        with pytest.raises(ValueError, match="does not appear to be"):
            await primary.check_access("rep", address="not an address")
        # A line break would add a rule to the file.
        smuggled = "trust\nhost all all all trust"
        with pytest.raises(ValueError, match="line break"):
            await primary.allow_access("rep", address=None, method=smuggled)
        with pytest.raises(ValueError, match="line break"):
            await primary.allow_access("rep", address=None, database=smuggled)
        with pytest.raises(ValueError, match="not reject"):
            await primary.allow_access("rep", address=None, method="reject")
        with pytest.raises(ValueError, match="from a keyword"):
            await primary.allow_access("all", address=None)
        with pytest.raises(ValueError, match="one word"):
            await primary.allow_access("rep", address=None, method="trust all")
        with pytest.raises(TypeError):
            await primary.check_access(5, address=None)  # type: ignore[arg-type]
    async with await colour.primary(conninfo_as(gate, "rep")) as primary:
        with pytest.raises(pgreplkit.errors.InsufficientPrivilege, match="pg_hba_file_rules"):
            await primary.check_access("rep", address=None)


def test_a_standby_has_its_own_pg_hba_file(cluster: Cluster) -> None:
    with cluster.standby.connect() as standby:
        verdict = standby.check_access("postgres", address="127.0.0.1")
    assert verdict.rule is not None
    assert verdict.allowed


def test_libpq_finds_an_added_password(gate: Node, tmp_path: Path) -> None:
    load(gate, "host all all all scram-sha-256")
    file = tmp_path / "pass file"
    run(gate, r"ALTER ROLE rep PASSWORD 'a:b\c '''")
    try:
        file.write_text("# mine\nother:1:*:*:x\n*:*:*:*:wrong\n")
        file.chmod(0o644)
        add_passfile_entry(
            host=gate.host, port=gate.port, database="*", user="rep", password="old", path=file
        )
        add_passfile_entry(
            host=gate.host,
            port=gate.port,
            database="*",
            user="rep",
            password=r"a:b\c '",
            path=file,
        )
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        lines = file.read_text().splitlines()
        assert lines[0] == "# mine"
        assert lines[-1] == "*:*:*:*:wrong"
        assert len(lines) == 4
        conninfo = psycopg.conninfo.make_conninfo(gate.conninfo, user="rep", passfile=str(file))
        psycopg.connect(conninfo).close()
    finally:
        run(gate, "ALTER ROLE rep PASSWORD 'rep'")


def test_a_password_file_keeps_its_entries_and_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    odd = b"# \xff not UTF-8\nh:1:d:u:\xe4\n"
    real.write_bytes(odd)
    link.symlink_to(real)
    add_passfile_entry(host="*", port="*", database="*", user="v", password="p", path=link)
    assert link.is_symlink()
    assert real.read_bytes() == odd + b"*:*:*:v:p\n"


def test_a_missing_password_file_is_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "new"))
    made = add_passfile_entry(host="h", port=5432, database="d", user="u", password="p")
    assert made == tmp_path / "new"
    assert made.read_text() == "h:5432:d:u:p\n"
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    with pytest.raises(ValueError, match="line break"):
        add_passfile_entry(host="h", port=5432, database="d", user="u", password="p\nq")
    with pytest.raises(pgreplkit.errors.HostFileError, match="add an entry to"):
        add_passfile_entry(
            host="h", port=1, database="d", user="u", password="p", path=tmp_path / "no" / "dir"
        )
