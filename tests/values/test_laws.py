"""Laws of all value types."""

import copy
import datetime
import json
import pickle
from collections.abc import Callable
from importlib import import_module
from itertools import permutations
from operator import ge, gt, le, lt
from typing import Protocol, Self

import attrs
import pytest
from hypothesis import given, settings, strategies as st

from pgreplkit import (
    LSN,
    BackupHistoryFileName,
    CompressedWalName,
    ControlFile,
    PartialWalFileName,
    SegmentSize,
    ServerVersion,
    ShardMap,
    SyncMethod,
    SyncStandbyNames,
    SystemIdentity,
    TableName,
    TimelineHistory,
    TimelineHistoryFileName,
    TimelineSection,
    TimelineSwitch,
    WalFileName,
    WalRange,
)
from pgreplkit._public import HOME
from pgreplkit.backups import BackupLabel, BackupManifest, ManifestFile, ManifestWalRange
from pgreplkit.checks import Threshold
from pgreplkit.rows import ControlState, EffectiveAfter, Finding, Record, Rows, Severity
from pgreplkit.testing import strategies as ours
from pgreplkit.wal import SplitWalFileName, WalFileOffset

texts = st.text(max_size=8)
counts = st.integers(0, (1 << 64) - 1)
table_words = st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=8)
switches = st.builds(TimelineSwitch, ours.timelines(), ours.lsns(), st.just("no recovery target"))
sections = st.builds(TimelineSection, ours.timelines(), ours.lsns(), st.none() | ours.lsns())
labels = st.builds(
    BackupLabel,
    start_lsn=ours.lsns(),
    start_wal_file=ours.wal_file_names(),
    checkpoint_lsn=ours.lsns(),
    label=st.none() | texts,
    stop_lsn=st.none() | ours.lsns(),
)
manifest_files = st.builds(
    ManifestFile,
    path=texts | st.binary(max_size=8),
    size=counts,
    last_modified=st.datetimes(timezones=st.just(datetime.UTC)),
    checksum=st.none() | texts,
)
manifest_ranges = st.builds(ManifestWalRange, ours.timelines(), ours.wal_ranges())
manifests = st.builds(
    BackupManifest,
    version=st.just(2),
    files=st.lists(manifest_files, max_size=2).map(tuple),
    wal_ranges=st.lists(manifest_ranges, max_size=2).map(tuple),
    checksum=texts,
    system_id=st.none() | counts,
)
compressed = st.builds(
    CompressedWalName,
    ours.wal_file_names() | ours.partial_wal_file_names(),
    st.sampled_from(("gz", "lz4", "zst", "bz2", "xz")),
)

findings = st.builds(
    Finding,
    check=texts,
    severity=st.sampled_from(Severity),
    found=texts,
    needed=texts,
    remedy=texts,
    effective_after=st.sampled_from(EffectiveAfter),
)
control_files = st.builds(
    ControlFile,
    system_id=counts,
    state=st.sampled_from(ControlState),
    checkpoint_lsn=ours.lsns(),
    timeline=ours.timelines(),
    min_recovery_lsn=ours.lsns(),
    min_recovery_timeline=ours.timelines(),
    wal_log_hints=st.booleans(),
    data_checksums=st.booleans(),
)
KINDS: dict[type, st.SearchStrategy[object]] = {
    LSN: ours.lsns(),
    SegmentSize: ours.segment_sizes(),
    WalFileName: ours.wal_file_names(),
    PartialWalFileName: ours.partial_wal_file_names(),
    BackupHistoryFileName: ours.backup_history_file_names(),
    TimelineHistoryFileName: ours.timeline_history_file_names(),
    CompressedWalName: compressed,
    WalRange: ours.wal_ranges(),
    TimelineSwitch: switches,
    TimelineSection: sections,
    TimelineHistory: ours.timeline_histories(),
    SystemIdentity: ours.system_identities(),
    SyncStandbyNames: ours.sync_standby_names(),
    SyncMethod: st.builds(SyncMethod, st.sampled_from(SyncMethod) | texts),
    BackupLabel: labels,
    ManifestFile: manifest_files,
    ManifestWalRange: manifest_ranges,
    BackupManifest: manifests,
    WalFileOffset: st.builds(WalFileOffset, ours.wal_file_names(), counts),
    SplitWalFileName: st.builds(SplitWalFileName, counts, ours.timelines()),
    Severity: st.builds(Severity, st.sampled_from(Severity) | texts),
    EffectiveAfter: st.builds(EffectiveAfter, st.sampled_from(EffectiveAfter) | texts),
    Finding: findings,
    ControlState: st.builds(ControlState, st.sampled_from(ControlState) | texts),
    ControlFile: control_files,
    ShardMap: st.builds(ShardMap, st.integers(1, 100), modular=st.just(True)),
    Threshold: st.builds(Threshold, counts.map(float)),
    TableName: st.builds(TableName, table_words, table_words),
}
# json and comparisons know tuples and str themselves.
TUPLES = {WalFileOffset, SplitWalFileName}
WORDS = {SyncMethod, Severity, EffectiveAfter, ControlState}
ORDERED = [LSN, SegmentSize, WalFileName, TableName]
UNORDERED = sorted(KINDS.keys() - TUPLES - WORDS - {*ORDERED}, key=lambda kind: kind.__name__)
STRANGERS: tuple[object, ...] = (
    *(LSN(5), SegmentSize.DEFAULT, WalFileName(1, 5), PartialWalFileName(WalFileName(1, 5))),
    *(TimelineHistoryFileName(5), WalRange(LSN(5), LSN(6)), TimelineHistory(5)),
    *(None, 5, 5.0, "0/5", "000000010000000000000005", object()),
)
NAMES = {kind.__name__: kind for kind in KINDS} | {"datetime": datetime}


