"""The settings of a feed."""

from __future__ import annotations

from typing import Any

import pytest
from feedfacts import Lines
from modelsink import Engine, ModelSink

from pgreplkit.feeds.settings import FeedSettings

GIVEN: dict[str, Any] = {
    "slot": "orders",
    "publications": ["p"],
    "sink": ModelSink(Engine()),
    "encoder": Lines(),
    "snapshot": "never",
    "on_lost": "stop",
    "parked": None,
    "messages": False,
    "failover": False,
    "hold": None,
    "heartbeat": None,
    "reconnect": None,
}


def test_changes_are_numbered_by_the_publications_and_the_messages() -> None:
    def numbering(*publications: str, messages: bool = False) -> int:
        changed = {"publications": publications, "messages": messages}
        return FeedSettings(**GIVEN | changed).numbering

    assert numbering("a", "b") == numbering("b", "a")
    assert len({numbering("a"), numbering("a", "b"), numbering("a", messages=True)}) == 3


@pytest.mark.parametrize(
    ("changed", "kind", "found"),
    [
        ({"encoder": Lines}, TypeError, "encoder is the class Lines, not an object of it"),
        ({"sink": ModelSink}, TypeError, "sink is the class ModelSink"),
        ({"encoder": len}, TypeError, r"encoder has no method encode\(\)"),
        ({"sink": Lines()}, TypeError, r"sink has no method open\(\)"),
        ({"parked": ""}, ValueError, "parked must be the name of a destination, or None"),
        ({"parked": 7}, TypeError, "parked must be a str or None, not int"),
        ({"snapshot": "all"}, ValueError, "snapshot must be one of never, initial, only"),
        ({"on_lost": "skip"}, ValueError, "on_lost must be one of stop, accept"),
        ({"snapshot": "only", "failover": True}, ValueError, "failover=True needs a slot"),
        ({"heartbeat": 0}, ValueError, "heartbeat must be > 0"),
        ({"hold": -1}, ValueError, "hold must be finite"),
    ],
)
def test_arguments_that_fit_no_feed_are_refused(
    changed: dict[str, Any], kind: type[Exception], found: str
) -> None:
    assert FeedSettings(**GIVEN).slot == "orders"
    with pytest.raises(kind, match=found):
        FeedSettings(**GIVEN | changed)
