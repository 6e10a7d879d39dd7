"""The options of streams, checked before a connection is opened."""

from __future__ import annotations

import math
from typing import Any

import attrs
import pytest

from pgreplkit import LSN
from pgreplkit.plans.streams.options import (
    ChangeOptions,
    ChangeSettings,
    StreamOptions,
    StreamSettings,
    WalSettings,
)


@pytest.mark.parametrize(
    ("options", "settings"), [(StreamOptions, StreamSettings), (ChangeOptions, ChangeSettings)]
)
def test_every_documented_option_has_a_setting_and_a_default(options: Any, settings: Any) -> None:
    assert options.__annotations__.keys() <= {field.name for field in attrs.fields(settings)}
    names = {field.name for field in attrs.fields(settings)}
    documented = {*StreamOptions.__annotations__, *options.__annotations__}
    assert names == documented
    settings()


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("stop_at", "0/1", TypeError),
        ("timeout", -1, ValueError),
        ("timeout", math.inf, ValueError),
        ("timeout", "5", TypeError),
        ("reconnect", -1, ValueError),
        ("reconnect", True, TypeError),
        ("status_interval", math.nan, ValueError),
        ("status_interval", None, TypeError),
        ("auto_acknowledge", 1, TypeError),
        ("advance_when_idle", None, TypeError),
        ("binary", "yes", TypeError),
        ("two_phase", None, TypeError),
        ("messages", "on", TypeError),
        ("streaming", True, ValueError),
        ("streaming", "sometimes", ValueError),
        ("origin", "pg_5", ValueError),
        ("on_unloadable", "ignore", ValueError),
    ],
)
def test_an_invalid_option_is_refused_by_name(
    option: str, value: object, error: type[Exception]
) -> None:
    chosen: dict[str, Any] = {option: value}
    with pytest.raises(error, match=option):
        ChangeSettings(**chosen)


@pytest.mark.parametrize(
    "chosen",
    [
        {"stop_at": LSN(5), "timeout": 0, "reconnect": 60},
        {"streaming": "parallel", "origin": "none", "messages": False, "binary": True},
    ],
)
def test_valid_options_are_kept(chosen: dict[str, Any]) -> None:
    settings = ChangeSettings(**chosen)
    assert {name: getattr(settings, name) for name in chosen} == chosen


def test_text_is_kept_for_unloadable_values_only_on_request() -> None:
    assert not ChangeSettings().keeps_text
    assert ChangeSettings(on_unloadable="text").keeps_text


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("slot", "Not valid"), ("stop_at", 5), ("status_interval", 0), ("status_interval", -1)),
        *(("status_interval", math.inf), ("status_interval", math.nan), ("status_interval", "1")),
        *(("timeout", math.inf), ("timeout", -1)),
    ],
)
def test_invalid_options_of_a_wal_stream_are_refused(option: str, value: object) -> None:
    chosen: dict[str, Any] = {option: value}
    with pytest.raises((TypeError, ValueError)):
        WalSettings(**chosen)
