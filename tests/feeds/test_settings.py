"""The settings of a feed."""

from __future__ import annotations

from feedfacts import Lines
from modelsink import Engine, ModelSink

from pgreplkit.feeds.settings import FeedSettings


def test_changes_are_numbered_by_the_publications_and_the_messages() -> None:
    def numbering(*publications: str, messages: bool = False) -> int:
        return FeedSettings(
            slot="orders",
            publications=publications,
            sink=ModelSink(Engine()),
            encoder=Lines(),
            snapshot="never",
            on_lost="stop",
            parked=None,
            messages=messages,
            failover=False,
            hold=None,
            heartbeat=None,
            reconnect=None,
        ).numbering

    assert numbering("a", "b") == numbering("b", "a")
    assert len({numbering("a"), numbering("a", "b"), numbering("a", messages=True)}) == 3
