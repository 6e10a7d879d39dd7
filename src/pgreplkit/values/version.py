"""ServerVersion: the version of a server, which compares with ints as major versions."""

from __future__ import annotations

from typing import TypeAlias, TypeGuard

from packaging.version import InvalidVersion, Version

from pgreplkit.errors import InvalidServerVersion
from pgreplkit.values.modelfield import ModelField

AnyServerVersion: TypeAlias = int | str | Version
"""A version as people write it: 18, 180004 (server_version_num), "18.4", or a Version."""

_FIRST_NUM = 100000
"""The smallest server_version_num: that of version 10.0."""


class ServerVersion(Version, ModelField):
    """A server's version: a packaging Version that compares with major versions.

    >>> version = ServerVersion("15.18 (Debian 15.18-0+deb12u1)")
    >>> version >= 15, version > 15, version == 15, version < 16
    (True, False, True, True)
    >>> ServerVersion(180004), ServerVersion(18).major
    (ServerVersion('18.4'), 18)

    An int is a major version, or from 100000 on a server_version_num, as in ``version >= 160002``.
    So versions of one major version are equal to the same int, and have the same hash. A hash can
    agree with one kind of number only: a server_version_num and a packaging Version are ordered
    with a ServerVersion, and never equal to it. Write ``version == ServerVersion("15.18")``.

    Raises:
        InvalidServerVersion: If the argument does not name a server version.
        TypeError: If it is not an int, str or Version.
    """

    def __init__(self, version: AnyServerVersion) -> None:
        super().__init__(_text_of(version))

    def _number(self, other: int) -> int:
        """Return the number that compares with an int."""
        return self.major * 10000 + self.minor if other >= _FIRST_NUM else self.major

    def __lt__(self, other: Version | int) -> bool:  # type: ignore[override]
        if _is_number(other):
            return self._number(other) < other
        return super().__lt__(other) if isinstance(other, Version) else NotImplemented

    def __le__(self, other: Version | int) -> bool:  # type: ignore[override]
        if _is_number(other):
            return self._number(other) <= other
        return super().__le__(other) if isinstance(other, Version) else NotImplemented

    def __gt__(self, other: Version | int) -> bool:  # type: ignore[override]
        if _is_number(other):
            return self._number(other) > other
        return super().__gt__(other) if isinstance(other, Version) else NotImplemented

    def __ge__(self, other: Version | int) -> bool:  # type: ignore[override]
        if _is_number(other):
            return self._number(other) >= other
        return super().__ge__(other) if isinstance(other, Version) else NotImplemented

    def __eq__(self, other: object) -> bool:
        if _is_number(other):
            return self.major == other
        if isinstance(other, Version):
            return isinstance(other, ServerVersion) and super().__eq__(other)
        return NotImplemented

    # packaging defines both it and __eq__, so that Python would not derive it.
    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self.major)

    def __repr__(self) -> str:
        return f"ServerVersion({str(self)!r})"


def _is_number(other: object) -> TypeGuard[int]:
    return isinstance(other, int) and not isinstance(other, bool)


def _text_of(version: AnyServerVersion) -> str:
    """Return the text that packaging parses."""
    if isinstance(version, Version):
        return str(version)
    if isinstance(version, str):
        word = version[:64].split(maxsplit=1)[0] if version[:64].strip() else ""
        # SHOW and libpq return server_version_num as text.
        if not (word.isascii() and word.isdecimal()):
            text = word.replace("devel", ".dev0")
            try:
                Version(text)
            except (InvalidVersion, ValueError):
                raise InvalidServerVersion(version, "it does not start with a version") from None
            return text
        version = int(word)
    if type(version) is not int:
        raise TypeError(
            f"a server version must be int, str or Version, not {type(version).__name__}"
        )
    if 0 < version < 1000:
        return str(version)
    if _FIRST_NUM <= version < 10000000:
        return f"{version // 10000}.{version % 10000}"
    raise InvalidServerVersion(version, "it is neither a major version nor a server_version_num")
