"""BackupLabel: each line of the file, and labels that hold anything."""

import pytest
from hypothesis import example, given, strategies as st
from values.samples import BACKUP_HISTORY, BACKUP_LABEL

from pgreplkit import LSN, SegmentSize, WalFileName
from pgreplkit.backups import BackupLabel
from pgreplkit.errors import InvalidBackupLabel

SEGMENT = WalFileName.parse("000000010000000000000002")
START = BackupLabel(
    start_lsn=LSN("0/2000060"),
    start_wal_file=SEGMENT,
    checkpoint_lsn=LSN("0/2000098"),
    backup_method="streamed",
    backup_from="primary",
    start_time="2026-11-23 20:49:31 UTC",
    label="nightly",
    start_timeline=1,
)


def without(text: str, key: str) -> str:
    return "".join(f"{line}\n" for line in text.splitlines() if not line.startswith(key))


def test_every_line_of_a_label_is_read() -> None:
    assert BackupLabel.parse(BACKUP_LABEL) == START


def test_the_lines_of_a_finished_backup_are_read() -> None:
    label = BackupLabel.parse(BACKUP_HISTORY)
    assert (label.stop_lsn, label.stop_wal_file) == (LSN("0/2000138"), SEGMENT)
    assert (label.stop_time, label.stop_timeline) == ("2026-11-23 20:49:35 UTC", 1)
    assert label.backup_from == "standby"


def test_the_lines_of_an_incremental_backup_are_read() -> None:
    since = "INCREMENTAL FROM LSN: 0/1000028\nINCREMENTAL FROM TLI: 1\n"
    label = BackupLabel.parse(BACKUP_LABEL + since)
    assert (label.incremental_from_lsn, label.incremental_from_timeline) == (LSN("0/1000028"), 1)
    assert label.label == "nightly"


def test_the_label_of_10_has_no_timeline() -> None:
    label = BackupLabel.parse(without(BACKUP_LABEL, "START TIMELINE"))
    assert (label.label, label.start_timeline) == ("nightly", None)


def test_a_line_of_a_newer_server_is_ignored() -> None:
    assert BackupLabel.parse(BACKUP_LABEL + "PHASE OF MOON: full\n") == START


@pytest.mark.parametrize("text", [BACKUP_LABEL, BACKUP_HISTORY, BACKUP_LABEL.rstrip("\n")])
@given(label=st.text().filter(lambda text: "TIME" not in text))
@example(label="two\nlines\n\nand: more")
@example(label="x\nCHECKPOINT LOCATION: 0/0\nSTOP WAL LOCATION: 0/0\nLABEL: y")
@example(label="\n")
def test_a_label_may_hold_anything(text: str, label: str) -> None:
    plain = BackupLabel.parse(text)
    odd = BackupLabel.parse(text.replace("LABEL: nightly", f"LABEL: {label}"))
    assert odd.label == label
    assert odd.checkpoint_lsn == plain.checkpoint_lsn
    assert (odd.stop_lsn, odd.start_timeline) == (plain.stop_lsn, plain.start_timeline)


@pytest.mark.parametrize("key", ["START WAL LOCATION", "CHECKPOINT LOCATION"])
def test_the_error_names_a_missing_line(key: str) -> None:
    with pytest.raises(InvalidBackupLabel, match=f"the line '{key}' is missing"):
        BackupLabel.parse(without(BACKUP_LABEL, key))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("0/2000060 (file", "0/ (file"),
        ("0/2000060 (file", "0/2000060  (file"),
        ("(file 000000010000000000000002)", ""),
        ("000000010000000000000002", "00000001000000000000000２"),
        ("000000010000000000000002", "000000000000000000000002"),
        ("000000010000000000000002", "000000010000000000000100"),
        ("CHECKPOINT LOCATION: 0/2000098", "CHECKPOINT LOCATION: "),
        ("CHECKPOINT LOCATION: 0/2000098", "CHECKPOINT LOCATION: 0/2000098\r"),
        ("START TIMELINE: 1", "START TIMELINE: 0"),
        ("START TIMELINE: 1", "START TIMELINE: 4294967296"),
        ("START TIMELINE: 1", "START TIMELINE: １"),
        ("START TIMELINE: 1", "START TIMELINE: " + "1" * 64),
        ("STOP TIMELINE: 1", "STOP TIMELINE: x"),
        ("0/2000138", "0/200013G"),
    ],
)
def test_a_wrong_value_is_refused(right: str, wrong: str) -> None:
    assert right in BACKUP_HISTORY
    with pytest.raises(InvalidBackupLabel):
        BackupLabel.parse(BACKUP_HISTORY.replace(right, wrong))


def test_the_start_file_has_the_given_segment_size() -> None:
    size = SegmentSize(1 << 20)
    label = BackupLabel.parse(BACKUP_LABEL.replace("0002)", "0020)"), segment_size=size)
    assert label.start_lsn in label.start_wal_file


@pytest.mark.parametrize("stranger", [None, 5, BACKUP_LABEL.encode()], ids=type)
def test_only_text_is_a_label(stranger: object) -> None:
    with pytest.raises(TypeError, match=type(stranger).__name__):
        BackupLabel.parse(stranger)  # type: ignore[arg-type]
