"""BackupManifest: the checksum first, then every value of the file."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, strategies as st
from values.samples import MANIFEST, manifest_text, signed

from pgreplkit import LSN, WalRange
from pgreplkit.backups import BackupManifest, ManifestFile, ManifestWalRange
from pgreplkit.errors import InvalidBackupManifest

WRITTEN = datetime(2026, 11, 23, 20, 49, 31, tzinfo=UTC)
FILE = {"Path": "a", "Size": 1, "Last-Modified": "2026-11-23 20:49:31 GMT"}
RANGE = {"Timeline": 1, "Start-LSN": "0/1", "End-LSN": "0/2"}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def test_every_value_of_a_manifest_is_read() -> None:
    manifest = BackupManifest.parse(manifest_text())
    assert (manifest.version, manifest.system_id) == (2, 7300000000000000000)
    assert manifest.files == (
        ManifestFile(
            path="backup_label",
            size=226,
            last_modified=WRITTEN,
            checksum_algorithm="CRC32C",
            checksum="9de3f1c4",
        ),
        ManifestFile(path=b"b\xff", size=0, last_modified=WRITTEN),
    )
    assert manifest.wal_ranges == (
        ManifestWalRange(1, WalRange(LSN("0/2000060"), LSN("0/2000138"))),
    )
    assert len(manifest.checksum) == 64


def test_bytes_and_their_text_are_the_same_manifest() -> None:
    text = manifest_text(Files=[FILE | {"Path": "é"}])
    assert BackupManifest.parse(text.encode()) == BackupManifest.parse(text)


def test_the_checksum_may_be_in_capitals() -> None:
    head, last = manifest_text().rsplit(': "', 1)
    assert BackupManifest.parse(f'{head}: "{last.upper()}').version == 2


def test_before_17_there_is_no_system_identifier() -> None:
    fields = {key: value for key, value in MANIFEST.items() if key != "System-Identifier"}
    body = str(fields).replace("'", '"')[:-1] + ",\n"
    assert BackupManifest.parse(signed(body)).system_id is None


@given(st.data())
def test_the_checksum_detects_any_change(data: st.DataObject) -> None:
    text = manifest_text()
    at = data.draw(st.integers(0, text.rindex('"Manifest-Checksum"') - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda sign: sign != text[at]))
    with pytest.raises(InvalidBackupManifest):
        BackupManifest.parse(text[:at] + other + text[at + 1 :])


@given(st.integers(0, len(manifest_text()) - 3))
def test_a_truncated_manifest_is_refused(length: int) -> None:
    with pytest.raises(InvalidBackupManifest):
        BackupManifest.parse(manifest_text()[:length])


@given(
    st.sampled_from([*MANIFEST, "PostgreSQL-Backup-Manifest-Version"]), json_values, st.booleans()
)
def test_a_value_of_any_kind_is_read_or_refused(key: str, value: object, listed: bool) -> None:
    text = manifest_text(**{key: [value] if listed else value})
    try:
        reason = f"a good {BackupManifest.parse(text)}"
    except InvalidBackupManifest as refused:
        reason = refused.reason
    assert "checksum does not fit" not in reason


@given(st.sampled_from(["Path", "Encoded-Path", "Size", "Last-Modified", "Checksum"]), json_values)
def test_a_files_value_of_any_kind_is_read_or_refused(key: str, value: object) -> None:
    text = manifest_text(Files=[FILE | {key: value}])
    try:
        (file,) = BackupManifest.parse(text).files
        reason = f"a good {key} in {file}"
    except InvalidBackupManifest as refused:
        reason = refused.reason
    assert key in reason


@pytest.mark.parametrize(
    "files",
    [
        None,
        {},
        "x",
        [5],
        [[]],
        [{}],
        [FILE | {"Size": -1}],
        [FILE | {"Size": True}],
        [FILE | {"Size": 1.0}],
        [FILE | {"Size": "1"}],
        [FILE | {"Size": 1 << 64}],
        [FILE | {"Path": None}],
        [FILE | {"Encoded-Path": "6"}],
        [FILE | {"Encoded-Path": "é"}],
        [FILE | {"Last-Modified": "yesterday"}],
        [FILE | {"Last-Modified": 5}],
        [FILE | {"Last-Modified": "2026-02-30 00:00:00 GMT"}],
        [FILE | {"Checksum": 5}],
    ],
    ids=repr,
)
def test_files_that_a_server_does_not_write_are_refused(files: object) -> None:
    with pytest.raises(InvalidBackupManifest):
        BackupManifest.parse(manifest_text(Files=files))


@pytest.mark.parametrize(
    "ranges",
    [
        None,
        {},
        [5],
        [{}],
        [RANGE | {"Timeline": "1"}],
        [RANGE | {"Start-LSN": "1"}],
        [RANGE | {"End-LSN": "0/0"}],
        [RANGE | {"End-LSN": None}],
        [RANGE | {"End-LSN": "0x1/0"}],
    ],
    ids=repr,
)
def test_wal_ranges_that_a_server_does_not_write_are_refused(ranges: object) -> None:
    with pytest.raises(InvalidBackupManifest):
        BackupManifest.parse(manifest_text(WAL_Ranges=ranges))


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        "null",
        "5",
        '"x"',
        "\ufeff{}",
        "NaN",
        '{"a": "\\ud800"}',
        "\ud800",
        '{"Manifest-Checksum": 5}',
        '{"Manifest-Checksum": "\\ud800"}',
        '{"Manifest-Checksum": ""}',
        '{"Manifest\\u002dChecksum": "0"}',
        "{}\0",
        '{"Manifest-Checksum": "' + "0" * 64 + '"}',
    ],
)
def test_json_other_than_a_manifest_is_refused(body: str) -> None:
    with pytest.raises(InvalidBackupManifest):
        BackupManifest.parse(body)
    with pytest.raises(InvalidBackupManifest):
        BackupManifest.parse(body.encode("utf-16", "surrogatepass"))


def test_the_last_of_two_equal_keys_counts() -> None:
    body = manifest_text().split('"Manifest-Checksum"')[0]
    twice = body + '"PostgreSQL-Backup-Manifest-Version": 1,\n'
    assert BackupManifest.parse(signed(twice)).version == 1


@pytest.mark.parametrize("stranger", [None, 5, {}, bytearray(b"{}"), ["{}"]])
def test_only_bytes_and_text_are_a_manifest(stranger: object) -> None:
    with pytest.raises(TypeError, match=type(stranger).__name__):
        BackupManifest.parse(stranger)  # type: ignore[arg-type]