class Comparable(Protocol):
    def __lt__(self, other: Self) -> bool: ...
    def __le__(self, other: Self) -> bool: ...
    def __gt__(self, other: Self) -> bool: ...
    def __ge__(self, other: Self) -> bool: ...


Comparison = Callable[[object, object], bool]
COMPARISONS: list[Comparison] = [lt, le, gt, ge]  # type: ignore[list-item]


def named(kind: type) -> str:
    return kind.__name__


every_kind = pytest.mark.parametrize("kind", KINDS, ids=named)
every_kind_but_words = pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind not in WORDS], ids=named
)
few = settings(max_examples=settings().max_examples // 5)


def test_every_public_value_type_is_among_the_kinds() -> None:
    public = {
        getattr(import_module(module), name)
        for module, homes in HOME.items()
        for name, home in homes.items()
        if home.startswith("values.")
    }
    # Versions and lists can be changed; test_version.py has the laws of versions. Record is a base.
    kinds = {kind for kind in public if isinstance(kind, type)} - {ServerVersion, Rows, Record}
    assert kinds == KINDS.keys()


# The standard library's enums let attributes be added.
@every_kind_but_words
@few
@given(data=st.data())
def test_values_are_immutable(kind: type, data: st.DataObject) -> None:
    value = data.draw(KINDS[kind])
    before = copy.deepcopy(value)
    for name in [name for name in dir(value) if not name.startswith("__")] + ["novel"]:
        with pytest.raises(AttributeError):
            setattr(value, name, 5)
        with pytest.raises(AttributeError):
            delattr(value, name)
    assert value == before


@every_kind
@few
@given(data=st.data())
def test_copies_and_pickles_are_equal_and_hash_alike(kind: type, data: st.DataObject) -> None:
    value = data.draw(KINDS[kind])
    pickled = [
        pickle.loads(pickle.dumps(value, protocol))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    ]
    for twin in (copy.copy(value), copy.deepcopy(value), *pickled):
        assert type(twin) is kind
        assert twin == value
        assert (twin != value) is False
        assert hash(twin) == hash(value)
        assert {value: "found"}[twin] == "found"
        assert len({twin, value}) == 1


@every_kind
@few
@given(data=st.data())
def test_pickles_refer_to_the_public_module(kind: type, data: st.DataObject) -> None:
    assert kind.__module__ in HOME
    assert b"pgreplkit.values" not in pickle.dumps(data.draw(KINDS[kind]))


@every_kind
@few
@given(data=st.data())
def test_the_repr_evaluates_to_the_value(kind: type, data: st.DataObject) -> None:
    value = data.draw(KINDS[kind])
    assert eval(repr(value), dict(NAMES)) == value


@every_kind_but_words
@few
@given(data=st.data())
def test_a_value_differs_from_objects_of_other_types(kind: type, data: st.DataObject) -> None:
    value = data.draw(KINDS[kind])
    for stranger in STRANGERS:
        assert value != stranger or type(stranger) is kind
        assert stranger != value or type(stranger) is kind


@every_kind
@few
@given(data=st.data())
def test_a_value_is_written_to_json_as_its_text(kind: type, data: st.DataObject) -> None:
    value = data.draw(KINDS[kind])
    shown = json.loads(json.dumps(value, default=str))
    if kind in TUPLES:
        assert isinstance(value, tuple)
        assert shown == json.loads(json.dumps(list(value), default=str))
    else:
        assert shown == str(value)


def taken_apart(value: object) -> object:
    """Build ``value`` again from the parts that a class pattern matches."""
    match value:
        case LSN():
            return LSN.from_bytes(value.to_bytes())
        case SegmentSize(size):
            return SegmentSize(size)
        case WalFileName(timeline, number, segment_size):
            return WalFileName(timeline, number, segment_size)
        case PartialWalFileName(wal_file, compression):
            return PartialWalFileName(wal_file, compression)
        case BackupHistoryFileName(wal_file, offset):
            return BackupHistoryFileName(wal_file, offset)
        case TimelineHistoryFileName(timeline):
            return TimelineHistoryFileName(timeline)
        case CompressedWalName(name, compression):
            return CompressedWalName(name, compression)
        case WalRange(start, end):
            return WalRange(start, end)
        case TimelineSwitch(timeline, switchpoint, reason):
            return TimelineSwitch(timeline, switchpoint, reason)
        case TimelineSection(timeline, start, section_end):
            return TimelineSection(timeline, start, section_end)
        case TimelineHistory(timeline, path):
            return TimelineHistory(timeline, path)
        case SystemIdentity(system_id, timeline, position, database):
            return SystemIdentity(system_id, timeline, position, database)
        case SyncStandbyNames(names, count, method):
            return SyncStandbyNames(names, count, method)
        case ManifestWalRange(timeline, wal):
            return ManifestWalRange(timeline, wal)
        case WalFileOffset(file_name, offset):
            return WalFileOffset(file_name, offset)
        case ShardMap(shards):
            return ShardMap(shards, modular=True)
        case Threshold(start, threshold_end, inside):
            return Threshold(start, threshold_end, inside)
        case TableName(schema, name):
            return TableName(schema, name)
        case SplitWalFileName(number, timeline):
            return SplitWalFileName(number, timeline)
        case ControlFile(state=state, checkpoint_lsn=checkpoint_lsn):
            return attrs.evolve(value, state=state, checkpoint_lsn=checkpoint_lsn)
        case Finding(check=check, severity=severity, found=found):
            return attrs.evolve(value, check=check, severity=severity, found=found)
        case BackupLabel(start_lsn=lsn) | ManifestFile(size=lsn) | BackupManifest(version=lsn):
            return value if lsn is not None else None
    return None


@every_kind_but_words
@few
@given(data=st.data())
def test_a_class_pattern_matches_the_parts_of_a_value(kind: type, data: st.DataObject) -> None:
    value = data.draw(KINDS[kind])
    assert taken_apart(value) == value


@pytest.mark.parametrize("kind", ORDERED, ids=named)
@given(data=st.data())
def test_the_order_is_total(kind: type, data: st.DataObject) -> None:
    values: list[Comparable] = data.draw(st.lists(KINDS[kind], min_size=3, max_size=3))  # type: ignore[arg-type]
    for a, b, c in permutations(values):
        assert (a < b) + (a == b) + (a > b) == 1
        assert (a <= b, a >= b) == (not a > b, not a < b)
        assert not (a < b and b < c) or a < c
        assert (a < b) == (b > a)


@pytest.mark.parametrize("kind", ORDERED, ids=named)
@pytest.mark.parametrize("compare", COMPARISONS)
@few
@given(data=st.data())
def test_values_do_not_compare_with_other_types(
    kind: type, compare: Comparison, data: st.DataObject
) -> None:
    value = data.draw(KINDS[kind])
    for stranger in STRANGERS:
        if type(stranger) is not kind:
            with pytest.raises(TypeError):
                compare(value, stranger)
            with pytest.raises(TypeError):
                compare(stranger, value)


@pytest.mark.parametrize("kind", UNORDERED, ids=named)
@given(data=st.data())
@few
def test_unordered_values_do_not_compare(kind: type, data: st.DataObject) -> None:
    value = data.draw(KINDS[kind])
    for compare in COMPARISONS:
        with pytest.raises(TypeError):
            compare(value, value)
