"""Validation and derivation of the application_name of a standby."""

from __future__ import annotations

import hashlib
import re
import unicodedata

from pgreplkit._text import LONGEST_NAME

_SUFFIX = 8
_OTHER = re.compile(r"[^ -~]")


def checked_application_name(name: str) -> str:
    """Return ``name`` if the server keeps it unchanged as an application_name.

    The server truncates longer names, and replaces characters that are not printable ASCII. A
    changed name does not match synchronous_standby_names.

    Raises:
        ValueError: If the server would change the name.
        TypeError: If it is not a str.
    """
    if not isinstance(name, str):
        raise TypeError(f"an application_name must be a str, not {type(name).__name__}")
    if _OTHER.search(name):
        raise ValueError(f"an application_name has only printable ASCII characters, got {name!r}")
    if len(name) > LONGEST_NAME:
        raise ValueError(f"an application_name has at most {LONGEST_NAME} bytes, got {len(name)}")
    return name


def application_name_for(text: str) -> str:
    """Derive a valid application_name from other text, such as the name of a directory.

    >>> application_name_for("réplica-süd")
    'replica-sud'

    Accents are removed. A name that loses other characters or is shortened ends in a hash, so that
    different texts keep different names.
    """
    decomposed = unicodedata.normalize("NFKD", text)
    base = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    name = _OTHER.sub("_", base)
    if name == base and len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_SUFFIX]
    return f"{name[: LONGEST_NAME - _SUFFIX - 1]}-{digest}"
