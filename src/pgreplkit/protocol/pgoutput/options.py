"""The options of pgoutput."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pgreplkit.protocol.commands import identifier
from pgreplkit.values.several import several

_PROTOCOLS = ((16, 4), (15, 3), (14, 2))


def names_of(publications: Iterable[str]) -> tuple[str, ...]:
    """Return the names of publications, of which there must be one at least."""
    names = several(publications, "publications")
    if not names:
        raise ValueError("publications must not be empty")
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"the name of a publication must be a str, got {type(name).__name__}")
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
    """Return the options of START_REPLICATION, with the highest protocol version of the server.

    Raises: UnsupportedByServer, by ``require``, for an option that the major version lacks.
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
