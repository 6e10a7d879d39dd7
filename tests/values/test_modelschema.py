"""Value types in pydantic models."""

from __future__ import annotations

import json
from functools import cache
from importlib import import_module

import attrs
import pytest
from fastapi import FastAPI
from hypothesis import given, strategies as st
from instances import VARIANTS, Builder, public_records
from modelfields import FIELDS, every_kind, few
from pydantic import BaseModel, TypeAdapter, ValidationError

from pgreplkit import (
    LSN,
    SegmentSize,
    TimelineHistory,
    TimelineHistoryFileName,
    WalFileName,
    WalName,
    WalRange,
)
from pgreplkit._public import HOME
from pgreplkit.changes import Row, Update
from pgreplkit.rows import Rows, SlotState, WalRetention, WalSender
from pgreplkit.values.record import Record
from pgreplkit.wal import WalFileOffset


@cache
def adapter_of(kind: type) -> TypeAdapter[object]:
    return TypeAdapter(kind)


class Event(BaseModel):
    lsn: LSN
    file: WalName
    segment_size: SegmentSize = SegmentSize.DEFAULT
    history: TimelineHistory | None = None


@attrs.frozen
class Secret(Record):
    host: str
    password: str = attrs.field(repr=False)


@every_kind
@few
@given(data=st.data())
def test_pydantic_reads_the_json_that_it_writes(kind: type, data: st.DataObject) -> None:
    adapter, value = adapter_of(kind), data.draw(FIELDS[kind])
    assert adapter.validate_json(adapter.dump_json(value)) == value
    assert adapter.validate_python(adapter.dump_python(value, mode="json")) == value
    assert adapter.validate_python(value) is adapter.dump_python(value) is value


@every_kind
def test_pydantic_has_a_json_schema_for_reading_and_writing(kind: type) -> None:
    adapter = adapter_of(kind)
    schema = adapter.json_schema(mode="validation")
    written = adapter.json_schema(mode="serialization")
    # Records are written with their computed properties.
    assert schema == written or issubclass(kind, Record)
    assert schema["title"] == kind.__name__
    assert schema["type"] in ("string", "integer", "object")
    for example in schema.get("examples", ()):
        assert json.loads(adapter.dump_json(adapter.validate_python(example))) == example


def test_a_pydantic_model_has_lsns_and_names_as_text() -> None:
    event = Event(lsn=LSN("16/B374D848"), file=TimelineHistoryFileName(2))
    written = event.model_dump_json(exclude_none=True)
    assert json.loads(written) == {
        "lsn": "16/B374D848",
        "file": "00000002.history",
        "segment_size": 16777216,
    }
    assert Event.model_validate_json(written) == event
    assert event.model_dump()["lsn"] is event.lsn


@pytest.mark.parametrize(
    ("field", "wrong", "reason"),
    [
        ("lsn", "16", "it contains no '/'"),
        ("lsn", 5, "valid string"),
        ("lsn", b"12345678", "it contains no '/'"),
        ("segment_size", 5, "not between 1 MiB and 1 GiB"),
        ("segment_size", True, "valid integer"),
        ("segment_size", "5 MB", "not a power of two"),
        ("history", {"timeline": 0}, "not above its ancestors"),
        ("history", {}, "Field required"),
    ],
)
def test_pydantic_refuses_a_wrong_value_with_our_reason(
    field: str, wrong: object, reason: str
) -> None:
    right = {"lsn": "0/1", "file": "00000002.history"}
    with pytest.raises(ValidationError, match=reason) as refused:
        Event.model_validate({**right, field: wrong})
    assert refused.value.error_count() == 1


def test_pydantic_knows_the_named_tuples_of_the_wal_functions() -> None:
    offset = WalFileOffset(WalFileName(1, 5), 7)
    adapter = TypeAdapter(WalFileOffset)
    assert adapter.validate_json(adapter.dump_json(offset)) == offset


def test_pydantic_reads_a_segment_size_as_the_server_shows_it() -> None:
    assert TypeAdapter(SegmentSize).validate_python("64MB") == SegmentSize(64 << 20)


