"""The commands of the replication protocol, in the syntax of each major version."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from pgreplkit import LSN
from pgreplkit.errors import InvalidSlotName
from pgreplkit.protocol import commands


def logical(version: int, **changed: object) -> str:
    facts: dict[str, object] = {
        "temporary": False,
        "snapshot": "nothing",
        "two_phase": False,
        "failover": False,
    }
    chosen = facts | changed
    return commands.create_logical_slot(version, "s", "pgoutput", **chosen).decode()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("version", "changed", "rest"),
    [
        (14, {}, 'LOGICAL "pgoutput" NOEXPORT_SNAPSHOT'),
        (14, {"snapshot": "export"}, 'LOGICAL "pgoutput" EXPORT_SNAPSHOT'),
        (14, {"snapshot": "use", "temporary": True}, 'TEMPORARY LOGICAL "pgoutput" USE_SNAPSHOT'),
        (15, {}, "LOGICAL \"pgoutput\" (SNAPSHOT 'nothing')"),
        (15, {"two_phase": True}, "LOGICAL \"pgoutput\" (SNAPSHOT 'nothing', TWO_PHASE)"),
        (17, {"failover": True}, "LOGICAL \"pgoutput\" (SNAPSHOT 'nothing', FAILOVER)"),
    ],
)
def test_a_logical_slot_is_created_with_options_or_words(
    version: int, changed: dict[str, object], rest: str
) -> None:
    assert logical(version, **changed) == f"CREATE_REPLICATION_SLOT s {rest}"


@pytest.mark.parametrize(
    ("version", "temporary", "reserve_wal", "rest"),
    [
        (14, False, False, "PHYSICAL"),
        (14, True, True, "TEMPORARY PHYSICAL RESERVE_WAL"),
        (15, False, True, "PHYSICAL (RESERVE_WAL)"),
    ],
)
def test_a_physical_slot_is_created_with_options_or_words(
    version: int, temporary: bool, reserve_wal: bool, rest: str
) -> None:
    created = commands.create_physical_slot(
        version, "s", temporary=temporary, reserve_wal=reserve_wal
    )
    assert created.decode() == f"CREATE_REPLICATION_SLOT s {rest}"


@pytest.mark.parametrize(
    ("timeline", "slot", "text"),
    [
        (None, None, "START_REPLICATION PHYSICAL 0/3000000"),
        (2, None, "START_REPLICATION PHYSICAL 0/3000000 TIMELINE 2"),
        (2, "s", "START_REPLICATION SLOT s PHYSICAL 0/3000000 TIMELINE 2"),
    ],
)
def test_physical_streaming_names_the_slot_and_the_timeline_if_given(
    timeline: int | None, slot: str | None, text: str
) -> None:
    started = commands.start_physical(LSN("0/3000000"), timeline=timeline, slot=slot)
    assert started.decode() == text


@given(st.dictionaries(st.text("abc\"'", min_size=1), st.text("p'\"\\,")))
def test_options_of_a_plugin_cannot_leave_their_quotes(options: dict[str, str]) -> None:
    text = commands.start_logical("s", LSN(0), options).decode()
    rest = text.removeprefix("START_REPLICATION SLOT s LOGICAL 0/0")
    for name, value in options.items():
        quoted_name = name.replace('"', '""')
        quoted_value = value.replace("'", "''")
        rest = rest.replace(f"\"{quoted_name}\" '{quoted_value}'", "", 1)
    assert {*rest} <= {*" (),"}


@pytest.mark.parametrize("name", ["", "S", "a-b", "a b", "s; DROP_REPLICATION_SLOT t", "x" * 64])
def test_no_command_contains_an_invalid_slot_name(name: str) -> None:
    with pytest.raises(InvalidSlotName):
        commands.read_slot(name)
    with pytest.raises(InvalidSlotName):
        commands.drop_slot(name, wait=False)
    with pytest.raises(InvalidSlotName):
        commands.start_physical(LSN(0), timeline=None, slot=name)
    with pytest.raises(InvalidSlotName):
        commands.start_logical(name, LSN(0), {})
    with pytest.raises(InvalidSlotName):
        commands.create_physical_slot(15, name, temporary=False, reserve_wal=False)
    with pytest.raises(InvalidSlotName):
        commands.create_logical_slot(
            *(15, name, "pgoutput"),
            temporary=False,
            snapshot="nothing",
            two_phase=False,
            failover=False,
        )


@pytest.mark.parametrize("text", ["a\0b", "\0"])
def test_nul_is_refused_in_texts_and_names(text: str) -> None:
    with pytest.raises(ValueError, match="NUL"):
        commands.literal(text)
    with pytest.raises(ValueError, match="NUL"):
        commands.identifier(text)


def test_the_short_commands() -> None:
    assert commands.show("wal_segment_size") == b"SHOW wal_segment_size"
    assert commands.timeline_history(3) == b"TIMELINE_HISTORY 3"
    assert commands.drop_slot("s", wait=True) == b"DROP_REPLICATION_SLOT s WAIT"
    assert commands.drop_slot("s", wait=False) == b"DROP_REPLICATION_SLOT s"
    assert commands.read_slot("s") == b"READ_REPLICATION_SLOT s"
