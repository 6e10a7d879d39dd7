"""OpenEnum: an enum that keeps words which only a newer server knows; OrderedEnum."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class OpenEnum(StrEnum):
    """A StrEnum that accepts unknown words, so that rows of newer servers can be read.

    An unknown word becomes a member-like value that is not listed in the class.

    >>> class Shade(OpenEnum):
    ...     DARK = "dark"
    >>> Shade("dark") is Shade.DARK, Shade("pale") == "pale"
    (True, True)
    """

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        word = str.__new__(cls, value)
        word._name_ = word._value_ = value
        return word

    @classmethod
    def known(cls, value: object, argument: str) -> Self:
        """Return the member that an argument names.

        Raises: ValueError for a word that is not listed in the class.
        """
        member = cls(value) if isinstance(value, str) else None
        if member is None or member not in {*cls}:
            given = value if member is None else str(value)
            raise ValueError(f"{argument} must be one of {', '.join(cls)}, got {given!r}")
        return member

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._value_!r})"

    def __reduce_ex__(self, protocol: object) -> tuple[type[Self], tuple[str]]:
        return type(self), (str(self._value_),)


class OrderedEnum(OpenEnum):
    """An OpenEnum whose members are ordered as they are declared; unknown words come last.

    >>> class Size(OrderedEnum):
    ...     SMALL = "small"
    ...     LARGE = "large"
    >>> max(Size), Size.SMALL < Size.LARGE
    (Size('large'), True)
    """

    # The texts would be compared otherwise: a critical check would be better than a warning.
    def __lt__(self, other: str) -> bool:
        return self._rank(self) < self._rank(other)

    def __le__(self, other: str) -> bool:
        return self._rank(self) <= self._rank(other)

    def __gt__(self, other: str) -> bool:
        return self._rank(self) > self._rank(other)

    def __ge__(self, other: str) -> bool:
        return self._rank(self) >= self._rank(other)

    @classmethod
    def _rank(cls, word: str) -> int:
        words = [*map(str, cls)]
        return words.index(word) if word in words else len(words)
