"""Instances of the public row and report classes, built from their annotations."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from importlib import import_module
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import count
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

import attrs
from packaging.version import Version

from pgreplkit import (
    LSN,
    SegmentSize,
    ServerVersion,
    ShardMap,
    TableName,
    TimelineHistory,
    WalFileName,
    WalRange,
)
from pgreplkit._public import HOME
from pgreplkit.errors import Error
from pgreplkit.plans.cluster.steps import Step
from pgreplkit.plans.cluster.topology import ClusterNode
from pgreplkit.protocol.pgoutput.rows import named_rows
from pgreplkit.protocol.transactions import Transaction
from pgreplkit.values.record import Record
from pgreplkit.values.threshold import Threshold

HOSTILE = "<script>alert('x')</script>&\"\x1b[31m" + 30 * "very long "
"""A text that breaks HTML, terminals and tables that trust it."""
VARIANTS = ("full", "empty", "hostile")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def public_classes() -> Iterator[type]:
    """The attrs classes among the public names."""
    for public, homes in HOME.items():
        for name in homes:
            value = getattr(import_module(public), name)
            if isinstance(value, type) and attrs.has(value):
                yield value


def public_records() -> list[type[Record]]:
    """The public rows and reports."""
    found = {cls for cls in public_classes() if issubclass(cls, Record) and cls is not Transaction}
    # The last of a name: Python 3.14 keeps the class that attrs has replaced by one with slots.
    steps = {cls.__name__: cls for cls in Step.__subclasses__()}
    return sorted({*found, *steps.values()} - {Step}, key=lambda cls: cls.__name__)


class Builder:
    """Builds instances: with all values, with as few as possible, or with hostile texts."""

    def __init__(self, variant: str) -> None:
        self.variant = variant
        self._numbers = count(3)

    def build(self, cls: type) -> Any:
        """An instance of an attrs class."""
        hints = get_type_hints(cls)
        values = {
            field.alias: self._field(cls, field, hints[field.name])
            for field in attrs.fields(cls)
            if field.init
        }
        if cls is ClusterNode and self.variant != "hostile":
            values["error"] = None
        return cls(**values)

    def _field(self, cls: type, field: attrs.Attribute[Any], hint: object) -> object:
        match cls.__name__, field.name:
            case "ClusterNode", "upstream":
                # A node of the same cluster.
                return None
            case "Table", "schema" | "name":
                return self._text()[:40]
            case "PublicationState", "except_tables":
                return [("public", self._text()[:40])]
        return self.value(hint)

    def value(self, hint: object) -> Any:
        """A value of a type."""
        origin, args = get_origin(hint), get_args(hint)
        if hint is None or hint is type(None):
            return None
        if origin in {typing.Union, types.UnionType}:
            rest = [arg for arg in args if arg is not type(None)]
            return (
                None if len(rest) < len(args) and self.variant == "empty" else self.value(rest[0])
            )
        if origin is Literal:
            return args[0]
        if origin is tuple:
            return self._tuple(args)
        if origin in {list, frozenset}:
            return origin([] if self.variant == "empty" else [self.value(args[0])])
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return {} if self.variant == "empty" else {self.value(args[0]): self.value(args[1])}
        if isinstance(hint, TypeVar) or hint is object:
            return named_rows(("id", "name", "at"))((1, self._text(), NOW))
        return self._plain(cast(type, origin or hint))

    def _tuple(self, args: tuple[object, ...]) -> tuple[object, ...]:
        if args[1:] != (...,):
            return tuple(map(self.value, args))
        return () if self.variant == "empty" else (self.value(args[0]), self.value(args[0]))

    def _plain(self, kind: type) -> Any:
        if issubclass(kind, Enum):
            return next(iter(kind))
        if issubclass(kind, Error):
            return Error(self._text())
        made = _MAKERS.get(kind)
        if made is not None:
            return made(next(self._numbers))
        if issubclass(kind, str):
            return self._text()
        if attrs.has(kind):
            return self.build(kind)
        raise AssertionError(f"no instance of {kind} is known; add it to _MAKERS")

    def _text(self) -> str:
        return HOSTILE if self.variant == "hostile" else f"text{next(self._numbers)}"


_MAKERS: dict[type, Callable[[int], object]] = {
    LSN: lambda n: LSN(n << 24),
    Path: lambda n: Path(f"/tmp/{n}"),
    SegmentSize: lambda n: SegmentSize.DEFAULT,
    ShardMap: lambda n: ShardMap(1 << n),
    Threshold: lambda n: Threshold(n, n + 1),
    TableName: lambda n: TableName("public", f'"<b>{n}'),
    TimelineHistory: lambda n: TimelineHistory.parse("1\t0/3000000\tno reason\n", timeline=2),
    ServerVersion: lambda n: ServerVersion("18.1"),
    Version: lambda n: Version("18.1"),
    WalFileName: lambda n: WalFileName(1, n),
    WalRange: lambda n: WalRange(LSN(0), LSN(n << 24)),
    bool: lambda n: True,
    bytes: lambda n: bytes([n, 0, 255]),
    datetime: lambda n: NOW + timedelta(seconds=n),
    float: lambda n: n / 10,
    int: lambda n: n,
    timedelta: lambda n: timedelta(seconds=n),
    IPv4Address: lambda n: ip_address("192.0.2.1"),
    IPv6Address: lambda n: ip_address("2001:db8::1"),
}
