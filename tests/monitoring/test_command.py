"""The command ``python -m pgreplkit`` on files and values, and its errors."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from clusterfacts import NOW, handover
from recordedwal import unpack

from pgreplkit import __version__, command
from pgreplkit.plans.cluster.journal import Journal, StepResult
from pgreplkit.plans.cluster.switchover import switchover_steps
from pgreplkit.wal import WalBy, open_wal, scan_archive

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
    # A commit is a line, for grep.
    assert output(capsys, "wal", "commits", wal).count("\n") == len(commits)
    checked = output(capsys, "wal", "commits", wal, "--check")
    assert checked == f"OK - {len(commits)} commits\n"
    first = next(iter(open_wal(wal)))
    stop_at = str(next(record.lsn for record in open_wal(wal) if record.lsn > first.lsn))
    assert output(capsys, "wal", "records", wal, "--stop-at", stop_at) == f"{first}\n"
    by_relation = open_wal(wal).stats(by=WalBy.RELATION)
    assert output(capsys, "wal", "stats", wal, "--by", "relation") == f"{by_relation}\n"
    wrong = output(capsys, "wal", "stats", wal, "--by", "table", status=3)
    assert wrong.startswith("pgreplkit: by must be one of kind, ")
    other = output(capsys, "wal", "commits", wal, "--timeline", "9", status=3)
    assert "WAL of timeline 9" in other
    assert output(capsys, "wal", "stats", wal, "--check", status=0).startswith("OK - ")


def test_an_archive_is_checked(capsys: Output, wal: str, tmp_path: Path) -> None:
    report = scan_archive(wal)
    assert json.loads(output(capsys, "archive", wal, "--json")) == report.to_dict()
    assert output(capsys, "archive", str(tmp_path), "--check", status=3).startswith("UNKNOWN - ")


def test_the_version_is_printed(capsys: Output) -> None:
    with pytest.raises(SystemExit) as caught:
        command.main(["--version"])
    assert (caught.value.code, capsys.readouterr().out) == (0, f"pgreplkit {__version__}\n")


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
    assert output(capsys, "lsn", "x", "--debug", status=3).startswith("Traceback")
    assert output(capsys, "wal", "stats", missing, "--start", "zz", status=3).startswith(
        "pgreplkit: not a valid LSN: 'zz'"
    )
    assert "not a valid LSN" in output(capsys, "lsn", "٣", status=3)  # a digit, but of no server
    with pytest.raises(SystemExit) as caught:
        command.main(["lag"])
    assert (caught.value.code, capsys.readouterr().err.count("\n")) == (3, 1)


def test_thresholds_have_names_where_there_are_several(capsys: Output, wal: str) -> None:
    limits = ["--warning", " gaps = 5 ", "--critical", "files=1000:"]
    checked = output(capsys, "archive", wal, "--check", *limits, status=2)
    assert "files=" in checked
    assert "the threshold is 1000:" in checked
    # Without the check nothing would look at them.
    assert output(capsys, "archive", wal, "--critical", "@0", status=2).startswith("CRITICAL - ")


def test_every_error_of_a_check_is_its_output(capsys: Output, wal: str, tmp_path: Path) -> None:
    wrong = ["--warning", "5", "--warning", "6"]
    printed = output(capsys, "archive", wal, "--check", *wrong, status=3)
    assert printed.startswith("UNKNOWN - several thresholds need names")
    unknown = output(capsys, "archive", wal, "--check", "--json", "--warning", "x=5", status=3)
    assert json.loads(unknown)["message"].startswith("unknown numbers: x")
    down = f"host={tmp_path} connect_timeout=1"
    # The thresholds cannot be applied to an error.
    assert output(capsys, "slots", down, *wrong, status=2).startswith("CRITICAL - could not ")
    assert output(capsys, "lag", down, "--watch", "--check", status=3).startswith("UNKNOWN - --wa")


def test_a_server_that_is_down_is_reported_once(capsys: Output, tmp_path: Path) -> None:
    assert command.main(["lag", f"host={tmp_path} connect_timeout=1"]) == 0
    printed, errors = capsys.readouterr()
    # A long path is wrapped.
    assert ("no answer (could not connect" in " ".join(printed.split()), errors) == (True, "")


def test_a_reader_that_ends_early_ends_the_command(wal: str) -> None:
    line = f"{sys.executable} -m pgreplkit wal records {wal} | head -1"
    run = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True)
    assert (run.stdout.count("\n"), run.stderr) == (1, "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("option", "has_error"), [("--check", False), ("--check", True), ("--json", False)]
)
def test_an_output_that_cannot_be_written_is_an_error(
    wal: str, tmp_path: Path, option: str, has_error: bool, unbuffered: str
) -> None:
    # A check writes its errors there, too.
    folder = str(tmp_path) if has_error else wal
    command = [sys.executable, "-m", "pgreplkit", "archive", folder, option]
    env = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("w") as full:
        run = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=env
        )
    # 1 would be a warning.
    assert (run.returncode, run.stderr) == (3, "pgreplkit: [Errno 28] No space left on device\n")


def test_an_interrupt_ends_the_command_at_once_without_an_exit_status() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        # Without an end of its own before that of the test.
        conninfo = f"host=127.0.0.1 port={silent.getsockname()[1]} connect_timeout=300"
        arguments = [sys.executable, "-m", "pgreplkit", "lag", "--check", conninfo]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
            connection, _ = silent.accept()
            with connection:
                run.send_signal(signal.SIGINT)
                assert run.communicate(timeout=60) == (b"", b"")
    # A shell script that runs it ends too, and no check is OK.
    assert run.returncode == -signal.SIGINT


def test_characters_that_the_terminal_lacks_are_escaped(wal: str, tmp_path: Path) -> None:
    folder = tmp_path / "→"
    folder.symlink_to(wal)
    run = subprocess.run(
        [sys.executable, "-m", "pgreplkit", "archive", str(folder)],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=True,
    )
    assert b"/\\u2192 (" in run.stdout


def cpu(*arguments: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    subprocess.run([sys.executable, *arguments], check=True, stdout=-3, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.alone
def test_a_position_costs_little_more_than_python_itself() -> None:
    command = ["-m", "pgreplkit", "lsn", "0/5"]
    assert cpu(*command) > 0  # compiles the modules
    bare = min(cpu("-c", "pass") for _ in range(4))
    assert min(cpu(*command) for _ in range(4)) - bare <= 0.060
