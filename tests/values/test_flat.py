"""Flat records: their columns in pandas and polars."""

from __future__ import annotations

import pytest
from logicalfacts import slot_state
from serverfacts import LAG, NOW, REPLICAS

from pgreplkit import LSN, SystemIdentity
from pgreplkit.protocol.pgoutput.messages import Begin, Insert, Update
from pgreplkit.protocol.pgoutput.rows import UNCHANGED, named_rows
from pgreplkit.protocol.pgoutput.tables import Table
from pgreplkit.values.flat import to_records

ROW = named_rows(("id", "name"))
TABLE = Table(1, "public", "t", ())


def test_lsns_are_ints_and_a_row_within_a_row_becomes_columns() -> None:
    first, second = REPLICAS.to_records()
    assert (first["replay_lsn"], first["replay_lag"]) == (0x3000000, LAG)
    assert (first["backend_start"], first["state"]) == (NOW, "streaming")
    assert (first["lag_replay_bytes"], second["lag_replay_bytes"]) == (0x100, 0x1000100)
    assert "lag" not in first


def test_a_column_that_is_split_in_one_row_is_split_in_all() -> None:
    kept, lost = slot_state(), slot_state(restart_lsn=None)
    records = to_records([lost, kept])
    assert records[0].keys() == records[1].keys()
    assert "retained" not in records[0]
    assert (records[0]["retained_start"], records[1]["retained_start"]) == (None, 0x3000000)


def test_changes_of_several_kinds_become_one_table() -> None:
    changes = [
        Begin(LSN(9), NOW, 7),
        Insert(LSN(1), 7, TABLE, ROW((1, "a"))),
        Update(LSN(2), 7, TABLE, None, ROW((1, UNCHANGED))),
    ]
    records = to_records(changes)
    assert [record["kind"] for record in records] == ["Begin", "Insert", "Update"]
    assert [record["new_id"] for record in records] == [None, 1, 1]
    assert [record["new_name"] for record in records] == [None, "a", None]
    assert records[1]["table"] == "public.t"
    assert changes[2].to_dict()["new"] == {"id": 1}


def test_other_objects_are_refused() -> None:
    with pytest.raises(TypeError, match="takes rows, samples or changes, not int"):
        to_records([1])
    with pytest.raises(TypeError, match=r"not one SystemIdentity: pass a list$"):
        to_records(SystemIdentity(7, 1, LSN("0/0"), None))  # type: ignore[arg-type]


def test_pandas_has_typed_columns() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(to_records(REPLICAS))
    types = {name: str(frame[name].dtype) for name in ("replay_lsn", "backend_start", "replay_lag")}
    assert types["replay_lsn"] == "int64"
    assert types["backend_start"].startswith("datetime64[")
    assert types["backend_start"].endswith("UTC]")
    assert types["replay_lag"].startswith("timedelta64[")
    assert (frame.current_lsn - frame.replay_lsn).tolist() == [0x100, 0x1000100]
    assert frame.sort_values("replay_lsn").application_name.tolist() == ["b", "a"]
    assert frame.replay_lsn.map(LSN).tolist() == [LSN(0x3000000), LSN(0x2000000)]


def test_polars_has_typed_columns() -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(to_records(REPLICAS), infer_schema_length=None)
    assert frame.schema["replay_lsn"] == polars.Int64
    assert frame.schema["backend_start"] == polars.Datetime("us", "UTC")
    assert frame.schema["replay_lag"] == polars.Duration("us")
    assert (frame["current_lsn"] - frame["replay_lsn"]).to_list() == [0x100, 0x1000100]
    assert frame.sort("replay_lsn")["application_name"].to_list() == ["b", "a"]
