"""Neither an error of an applier nor its traceback or log has a value of a row."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
from clusters import Cluster
from databases import Pair, end, publishing
from tracebacks import printed

from pgreplkit.apply import Applier, MergeWith, TableRule
from pgreplkit.changes import Row
from pgreplkit.errors import ApplyError, ServerError
from pgreplkit.supervised import STUCK

pytestmark = [pytest.mark.one_colour, pytest.mark.pg(">=10")]
SECRET = "the \"secret\" of 'Ada'"
ROW = f"INSERT INTO t VALUES (1, $${SECRET}$$, 1)"
ROWS = f"INSERT INTO t SELECT i, $${SECRET}$$, i FROM generate_series(1, 3) AS i"
CHECK = "ALTER TABLE t ADD CHECK (length(name) < 3)"
TO_INT = "ALTER TABLE t ALTER name TYPE int USING NULL"
TO_QUERY = "ALTER TABLE t ALTER name TYPE tsquery USING NULL"
SAY = """CREATE FUNCTION say() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN RAISE 'refused' USING DETAIL = NEW.name; END$$"""
AT_ONCE = "CREATE TRIGGER say BEFORE INSERT ON t FOR EACH ROW EXECUTE PROCEDURE say()"
AT_THE_END = """CREATE CONSTRAINT TRIGGER say AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE PROCEDURE say()"""
ALWAYS = "ALTER TABLE t ENABLE ALWAYS TRIGGER say"


def number(row: Row) -> dict[str, object]:
    return {"n": int(str(row["name"]))}


def is_number(row: Row) -> bool:
    return bool(number(row))


def merge(local: Row, remote: Row) -> dict[str, object]:
    return number(local)


@attrs.frozen
class Refusal:
    """A row that the subscriber, or a function, refuses."""

    altered: Sequence[str] = ()
    """The statements on the subscriber."""
    row: str = ROW
    options: dict[str, Any] = attrs.field(factory=dict)
    copies: bool = True
    """Whether the row is refused as well when it is copied."""
    parks: bool = True


REFUSALS = {
    "check": Refusal([CHECK]),
    "rows": Refusal([CHECK], ROWS),
    "group": Refusal([CHECK], ROWS, {"group": 50}, copies=False),
    "unique": Refusal(["ALTER TABLE t ADD UNIQUE (name)"], ROWS),
    "deferred": Refusal([SAY, AT_THE_END, ALWAYS], ROWS),
    "integer": Refusal([TO_INT]),
    "tsquery": Refusal([TO_QUERY]),
    "merged": Refusal([TO_INT], options={"existing": "merge"}),
    "trigger": Refusal([SAY, AT_ONCE, ALWAYS]),
    "where": Refusal(options={"tables": {"t": TableRule(where=is_number)}}, parks=False),
    "change": Refusal(options={"tables": {"t": TableRule(change=number)}}, parks=False),
    "changed": Refusal([CHECK], options={"tables": {"t": TableRule(change=lambda row: {"n": 5})}}),
    "merge": Refusal(
        [f"INSERT INTO t VALUES (1, $${SECRET}$$, 2)"],
        options={"conflicts": MergeWith(merge)},
        copies=False,
        parks=False,
    ),
}


@pytest.fixture
def two(cluster: Cluster) -> Iterator[Pair]:
    with publishing(
        cluster.primary, "CREATE TABLE t (id int PRIMARY KEY, name text, n int)"
    ) as pair:
        pair.publisher.run("ALTER TABLE t REPLICA IDENTITY FULL")
        yield pair


def applier(pair: Pair, name: str = "one", **options: Any) -> Applier:
    options = {"publications": ["p"], **options}
    return Applier(pair.publisher.conninfo, pair.subscriber.conninfo, name, **options)


def refused(one: Applier, pair: Pair) -> str:
    """Return what a log has of the error that ends the applier."""
    with pytest.raises(ApplyError) as raised:
        one.run(stop_at=end(pair.publisher), timeout=20)
    assert raised.value.__cause__ is not None or raised.value.sqlstate is None
    return printed(raised.value)


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_no_traceback_and_no_log_has_a_value_of_a_refused_row(
    two: Pair, refusal: Refusal, caplog: pytest.LogCaptureFixture
) -> None:
    one = applier(two, copy=False, **refusal.options)
    one.run(stop_at=end(two.publisher), timeout=20)
    two.subscriber.run(*refusal.altered)
    two.publisher.run(refusal.row)
    texts = [refused(one, two)]
    if refusal.parks:
        parking = applier(two, copy=False, on_error="park", **refusal.options)
        assert parking.run(stop_at=end(two.publisher), timeout=20).parked == 1
        [parked] = parking.parked()
        with pytest.raises(ApplyError) as raised:
            parking.apply_parked(parked)
        assert raised.value.sqlstate == parked.sqlstate
        texts.append(printed(raised.value))
    if refusal.copies:
        with pytest.raises(ApplyError if "tables" in refusal.options else ServerError) as copied:
            applier(two, "two", **refusal.options).run(timeout=20)
        texts.append(printed(copied.value))
    assert "secret" not in "".join([*texts, caplog.text])


@pytest.mark.pg(">=15")
def test_no_traceback_has_the_value_of_a_row_that_a_filter_fails_at(two: Pair) -> None:
    two.publisher.run("ALTER PUBLICATION p SET TABLE t WHERE (decode(name, name) IS NOT NULL)")
    one = applier(two)
    one.run(stop_at=end(two.publisher), timeout=20)
    two.publisher.run(ROW)
    for each in (one, applier(two, "two")):
        with pytest.raises(ServerError, match='encoding: "…"') as raised:
            each.run(stop_at=end(two.publisher), timeout=20)
        assert raised.value.sqlstate == "22023"
        assert "secret" not in printed(raised.value)


def test_the_command_writes_no_value_of_a_row(two: Pair, tmp_path: Path) -> None:
    applier(two, copy=False).run(stop_at=end(two.publisher), timeout=20)
    two.subscriber.run(CHECK)
    two.publisher.run(ROW)
    config = tmp_path / "config.toml"
    servers = {"publisher": two.publisher.conninfo, "subscriber": two.subscriber.conninfo}
    for name, sqlstate in (("one", "23514"), ("two", "23514")):
        keys = {**servers, "name": name, "publications": ["p"]}
        config.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items()))
        command = [sys.executable, "-X", "dev", "-m", "pgreplkit.apply", str(config)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == STUCK
        assert sqlstate in ended.stderr
        assert "secret" not in ended.stderr + ended.stdout
