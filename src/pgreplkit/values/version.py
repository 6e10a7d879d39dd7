"""Conversion of server versions from the forms in which they are commonly written."""

from __future__ import annotations

from typing import TypeAlias

from packaging.version import InvalidVersion, Version

from pgreplkit.errors import InvalidServerVersion

ServerVersion: TypeAlias = int | str | Version


def server_version(version: ServerVersion) -> Version:
    """Return a Version from a major version (18), a server_version_num (180004) or text.

    >>> server_version(180004), server_version("15.18 (Debian 15.18-0+deb12u1)").major
    (<Version('18.4')>, 15)

    Raises:
        InvalidServerVersion: If the argument does not name a server version.
        TypeError: If it is not an int, str or Version.
    """
    if isinstance(version, Version):
        return version
    if isinstance(version, str):
        word = version[:64].split(maxsplit=1)[0] if version[:64].strip() else ""
        # SHOW and libpq return server_version_num as text.
        if not (word.isascii() and word.isdecimal()):
            try:
                return Version(word.replace("devel", ".dev0"))
            except (InvalidVersion, ValueError):
                raise InvalidServerVersion(version, "it does not start with a version") from None
        version = int(word)
    if type(version) is not int:
        raise TypeError(f"a server version is int, str or Version, not {type(version).__name__}")
    if 0 < version < 1000:
        return Version(str(version))
    if 100000 <= version < 10000000:
        return Version(f"{version // 10000}.{version % 10000}")
    raise InvalidServerVersion(version, "it is neither a major version nor a server_version_num")
