"""FeedConfiguration: a feed described in a TOML file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from pgreplkit.feeds.encoding.cloudevents import CloudEvents
from pgreplkit.feeds.encoding.debezium import DebeziumJson
from pgreplkit.feeds.encoding.plain import PlainJson
from pgreplkit.feeds.sink import Encoder
from pgreplkit.values.configured import (
    called,
    insist_on_keys,
    insist_on_strings,
    insist_on_type,
    parse_toml,
    refused,
)

_ENCODERS: Mapping[str, Callable[..., Encoder]] = {
    "plain": PlainJson,
    "cloudevents": CloudEvents,
    "debezium": DebeziumJson,
}
_TEXT, _SWITCH, _TABLE, _LIST = "a string", "true or false", "a table", "a list of strings"
_NUMBER, _TEXTS = "a number", "a string or a list of strings"
_TEXT_OR_TABLE = "a string or a table"
_KINDS: Mapping[str, Any] = {
    _TEXT: str,
    _SWITCH: bool,
    _TABLE: dict,
    _NUMBER: (int, float),
    _TEXT_OR_TABLE: (str, dict),
}
_FEED = {
    **dict.fromkeys(("source", "slot", "snapshot", "on_lost", "parked"), _TEXT),
    **dict.fromkeys(("hold", "heartbeat", "reconnect"), _NUMBER),
    "publications": _LIST,
    **dict.fromkeys(("messages", "failover"), _SWITCH),
    "sink": _TABLE,
    "encoder": _TEXT_OR_TABLE,
}
_SINKS: Mapping[str, Mapping[str, str]] = {
    "jetstream": {
        "servers": _TEXTS,
        "stream": _TEXT,
        "subjects": _LIST,
        "may_discard": _SWITCH,
        "timeout": _NUMBER,
    },
    "kafka": {
        "conf": _TABLE,
        "position_topic": _TEXT,
        "transactional": _SWITCH,
        "timeout": _NUMBER,
    },
    "redis": {"url": _TEXT, "may_discard": _SWITCH, "timeout": _NUMBER},
}
_NEEDED = {"jetstream": ("servers", "stream"), "kafka": ("conf",), "redis": ("url",)}
_ENCODING = {
    **dict.fromkeys(("destination", "messages", "times", "json", "fill", "mode"), _TEXT),
    **dict.fromkeys(("header_prefix", "name"), _TEXT),
    "tombstones": _SWITCH,
    "keys": _TABLE,
}


@attrs.frozen(repr=False)
class FeedConfiguration:
    """The arguments of a feed, and those of its sink."""

    source: str
    slot: str
    engine: str
    """``jetstream``, ``kafka`` or ``redis``."""
    sink: Mapping[str, Any]
    """The arguments of the sink."""
    options: Mapping[str, Any]
    """The keyword arguments of the feed, except for the sink."""

    def __repr__(self) -> str:
        # The connection strings may hold passwords.
        return f"<FeedConfiguration {self.slot!r} for {self.engine}>"


def parse_configuration(text: str) -> dict[str, FeedConfiguration]:
    """Return the feeds of a TOML text, by their names.

    Raises: ValueError.
    """
    given = parse_toml(text)
    insist_on_keys(given, ("feeds",), ("feeds",))
    feeds = given["feeds"]
    insist_on_type(feeds, "feeds", dict, "a table of tables, such as [feeds.orders]")
    if not feeds:
        raise refused("'feeds' is empty")
    return {name: _feed(name, feed) for name, feed in feeds.items()}


def _feed(name: str, given: object) -> FeedConfiguration:
    key = f"feeds.{name}"
    options = _checked(given, key, _FEED, ("source", "publications", "sink", "encoder"))
    # A copy, because the engine's name is taken out: the caller's table stays as it is.
    sink = dict(options.pop("sink"))
    engine = sink.pop("engine", None)
    # In a list, because the value may be one that a mapping cannot be asked for.
    if engine not in [*_SINKS]:
        raise refused(f"'{key}.sink.engine' must be one of {', '.join(_SINKS)}, got {engine!r}")
    arguments = _checked(sink, f"{key}.sink", _SINKS[engine], _NEEDED[engine])
    options["encoder"] = _encoder(f"{key}.encoder", options["encoder"])
    # The slot identifies the feed in its sink: most fleets need no second name.
    source, slot = options.pop("source"), options.pop("slot", name)
    return FeedConfiguration(source, slot, engine, arguments, options)


def _encoder(key: str, given: str | dict[str, Any]) -> Encoder:
    """Return the encoder of a format, or of a table with its ``format`` and its arguments."""
    arguments: dict[str, Any] = {"format": given} if isinstance(given, str) else dict(given)
    name = arguments.pop("format", None)
    # In a list, for the same reason as the engine's name.
    if name not in [*_ENCODERS]:
        raise refused(f"'{key}.format' must be one of {', '.join(_ENCODERS)}, got {name!r}")
    return called(_ENCODERS[name], key, _checked(arguments, key, _ENCODING, ()))


def _checked(
    given: object, key: str, known: Mapping[str, str], needed: tuple[str, ...]
) -> dict[str, Any]:
    """Return a copy of a table whose keys are known and whose values have the right types."""
    insist_on_type(given, key, dict, "a table")
    table: dict[str, Any] = dict(given)  # type: ignore[call-overload]
    insist_on_keys(table, known, needed, key)
    for name, value in table.items():
        what = known[name]
        if what == _LIST or (what == _TEXTS and not isinstance(value, str)):
            insist_on_strings(value, f"{key}.{name}")
        elif what != _TEXTS:
            insist_on_type(value, f"{key}.{name}", _KINDS[what], what)
    return table
