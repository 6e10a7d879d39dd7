"""The command ``python -m pgreplkit`` on files and values, and its errors."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from clusterfacts import NOW, handover
from recordedwal import unpack

from pgreplkit import command
from pgreplkit.plans.cluster.journal import Journal, StepResult
from pgreplkit.plans.cluster.switchover import switchover_steps
from pgreplkit.wal import open_wal, scan_archive

Output = pytest.CaptureFixture[str]


def output(capsys: Output, *arguments: str, status: int = 0) -> str:
    """Run the command, check its exit status, and return what it printed."""
    assert command.main(arguments) == status
    printed, errors = capsys.readouterr()
    assert bool(errors) is (status == 3 and not printed)
    return printed or errors


@pytest.fixture(scope="module")
def wal(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(unpack(tmp_path_factory.mktemp("wal"), 18).folder)


@pytest.fixture
def journal(tmp_path: Path) -> str:
    steps = switchover_steps(handover())
    done = StepResult(step=steps[0], began_at=NOW, ended_at=NOW)
    file = tmp_path / "switchover.json"
    file.write_text(Journal(operation="switchover", steps=tuple(steps), done=(done,)).to_json())
    return str(file)


def test_a_position_is_printed_with_its_wal_file(capsys: Output) -> None:
    assert output(capsys, "lsn", "16/B374D848").split() == [
        *("lsn", "16/B374D848", "bytes", "97500059720")
    ]
    printed = output(capsys, "lsn", "97500059720", "--timeline", "2", "--json")
    assert json.loads(printed) == {
        "lsn": "16/B374D848",
        "bytes": 97500059720,
        "wal_file": "0000000200000016000000B3",
        "offset": 7657544,
    }
    assert output(capsys, "lsn", "0/5", "--check") == "OK - lsn 0/5, bytes 5\n"


def test_wal_files_are_read(capsys: Output, wal: str) -> None:
    stats = open_wal(wal).stats()
    assert output(capsys, "wal", "stats", wal) == f"{stats}\n"
    assert json.loads(output(capsys, "wal", "stats", wal, "--json")) == stats.to_dict()
    commits = [commit.to_dict() for commit in open_wal(wal).commits()]
    printed = output(capsys, "wal", "commits", wal, "--json")
    assert [json.loads(line) for line in printed.splitlines()] == commits
    first = next(iter(open_wal(wal)))
    stop_at = str(next(record.lsn for record in open_wal(wal) if record.lsn > first.lsn))
    assert output(capsys, "wal", "records", wal, "--stop-at", stop_at) == f"{first}\n"
    assert output(capsys, "wal", "stats", wal, "--check", status=0).startswith("OK - ")


def test_an_archive_is_checked(capsys: Output, wal: str, tmp_path: Path) -> None:
    report = scan_archive(wal)
    assert json.loads(output(capsys, "archive", wal, "--json")) == report.to_dict()
    assert output(capsys, "archive", str(tmp_path), "--check", status=3).startswith("UNKNOWN - ")


def test_a_journal_shows_how_far_an_operation_is(capsys: Output, journal: str) -> None:
    assert output(capsys, "plan", "show", journal).count("\n") > 3
    assert (
        json.loads(output(capsys, "plan", "show", journal, "--json"))["operation"] == "switchover"
    )
    checked = output(capsys, "plan", "show", journal, "--check", status=1)
    assert checked.startswith("WARNING - switchover: 1 of ")


def test_errors_are_one_line_with_exit_status_3(capsys: Output, tmp_path: Path) -> None:
    assert output(capsys, "lsn", "x", status=3).startswith("pgreplkit: not a valid LSN: 'x'")
    missing = str(tmp_path / "missing")
    for arguments in (["plan", "show", missing], ["archive", missing], ["slots", "port=1 x"]):
        assert output(capsys, *arguments, status=3).count("\n") == 1
    # A server that is down is a CRITICAL result of a check.
    down = f"host={tmp_path} connect_timeout=1"
    assert output(capsys, "slots", down, status=3).startswith("pgreplkit: could not ")
    assert output(capsys, "slots", down, "--check", status=2).startswith("CRITICAL - could not ")
    with pytest.raises(ValueError, match="not a valid LSN"):
        command.main(["lsn", "x", "--debug"])
    with pytest.raises(SystemExit) as caught:
        command.main(["lag"])
    assert (caught.value.code, capsys.readouterr().err.count("\n")) == (3, 1)


def test_thresholds_have_names_where_there_are_several(capsys: Output, wal: str) -> None:
    limits = ["--warning", "gaps=5", "--critical", "files=1000:"]
    checked = output(capsys, "archive", wal, "--check", *limits, status=2)
    assert "files=" in checked
    assert "beyond 1000:" in checked
    wrong = ["--warning", "5", "--warning", "6"]
    assert "need names" in output(capsys, "archive", wal, "--check", *wrong, status=3)


def test_a_reader_that_ends_early_ends_the_command(wal: str) -> None:
    line = f"{sys.executable} -m pgreplkit wal records {wal} | head -1"
    run = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True)
    assert (run.stdout.count("\n"), run.stderr) == (1, "")


def cpu(*arguments: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    subprocess.run([sys.executable, *arguments], check=True, stdout=-3, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.alone
def test_a_position_costs_little_more_than_python_itself() -> None:
    assert cpu("-m", "pgreplkit", "lsn", "0/5") > 0  # compiles the modules
    bare = min(cpu("-c", "pass") for _ in range(4))
    assert min(cpu("-m", "pgreplkit", "lsn", "0/5") for _ in range(4)) - bare <= 0.060
