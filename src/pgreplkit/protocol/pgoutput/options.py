"""The options of pgoutput."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pgreplkit.protocol.commands import identifier
from pgreplkit.values.several import several

# A newer protocol changes nothing unless one of the options asks for it.
_PROTOCOLS = ((16, 4), (15, 3), (14, 2))


def names_of(publications: Iterable[str]) -> tuple[str, ...]:
    """Return the names of publications, at least one."""
    names = several(publications, "publications")
    if not names:
        raise ValueError("at least one publication is needed")
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"publications must be str, not {type(name).__name__}")
    return names


def pgoutput_options(
    major: int,
    require: Callable[[str], None],
    publications: Iterable[str],
    *,
    binary: bool,
    streaming: str,
    two_phase: bool,
    messages: bool | None,
    origin: str,
) -> dict[str, str]:
    """Return the options of START_REPLICATION, with the newest protocol of the major version.

    Raises: UnsupportedByServer, from ``require``, for an option that the server lacks.
    """
    protocol = next((protocol for since, protocol in _PROTOCOLS if major >= since), 1)
    names = ",".join(identifier(name) for name in publications)
    options = {"proto_version": str(protocol), "publication_names": names}
    if binary:
        require("changes.binary")
        options["binary"] = "true"
    if streaming != "off":
        require("changes.parallel" if streaming == "parallel" else "changes.streaming")
        options["streaming"] = streaming
    if two_phase:
        require("changes.two_phase")
        options["two_phase"] = "true"
    if messages:
        require("changes.messages")
    if messages or (messages is None and major >= 14):
        options["messages"] = "true"
    if origin == "none":
        require("changes.origin")
        options["origin"] = "none"
    return options
