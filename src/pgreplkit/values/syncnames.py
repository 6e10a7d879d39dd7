"""SyncStandbyNames: the value of synchronous_standby_names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import attrs

from pgreplkit._text import quote_identifier
from pgreplkit.errors import InvalidSyncStandbyNames
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.several import several

_SPACE = " \t\n\r\f\v"
_TOKEN = re.compile(
    rf"""
    [{_SPACE}]*
    (?: "(?P<quoted>(?:[^"]|"")*+)"
      | (?P<word>[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*)
      | (?P<number>[0-9]+)
      | (?P<mark>[*(),])
    )
    """,
    re.VERBOSE,
)
_BARE = re.compile(r"[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*")
_METHOD = re.compile(r"first|any", re.ASCII | re.IGNORECASE)
_LARGEST = (1 << 31) - 1


class SyncMethod(OpenEnum):
    """How the synchronous standbys are chosen among those that are named."""

    FIRST = "FIRST"
    """By priority: the first ones in the list that are connected."""
    ANY = "ANY"
    """By quorum: whichever confirm first."""


@attrs.frozen
class SyncStandbyNames:
    """How many of which standbys must confirm a commit; without names replication is asynchronous.

    >>> names = SyncStandbyNames.parse('ANY 2 (node_a, "node-b", *)')
    >>> names.method, names.count, names.names
    (SyncMethod('ANY'), 2, ('node_a', 'node-b', '*'))
    >>> str(names)
    'ANY 2 (node_a, "node-b", *)'
    >>> str(SyncStandbyNames.parse("a, b"))
    'FIRST 1 (a, b)'

    Raises: InvalidSyncStandbyNames.  Source: the setting synchronous_standby_names.
    """

    names: tuple[str, ...] = ()
    count: int = 1
    method: SyncMethod = SyncMethod.FIRST

    def __attrs_post_init__(self) -> None:
        if type(self.count) is not int:
            raise TypeError(f"a count of standbys is an int, not {type(self.count).__name__}")
        if not isinstance(self.names, tuple) or not all(isinstance(n, str) for n in self.names):
            raise TypeError("the names of standbys are a tuple of str")
        if not 0 < self.count <= _LARGEST:
            raise InvalidSyncStandbyNames(self.count, "the count must be at least 1")
        if self.method not in SyncMethod.__members__:
            raise InvalidSyncStandbyNames(self.method, "the method is neither FIRST nor ANY")
        for name in self.names:
            if "\0" in name:
                raise InvalidSyncStandbyNames(name, "a name has no NUL in it")

    @classmethod
    def parse(cls, text: str) -> SyncStandbyNames:
        """The value in the server's grammar; the old bare list means ``FIRST 1``.

        Raises: InvalidSyncStandbyNames; TypeError when it is not a str.
        """
        if not isinstance(text, str):
            raise TypeError(f"synchronous_standby_names is a str, not {type(text).__name__}")
        if not text.strip(_SPACE):
            # The server takes '' for "none", but not spaces alone.
            if text:
                raise InvalidSyncStandbyNames(text, "there is nothing but space in it")
            return cls()
        return _Parser(text).value()

    def add(self, *names: str) -> SyncStandbyNames:
        """The same with these names at the end; those that are there already stay where they are.

        >>> str(SyncStandbyNames.parse("ANY 1 (a)").add("b", "A"))
        'ANY 1 (a, b)'
        """
        there = {_folded(name) for name in self.names}
        new: dict[bytes, str] = {}
        for name in names:
            if _folded(name) not in there:
                new.setdefault(_folded(name), name)
        return attrs.evolve(self, names=(*self.names, *new.values()))

    def remove(self, *names: str, force: bool = False) -> SyncStandbyNames:
        """The same without these names; the count stays.

        Raises: InvalidSyncStandbyNames when less names are left than have to confirm, so that no
        commit could ever end, or none at all, so that commits would wait for nobody any more;
        ``force`` allows both.

        >>> str(SyncStandbyNames.parse("FIRST 1 (a, b)").remove("A"))
        'FIRST 1 (b)'
        """
        gone = {_folded(name) for name in names}
        left = tuple(name for name in self.names if _folded(name) not in gone)
        if not force and left != self.names and "*" not in left and len(left) < self.count:
            raise InvalidSyncStandbyNames(
                str(self),
                f"without {', '.join(names)} there are {len(left)} names for {self.count} that"
                " must confirm: lower the count first, or force=True does it nevertheless",
            )
        return attrs.evolve(self, names=left)

    def met_by(self, connected: Iterable[str]) -> bool:
        """Whether commits can end while standbys of these application names are connected.

        >>> names = SyncStandbyNames.parse("ANY 2 (a, b, c)")
        >>> names.met_by(["a", "B"]), names.met_by(["a", "x"])
        (True, False)
        """
        if not self.names:
            return True
        connected = several(connected, "connected")
        fitting = [name for name in connected if "*" in self.names or name in self]
        return len(fitting) >= self.count

    def __contains__(self, name: object) -> bool:
        # The server compares application names without regard to case, in ASCII.
        return isinstance(name, str) and any(_folded(name) == _folded(n) for n in self.names)

    def __str__(self) -> str:
        if not self.names:
            return ""
        return f"{self.method} {self.count} ({', '.join(map(_quoted, self.names))})"


def _folded(name: str) -> bytes:
    if not isinstance(name, str):
        raise TypeError(f"a standby's name is a str, not {type(name).__name__}")
    return name.encode("utf-8", "surrogatepass").lower()


def _quoted(name: str) -> str:
    plain = _BARE.fullmatch(name) and not _METHOD.fullmatch(name)
    return name if plain or name == "*" else quote_identifier(name)


def _as_read_by_the_server(digits: str) -> int:
    # It reads the count with atoi: a long that stops at 2⁶³−1, of which the low 32 bits are kept.
    digits = digits.lstrip("0")
    number = int(digits or "0") if len(digits) < 20 else 1 << 63
    low = min(number, (1 << 63) - 1) & 0xFFFFFFFF
    return low - (1 << 32) if low > _LARGEST else low


class _Token(NamedTuple):
    kind: str
    text: str


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = list(self._scan())
        self.at = 0

    def _scan(self) -> Iterator[_Token]:
        end = len(self.text.rstrip(_SPACE))
        at = 0
        while at < end:
            match = _TOKEN.match(self.text, at)
            if match is None:
                raise self._refusal("it has a character that stands in no name")
            kind = str(match.lastgroup)
            text = match[kind]
            if kind == "quoted":
                text = text.replace('""', '"')
            elif kind == "mark" and text == "*":
                kind = "word"
            elif kind == "word" and _METHOD.fullmatch(text):
                kind, text = "method", text.upper()
            yield _Token(kind, text)
            at = match.end()

    def _refusal(self, reason: str) -> InvalidSyncStandbyNames:
        return InvalidSyncStandbyNames(self.text, reason)

    def _next(self, *kinds: str, mark: str = "") -> str:
        if self.at == len(self.tokens):
            raise self._refusal("it ends too early")
        token = self.tokens[self.at]
        if token.kind not in kinds and not (mark and token == ("mark", mark)):
            raise self._refusal(f"{token.text[:63]!r} does not belong where it stands")
        self.at += 1
        return token.text

    def value(self) -> SyncStandbyNames:
        method, count, listed = SyncMethod.FIRST, "1", True
        if self.tokens[0].kind == "method":
            method = SyncMethod(self._next("method"))
            count = self._next("number")
        elif self.tokens[0].kind == "number" and self.tokens[1:2] == [("mark", "(")]:
            count = self._next("number")
        else:
            listed = False
        if listed:
            self._next(mark="(")
        names = [self._name()]
        while self.at < len(self.tokens) and self.tokens[self.at] == ("mark", ","):
            self.at += 1
            names.append(self._name())
        if listed:
            self._next(mark=")")
        if self.at < len(self.tokens):
            raise self._refusal("it goes on after its end")
        number = _as_read_by_the_server(count)
        if number <= 0:
            raise self._refusal("the count must be at least 1 and fit 31 bits")
        return SyncStandbyNames(tuple(names), number, method)

    def _name(self) -> str:
        name = self._next("quoted", "word", "number")
        if "\0" in name:
            raise self._refusal("a name has a NUL in it")
        return name
