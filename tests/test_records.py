"""The laws of all public rows and reports: JSON, text, HTML and records for data frames."""

from __future__ import annotations

import json
import typing
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID

import attrs
import cattrs.preconf.json
from htmlchecks import words_of
from instances import VARIANTS, Builder, public_classes, public_records

from pgreplkit import register_cattrs
from pgreplkit.catalog.cluster.repmgr import RepmgrNode
from pgreplkit.values.flat import to_records
from pgreplkit.values.record import Record, asdict
from pgreplkit.values.rows import Rows

CELLS = (bool, int, float, str, bytes, Decimal, date, timedelta, UUID, list)
"""The types that a record for a data frame may have; datetime is a date."""
SOURCE_TEXTS = {
    *("CheckResult", "MeshSetup", "PerformanceValue", "HbaRule", "SetupStatements"),
    *("StandbyConfig", "Table"),
}
"""``str()`` of these is a text for a program, whose lines cannot be wrapped."""


@cache
def instances() -> list[Record]:
    """Instances of every class: complete, as empty as possible, and with hostile texts."""
    return [Builder(variant).build(cls) for cls in public_records() for variant in VARIANTS]


VALUES = {
    *("BackupHistoryFileName", "CompressedWalName", "PartialWalFileName", "SegmentSize"),
    *("FeedPosition", "ShardMap"),
    *("SyncStandbyNames", "TableName", "TimelineHistory", "TimelineHistoryFileName"),
    *("Threshold", "TimelineSwitch", "WalFileName"),
}
"""Values have a text that can be parsed."""
NOT_REBUILT = {
    *("BackupChunk", "ManifestChunk", "Message", "PageImage", "Payload", "SlotChange", "WalChunk"),
    *("PlanResult", "StepProgress", "StepResult"),
    *("Delete", "Insert", "Truncate", "Update", "WalBlock", "WalCommit"),
    *("ArchiveReport", "RepmgrNode", "StandbyConfig"),
    *("PatroniMember", "PatroniStatus"),
    *("ClusterNode", "NodeSample", "Topology", "WatchSample", "WatchSamples"),
}
"""Rows with binary data, steps, tables of changes, hidden or untyped fields, or errors."""
CHOICES = {
    *("ApplyRemote", "DeltaColumns", "KeepLocal", "LastUpdateWins", "Membership", "MergeWith"),
    *("NodePriority", "TableRule"),
}
"""Choices of the caller, which can contain functions."""
PASSED_ON = {"FeedBatch", "FeedChange", "FeedMessage"}
"""Made for each change, and as cheap as possible."""


def properties_of(cls: type) -> set[str]:
    return {name for name in dir(cls) if isinstance(getattr(cls, name), property)}


def test_there_are_rows_and_reports_of_all_subjects() -> None:
    names = {type(record).__name__ for record in instances()}
    assert {"WalSender", "SlotState", "Readiness", "Topology", "WatchSamples", "Insert"} <= names
    assert len(names) > 90


def test_every_public_attrs_class_is_a_value_a_choice_or_a_record() -> None:
    others = {cls.__name__ for cls in public_classes() if not issubclass(cls, Record)}
    assert others == VALUES | CHOICES | PASSED_ON


def test_the_annotations_of_every_class_resolve() -> None:
    for cls in public_classes():
        fields = attrs.fields(typing.cast(Any, cls))
        assert typing.get_type_hints(cls).keys() >= {field.name for field in fields}
        assert not [field.name for field in fields if isinstance(field.type, str)], cls


def test_to_dict_has_json_types_only() -> None:
    for record in instances():
        content = record.to_dict()
        assert json.loads(json.dumps(content, allow_nan=False)) == content


def test_all_fields_and_properties_are_in_every_form() -> None:
    for record in instances():
        cls = type(record)
        names = properties_of(cls)
        names |= {field.name for field in attrs.fields(typing.cast(Any, cls)) if field.repr}
        names = {name for name in names if not name.startswith("_")} - {*cls._left_out}
        assert asdict(record).keys() == names
        if cls.to_dict is Record.to_dict:
            assert record.to_dict().keys() == names | ({"kind"} if cls._has_kind else set()), cls


def test_text_has_readable_lines_of_at_most_100_columns() -> None:
    for record in instances():
        if type(record).__name__ in SOURCE_TEXTS or record._is_named:
            continue
        for text in (str(record), str(Rows([record, record]))):
            for line in text.split("\n"):
                assert len(line) <= 100, text
                assert line.isprintable(), text
                assert line == line.rstrip(), text
                assert line or not text, text


def test_html_is_well_formed_and_escapes_what_servers_send() -> None:
    for record in instances():
        words_of(record._repr_html_())
        words_of(Rows([record, record])._repr_html_())


def test_records_for_data_frames_have_plain_values_and_equal_keys() -> None:
    for cls in public_records():
        records = to_records(record for record in instances() if type(record) is cls)
        assert len({tuple(record) for record in records}) == 1, cls
        for value in (value for record in records for value in record.values()):
            assert value is None or type(value) in CELLS or isinstance(value, datetime), cls


def test_a_column_of_a_data_frame_has_one_type_however_empty_the_rows_are() -> None:
    for cls in public_records():
        kinds: dict[str, set[type]] = {}
        # One call for each, because a call looks at its own rows only.
        for record in instances():
            if type(record) is cls:
                for name, value in to_records([record])[0].items():
                    kinds.setdefault(name, set()).add(type(value))
        mixed = {name: found for name, found in kinds.items() if len(found - {type(None)}) > 1}
        assert mixed == {}, cls


def test_cattrs_rebuilds_rows_from_to_dict() -> None:
    converter = cattrs.preconf.json.make_converter()
    register_cattrs(converter)
    rebuilt = [cls for cls in public_records() if cls.__name__ not in NOT_REBUILT]
    assert len(rebuilt) > 100
    for record in instances():
        cls = type(record)
        if cls in rebuilt:
            assert converter.structure(record.to_dict(), cls) == record


def test_a_changed_copy_of_a_row_has_the_same_other_values() -> None:
    for record in instances():
        assert attrs.evolve(typing.cast(Any, record)) == record


def test_a_field_that_the_repr_hides_is_in_no_form() -> None:
    node = attrs.evolve(Builder("full").build(RepmgrNode), conninfo="password=secret")
    forms = [str(node), node._repr_html_(), json.dumps(node.to_dict()), str(to_records([node]))]
    assert not [form for form in forms if "secret" in form]
