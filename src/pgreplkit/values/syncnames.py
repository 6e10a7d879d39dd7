"""SyncStandbyNames: the value of synchronous_standby_names, with a parser for its grammar."""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import attrs

from pgreplkit._text import counted, quote_identifier
from pgreplkit.errors import InvalidSyncStandbyNames
from pgreplkit.values.flags import checked_flags
from pgreplkit.values.modelfield import ModelField
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
    """Method of choosing the synchronous standbys among the listed names."""

    FIRST = "FIRST"
    """Priority: the first connected standbys in the list."""
    ANY = "ANY"
    """Quorum: the standbys that confirm first."""


@attrs.frozen
class SyncStandbyNames(ModelField):
    """The standbys that must confirm a commit; without names, replication is asynchronous.

    >>> names = SyncStandbyNames.parse('ANY 2 (node_a, "node-b", *)')
    >>> names.method, names.count, names.names
    (SyncMethod('ANY'), 2, ('node_a', 'node-b', '*'))
    >>> str(names)
    'ANY 2 (node_a, "node-b", *)'
    >>> str(SyncStandbyNames.parse("a, b"))
    'FIRST 1 (a, b)'

    Raises:
        InvalidSyncStandbyNames: If the server would not accept the value.
        TypeError: If an argument has another type.

    Source:
        The setting synchronous_standby_names.
    """

    names: tuple[str, ...] = ()
    count: int = 1
    method: SyncMethod = SyncMethod.FIRST

    def __attrs_post_init__(self) -> None:
        if type(self.count) is not int:
            raise TypeError(
                f"the number of standbys must be an int, not {type(self.count).__name__}"
            )
        if not isinstance(self.names, tuple) or not all(isinstance(n, str) for n in self.names):
            raise TypeError("the names of the standbys must be a tuple of str")
        if not 0 < self.count <= _LARGEST:
            raise InvalidSyncStandbyNames(self.count, "the count is not between 1 and 2**31 - 1")
        if self.method not in SyncMethod.__members__:
            raise InvalidSyncStandbyNames(self.method, "the method is neither FIRST nor ANY")
        for name in self.names:
            if "\0" in name:
                raise InvalidSyncStandbyNames(name, "a name contains NUL")

    @classmethod
    def parse(cls, text: str) -> "SyncStandbyNames":
        """Parse a value in the server's grammar; a list without a method means ``FIRST 1``.

        Raises:
            InvalidSyncStandbyNames: If the server would not accept the value.
            TypeError: If the value is not a str.
        """
        if not isinstance(text, str):
            raise TypeError(f"synchronous_standby_names must be a str, not {type(text).__name__}")
        if not text.strip(_SPACE):
            # The server accepts an empty value, but not a value of spaces alone.
            if text:
                raise InvalidSyncStandbyNames(text, "it contains only spaces")
            return cls()
        return _Parser(text).value()

    def add(self, *names: str) -> "SyncStandbyNames":
        """Return a copy with these names appended; names already listed keep their place.

        >>> str(SyncStandbyNames.parse("ANY 1 (a)").add("b", "A"))
        'ANY 1 (a, b)'
        """
        listed = {_folded(name) for name in self.names}
        new: dict[bytes, str] = {}
        for name in names:
            if _folded(name) not in listed:
                new.setdefault(_folded(name), name)
        return attrs.evolve(self, names=(*self.names, *new.values()))

    def remove(self, *names: str, force: bool = False) -> "SyncStandbyNames":
        """Return a copy without these names and with the same count.

        Raises:
            InvalidSyncStandbyNames: If fewer names remain than must confirm, so that no commit
                could complete, or if no name remains, which would make replication
                asynchronous. ``force=True`` permits both.

        >>> str(SyncStandbyNames.parse("FIRST 1 (a, b)").remove("A"))
        'FIRST 1 (b)'
        """
        checked_flags(force=force)
        removed = {_folded(name) for name in names}
        left = tuple(name for name in self.names if _folded(name) not in removed)
        if not force and left != self.names and "*" not in left and len(left) < self.count:
            raise InvalidSyncStandbyNames(
                str(self),
                f"without {', '.join(names)} it lists {counted(len(left), 'standby')}, and"
                f" {self.count} must confirm: lower the count first, or remove the names with"
                " force=True",
            )
        return attrs.evolve(self, names=left)

    def is_met_by(self, connected: Iterable[str]) -> bool:
        """Return True if commits can complete while these application names are connected.

        >>> names = SyncStandbyNames.parse("ANY 2 (a, b, c)")
        >>> names.is_met_by(["a", "B"]), names.is_met_by(["a", "x"])
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
        raise TypeError(f"the name of a standby must be a str, not {type(name).__name__}")
    return name.encode("utf-8", "surrogatepass").lower()


def _quoted(name: str) -> str:
    plain = _BARE.fullmatch(name) and not _METHOD.fullmatch(name)
    return name if plain or name == "*" else quote_identifier(name)


def _server_atoi(digits: str) -> int:
    # The server parses the count with atoi(), which in glibc is strtol() (limited to 2⁶³−1)
    # truncated to 32 bits.
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
                raise self._refusal("it contains a character that must be quoted")
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
            raise self._refusal("it is incomplete")
        token = self.tokens[self.at]
        if token.kind not in kinds and not (mark and token == ("mark", mark)):
            raise self._refusal(f"{token.text[:63]!r} is not allowed at its position")
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
            raise self._refusal("it continues after the end of the list")
        number = _server_atoi(count)
        if number <= 0:
            raise self._refusal("the count is not between 1 and 2**31 - 1")
        return SyncStandbyNames(tuple(names), number, method)

    def _name(self) -> str:
        name = self._next("quoted", "word", "number")
        if "\0" in name:
            raise self._refusal("a name contains NUL")
        return name
