"""decide_access: which line of pg_hba.conf decides about a connection."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TypeAlias

import attrs

from pgreplkit.catalog.server.access import HbaRule

Network: TypeAlias = IPv4Network | IPv6Network

_METHOD = re.compile("[a-z0-9-]+")
_PLAIN_REGEX = re.compile(r"[\w .^$|*+?()-]*|[\w .^$|*+?()-]*\[[\w-]+\][\w .^$|*+?()-]*", re.ASCII)
_KEYWORDS = {"all", "sameuser", "samerole", "samegroup"}
PHYSICAL = "replication"
"""The keyword for physical replication connections, which ``all`` does not match."""


@attrs.frozen(kw_only=True)
class AccessVerdict:
    """What pg_hba.conf says about a connection, and what to add where it does not let it in."""

    allowed: bool | None
    """Whether it is let in, if it also authenticates; None when ``undecided`` rules matter."""
    rule: HbaRule | None
    """The line that decides; None when none does, which means no."""
    undecided: tuple[HbaRule, ...]
    """Lines before it of which only the server knows whether they match: host names, and the
    server's own networks."""
    errors: tuple[HbaRule, ...]
    """Lines that the server cannot read: as long as there are any, it loads no change at all."""
    unmatchable: tuple[HbaRule, ...]
    """Lines that the server reads and that can match nothing, as hostssl where SSL is off."""
    line: str
    """The line that lets it in, to be put before the deciding and the undecided ones."""


@attrs.frozen
class AccessRequest:
    """The connections that are asked about: of a role, from an address, to a database."""

    role: str
    address: str | None = attrs.field(kw_only=True)
    database: str = attrs.field(kw_only=True)
    ssl: bool = attrs.field(kw_only=True)
    method: str = attrs.field(kw_only=True)

    def __attrs_post_init__(self) -> None:
        for text in (self.role, self.database, self.method):
            if not isinstance(text, str):
                raise TypeError(f"who asks for access to what is text, not {type(text).__name__}")
            # A line break would begin another rule.
            if not text or any(mark in text for mark in "\n\r\0"):
                raise ValueError(
                    f"there is no line break in a rule, and no part is empty: {text!r}"
                )
        for name in (self.role, self.database):
            # Quoted in the file it would be a name, but the server does not show the quotes.
            if name in _KEYWORDS or name[0] in "+/@" or self.role == PHYSICAL:
                raise ValueError(
                    f"the server does not tell {name!r} from what is special in a rule"
                )
        if self.method == "reject" or not _METHOD.fullmatch(self.method):
            raise ValueError(
                f"a method that lets in is one word as in scram-sha-256, not {self.method!r}"
            )

    @property
    def network(self) -> Network | None:
        """The address as a network; None for a Unix socket.

        Raises: ValueError.
        """
        return None if self.address is None else ip_network(self.address)


def decide_access(
    asked: AccessRequest,
    rules: Sequence[HbaRule],
    *,
    groups: Collection[str],
    line: str,
    has_regexes: bool = True,
) -> AccessVerdict:
    """The first rule that matches, as the server goes through them.

    ``groups`` are the roles that the role is in, itself included; ``has_regexes`` is whether
    a name that begins with a slash is a regular expression (16 on).
    """
    role, database, network = asked.role, asked.database, asked.network
    undecided = []
    decided = None
    for rule in rules:
        if rule.error is not None:
            continue
        matches = _all_of(
            _connects(rule.type, network, asked.ssl),
            _any_of(
                _fits_database(word, database, role, groups, has_regexes) for word in rule.database
            ),
            _any_of(_fits_role(word, role, groups, has_regexes) for word in rule.user_name),
            _fits_address(rule, network),
        )
        if matches:
            decided = rule
            break
        if matches is None:
            undecided.append(rule)
    allowed: bool | None = decided is not None and decided.auth_method != "reject"
    if any((rule.auth_method != "reject") is not allowed for rule in undecided):
        allowed = None
    return AccessVerdict(
        allowed=allowed,
        rule=decided,
        undecided=tuple(undecided),
        errors=tuple(rule for rule in rules if rule.type is None),
        unmatchable=tuple(rule for rule in rules if rule.type and rule.error is not None),
        line=line,
    )


def _all_of(*answers: bool | None) -> bool | None:
    if False in answers:
        return False
    return None if None in answers else True


def _any_of(given: Iterable[bool | None]) -> bool | None:
    answers = list(given)
    if True in answers:
        return True
    return None if None in answers else False


def _connects(kind: str | None, network: Network | None, ssl: bool) -> bool:
    if network is None:
        return kind == "local"
    return kind in {"host", "hostnogssenc", "hostssl" if ssl else "hostnossl"}


def _fits_database(
    word: str, database: str, role: str, groups: Collection[str], has_regexes: bool
) -> bool | None:
    if word == PHYSICAL or database == PHYSICAL:
        return word == database
    match word:
        case "all":
            return True
        case "sameuser":
            return database == role
        case "samerole" | "samegroup":
            return database in groups
    return _fits_name(word, database, has_regexes)


def _fits_role(word: str, role: str, groups: Collection[str], has_regexes: bool) -> bool | None:
    if word == "all":
        return True
    if word.startswith("+"):
        return word[1:] in groups
    return _fits_name(word, role, has_regexes)


def _fits_name(word: str, name: str, has_regexes: bool) -> bool | None:
    if not (has_regexes and word.startswith("/")):
        return word == name
    # What means the same to the server's kind of expressions and to Python's.
    if not _PLAIN_REGEX.fullmatch(word[1:]):
        return None
    try:
        return re.search(word[1:], name) is not None
    except re.error:
        return None


def _fits_address(rule: HbaRule, network: Network | None) -> bool | None:
    if network is None or rule.address == "all":
        return True
    if rule.address == "samehost" and network.is_loopback:
        return True
    try:
        allowed = _network(str(rule.address), rule.netmask)
    except ValueError:  # a host name, samehost or samenet
        return None
    if allowed.version != network.version:
        return False
    if network.subnet_of(allowed):  # type: ignore[arg-type]
        return True
    return None if network.overlaps(allowed) else False


def _network(address: str, netmask: str | None) -> Network:
    if netmask is None:
        return ip_network(address)
    length = int(ip_address(netmask)).bit_count()
    return ip_network(f"{address}/{length}", strict=False)
