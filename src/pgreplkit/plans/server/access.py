"""decide_access: find the line of pg_hba.conf that decides about a connection."""

import re
from collections.abc import Collection, Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TypeAlias

import attrs

from pgreplkit.catalog.server.access import HbaRule
from pgreplkit.values.record import Record

Network: TypeAlias = IPv4Network | IPv6Network

_METHOD = re.compile("[a-z0-9-]+")
# PostgreSQL and Python agree on these few constructs; backslashes and lookahead differ.
_PLAIN_REGEX = re.compile(r"[\w .^$|*+?()-]*|[\w .^$|*+?()-]*\[[\w-]+\][\w .^$|*+?()-]*", re.ASCII)
_KEYWORDS = {"all", "sameuser", "samerole", "samegroup"}
PHYSICAL = "replication"
"""The keyword for physical replication connections, which ``all`` does not match."""


@attrs.frozen(kw_only=True)
class AccessVerdict(Record):
    """The decision of pg_hba.conf about a connection, and the line to add if it is refused."""

    allowed: bool | None
    """Whether the connection may authenticate; None if it depends on ``undecided`` rules."""
    rule: HbaRule | None
    """The rule that decides; None if no rule matches, which refuses the connection."""
    undecided: tuple[HbaRule, ...]
    """Rules before it that only the server can evaluate: host names, and the server's own
    networks."""
    errors: tuple[HbaRule, ...]
    """Lines that the server cannot parse: while there are any, it loads no change at all."""
    unmatchable: tuple[HbaRule, ...]
    """Lines that cannot match any connection, such as hostssl while SSL is off."""
    line: str
    """The line that allows the connection; insert it before the deciding and undecided rules."""


@attrs.frozen
class AccessRequest:
    """A connection by its role, address, database, encryption and authentication method."""

    role: str
    address: str | None = attrs.field(kw_only=True)
    database: str = attrs.field(kw_only=True)
    ssl: bool = attrs.field(kw_only=True)
    method: str = attrs.field(kw_only=True)

    def __attrs_post_init__(self) -> None:
        for text in (self.role, self.database, self.method):
            if not isinstance(text, str):
                raise TypeError(f"role, database and method must be str, not {type(text).__name__}")
            # A line break would start another rule.
            if not text or any(mark in text for mark in "\n\r\0"):
                raise ValueError(
                    f"a part of a rule must not be empty or contain a line break: {text!r}"
                )
        for name in (self.role, self.database):
            # Quoted in the file this would be a name, but the server does not show the quotes.
            if name in _KEYWORDS or name[0] in "+/@" or self.role == PHYSICAL:
                raise ValueError(
                    f"cannot distinguish the name {name!r} from a keyword of pg_hba.conf"
                )
        if self.method == "reject" or not _METHOD.fullmatch(self.method):
            raise ValueError(
                f"method must be one word such as scram-sha-256, and not reject: {self.method!r}"
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
    """Return the decision of the first matching rule, as the server evaluates them.

    ``groups`` are the roles of which the role is a member, including itself; ``has_regexes`` says
    whether a name that starts with a slash is a regular expression (16 on).
    """
    role, database, network = asked.role, asked.database, asked.network
    undecided = []
    decided = None
    for rule in rules:
        # The server skips these too: it has never loaded them.
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
    # An undecided rule with the same result does not change the decision.
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
    # The keyword matches physical replication only, and nothing else matches that.
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
    # Only expressions that have the same meaning for the server and for Python.
    if not _PLAIN_REGEX.fullmatch(word[1:]):
        return None
    try:
        return re.search(word[1:], name) is not None
    except re.error:
        return None


def _fits_address(rule: HbaRule, network: Network | None) -> bool | None:
    if network is None or rule.address == "all":
        return True
    # The server's own addresses are unknown here, except for loopback.
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
    # A rule for a part of the requested network decides for that part only.
    return None if network.overlaps(allowed) else False


def _network(address: str, netmask: str | None) -> Network:
    if netmask is None:
        return ip_network(address)
    # Netmasks of IPv6 addresses too, which ip_network() does not take.
    length = int(ip_address(netmask)).bit_count()
    return ip_network(f"{address}/{length}", strict=False)