def test_pydantic_writes_the_computed_properties_of_a_report_but_no_hidden_field() -> None:
    wal = WalRange(LSN("0/1"), LSN("0/5"))
    assert TypeAdapter(WalRange).dump_python(wal, mode="json") == {
        "start": "0/1",
        "end": "0/5",
        "size": 4,
    }
    assert TypeAdapter(Secret).dump_json(Secret("db1", "pw")) == b'{"host":"db1"}'


@attrs.frozen
class Sent(Record):
    data: bytes
    key: str | bytes | None = None


@pytest.mark.parametrize(
    "sent", [Sent(b"\x00\xff"), Sent(b"\\x00", b"\xfe"), Sent(b"", ""), Sent(b"a", "\\x00")]
)
def test_pydantic_writes_bytes_as_to_dict_does_and_reads_them(sent: Sent) -> None:
    adapter = TypeAdapter(Sent)
    text = adapter.dump_json(sent)
    assert json.loads(text) == sent.to_dict()
    assert adapter.validate_json(text).data == sent.data
    with pytest.raises(ValidationError):
        adapter.validate_json(r'{"data": "\\x0g"}')


@pytest.mark.parametrize("variant", VARIANTS)
def test_pydantic_writes_the_keys_of_to_dict(variant: str) -> None:
    for cls in public_records():
        if cls.to_dict is Record.to_dict:
            record = Builder(variant).build(cls)
            assert json.loads(TypeAdapter(cls).dump_json(record)).keys() == record.to_dict().keys()


def test_pydantic_writes_a_row_of_a_stream_as_to_dict_does() -> None:
    change = Builder("full").build(Update)
    written = json.loads(adapter_of(Update).dump_json(change))
    assert (written["old"], written["new"]) == (change.old.to_dict(), change.new.to_dict())
    assert TypeAdapter(list[Update[Row]]).validate_python([change])[0] is change
    read = TypeAdapter(Update[Row]).validate_python(written)
    assert (read.lsn, dict(read.new)) == (change.lsn, change.new.to_dict())


def test_every_public_record_has_json_schemas() -> None:
    for public, names in HOME.items():
        for name in names:
            kind = getattr(import_module(public), name)
            if isinstance(kind, type) and issubclass(kind, Record) and kind is not Record:
                assert TypeAdapter(kind).json_schema(mode="serialization")["title"] == name


def test_json_schemas_refer_to_rows_and_reports_by_name() -> None:
    app = FastAPI()

    @app.get("/standbys")
    def standbys() -> list[WalSender]:
        return []

    @app.get("/retention")
    def retention() -> WalRetention:
        raise NotImplementedError

    schema = app.openapi()
    components = schema["components"]["schemas"]
    assert {"WalSender", "WalRetention", "WalHolder"} <= components.keys()
    content = schema["paths"]["/standbys"]["get"]["responses"]["200"]["content"]
    ref = content["application/json"]["schema"]["items"]
    assert ref == {"$ref": "#/components/schemas/WalSender"}
    holders = components["WalRetention"]["properties"]["holders"]
    assert holders["items"] == {"$ref": "#/components/schemas/WalHolder"}


@pytest.mark.parametrize("variant", VARIANTS)
def test_pydantic_reads_and_writes_rows_as_a_list(variant: str) -> None:
    slot = Builder(variant).build(SlotState)
    adapter = TypeAdapter(Rows[SlotState])
    written = adapter.dump_json(Rows([slot]))
    assert json.loads(written)[0].keys() == slot.to_dict().keys()
    assert type(adapter.validate_json(b"[]")) is Rows
    assert adapter.validate_python(Rows([slot])) == Rows([slot])
    assert adapter.json_schema()["items"] == {"$ref": "#/$defs/SlotState"}
    assert TypeAdapter(Rows).validate_python([1, "a"]) == Rows([1, "a"])
    with pytest.raises(ValidationError):
        adapter.validate_python([1])
