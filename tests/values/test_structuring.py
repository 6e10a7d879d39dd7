"""Value types in cattrs converters."""

from __future__ import annotations

import json
import typing
from typing import Any

import attrs
import cattrs
import cattrs.preconf.json
import pytest
from hypothesis import given, strategies as st
from instances import VARIANTS, Builder, public_records
from modelfields import FIELDS, every_kind, few

from pgreplkit import (
    LSN,
    SegmentSize,
    SystemIdentity,
    TableName,
    TimelineHistoryFileName,
    WalFileName,
    WalName,
    register_cattrs,
)
from pgreplkit.values.record import Record


@attrs.frozen
class Note:
    table: TableName
    lsn: LSN
    seen: list[WalName]


@every_kind
@few
@given(data=st.data())
def test_cattrs_reads_the_json_that_it_writes(kind: type, data: st.DataObject) -> None:
    value, converter = data.draw(FIELDS[kind]), cattrs.Converter()
    register_cattrs(converter)
    assert converter.structure(json.loads(json.dumps(converter.unstructure(value))), kind) == value


def test_cattrs_reads_classes_that_have_values_as_fields() -> None:
    converter = cattrs.Converter()
    register_cattrs(converter, segment_size=64 << 20)
    names: list[WalName] = [WalFileName(1, 5, SegmentSize(64 << 20)), TimelineHistoryFileName(2)]
    note = Note(TableName("public", "Users"), LSN("0/1"), names)
    written = converter.unstructure(note)
    assert written == {
        "table": 'public."Users"',
        "lsn": "0/1",
        "seen": ["000000010000000000000005", "00000002.history"],
    }
    assert converter.structure(written, Note) == note
    identity = SystemIdentity(5, 1, LSN(7))
    assert converter.structure(converter.unstructure(identity), SystemIdentity) == identity


@attrs.frozen
class Secret(Record):
    host: str
    lsn: LSN
    password: str = attrs.field(repr=False)


def test_cattrs_writes_no_field_that_may_hold_a_password() -> None:
    for converter in (cattrs.Converter(), cattrs.preconf.json.make_converter()):
        register_cattrs(converter)
        written = converter.unstructure({"seen": [Secret("db1", LSN("0/1"), "hidden-word")]})
        assert written == {"seen": [{"host": "db1", "lsn": "0/1"}]}


@pytest.mark.parametrize("variant", VARIANTS)
def test_cattrs_writes_of_every_record_the_fields_that_are_shown(variant: str) -> None:
    converter = cattrs.Converter()
    register_cattrs(converter)
    for cls in public_records():
        shown = {field.name for field in attrs.fields(typing.cast(Any, cls)) if field.repr}
        assert converter.unstructure(Builder(variant).build(cls)).keys() == shown, cls


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [(LSN, 5), (LSN, b"0/1"), (SegmentSize, True), (SegmentSize, 1.5), (WalFileName, None)],
)
def test_cattrs_refuses_a_value_of_another_type(kind: type, wrong: object) -> None:
    converter = cattrs.Converter()
    register_cattrs(converter)
    with pytest.raises(TypeError):
        converter.structure(wrong, kind)
