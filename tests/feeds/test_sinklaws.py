"""sink_laws: a sink that keeps them, and sinks that each break one."""

from __future__ import annotations

import asyncio

import pytest
from modelsink import Engine, ModelSink

from pgreplkit.testing import LawBroken, sink_laws


def test_a_sink_that_stores_the_position_with_the_messages_keeps_the_laws() -> None:
    engine = Engine()
    laws = asyncio.run(sink_laws(lambda: ModelSink(engine), engine.read, crashes=20, pause=0))
    assert laws.messages == len(engine.messages)
    assert 0 < laws.stored < laws.crashes


@pytest.mark.parametrize(
    ("fault", "law"),
    [
        ("no fence", "after those of another writer is refused"),
        ("position first", "stored with its position, or neither"),
        ("position last", "stored with its position, or neither"),
        ("one by one", "stored with its position, or neither"),
        ("unordered", "in order"),
        ("no position alone", "a position without messages is stored"),
    ],
)
def test_a_sink_that_breaks_a_law_is_found(fault: str, law: str) -> None:
    engine = Engine()
    with pytest.raises(LawBroken, match=law):
        asyncio.run(sink_laws(lambda: ModelSink(engine, fault), engine.read, crashes=20, pause=0))
