"""decide_access: the first rule that matches, and facts that only the server knows."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from pgreplkit.plans.server.access import AccessRequest, AccessVerdict, decide_access
from pgreplkit.rows import HbaRule


def rule(text: str, number: int = 1) -> HbaRule:
    """A rule in the form ``type database user [address] method``."""
    kind, database, user, *rest = text.split()
    address = rest[0] if len(rest) == 2 else None
    netmask = None
    if address and "/" in address:
        address, _, length = address.partition("/")
        netmask = "ffff:" * 4 + ":" if ":" in address else mask(int(length))
    return HbaRule(
        line_number=number,
        type=kind,
        database=tuple(database.split(",")),
        user_name=tuple(user.split(",")),
        address=address,
        netmask=netmask,
        auth_method=rest[-1],
        options=(),
        error=None,
    )


def mask(length: int) -> str:
    bits = (0xFFFFFFFF << (32 - length)) & 0xFFFFFFFF
    return ".".join(str(bits >> shift & 255) for shift in (24, 16, 8, 0))


def verdict(
    *texts: str,
    role: str = "rep",
    address: str | None = "10.0.0.7",
    database: str = "replication",
    ssl: bool = False,
    groups: tuple[str, ...] = ("rep", "crew"),
) -> AccessVerdict:
    asked = AccessRequest(role, address=address, database=database, ssl=ssl, method="scram-sha-256")
    rules = [rule(text, number) for number, text in enumerate(texts, 1)]
    return decide_access(asked, rules, groups=groups, line="the line")


@pytest.mark.parametrize(
    ("text", "asked", "allowed"),
    [
        ("host replication rep 10.0.0.0/8 md5", {}, True),
        ("host replication rep 10.0.0.0/8 reject", {}, False),
        ("host all rep 10.0.0.0/8 md5", {}, False),  # all is not replication
        ("host all rep 10.0.0.0/8 md5", {"database": "shop"}, True),
        ("host replication rep 10.0.0.0/8 md5", {"database": "shop"}, False),
        ("host replication other 10.0.0.0/8 md5", {}, False),
        ("host replication all 10.0.0.0/8 md5", {}, True),
        ("host replication +crew 10.0.0.0/8 md5", {}, True),
        ("host replication +gang 10.0.0.0/8 md5", {}, False),
        ("host replication,shop a,rep 10.0.0.0/8 md5", {}, True),
        ("host replication /^re 10.0.0.0/8 md5", {}, True),
        ("host replication /^x 10.0.0.0/8 md5", {}, False),
        ("host replication /( 10.0.0.0/8 md5", {}, None),
        ("host replication /[[:alpha:]] 10.0.0.0/8 md5", {}, None),
        ("host replication rep 10.1.0.0/16 md5", {}, False),
        ("host replication rep all md5", {}, True),
        ("host replication rep samenet md5", {}, None),
        ("host replication rep db.example md5", {}, None),
        ("host replication rep db.example reject", {}, False),
        ("host replication rep samehost md5", {"address": "127.0.0.1"}, True),
        ("hostssl replication rep all md5", {}, False),
        ("hostssl replication rep all md5", {"ssl": True}, True),
        ("hostnossl replication rep all md5", {}, True),
        ("hostnossl replication rep all md5", {"ssl": True}, False),
        ("hostgssenc replication rep all md5", {}, False),
        ("hostnogssenc replication rep all md5", {}, True),
        ("local replication rep peer", {}, False),
        ("local replication rep peer", {"address": None}, True),
        ("host replication rep all md5", {"address": None}, False),
        ("host replication rep 10.0.0.7/32 md5", {"address": "10.0.0.0/24"}, None),
        ("host replication rep fe80::/64 md5", {"address": "fe80::1"}, True),
        ("host replication rep fe80::/64 md5", {}, False),
        ("host sameuser rep all md5", {"database": "rep"}, True),
        ("host sameuser rep all md5", {"database": "shop"}, False),
        ("host samerole rep all md5", {"database": "crew"}, True),
        ("host samegroup rep all md5", {"database": "gang"}, False),
    ],
)
def test_one_rule_matches_as_the_server_matches_it(
    text: str, asked: dict[str, object], allowed: bool | None
) -> None:
    assert verdict(text, **asked).allowed is allowed  # type: ignore[arg-type]


def test_the_first_rule_that_matches_decides() -> None:
    found = verdict(
        "host replication other all trust",
        "host replication rep all reject",
        "host replication rep all md5",
    )
    assert found.allowed is False
    assert found.rule is not None
    assert found.rule.line_number == 2
    assert str(found.rule) == "host replication rep all reject"
    assert found.line == "the line"


def test_access_is_refused_without_a_matching_rule() -> None:
    found = verdict("host all all all md5")
    assert (found.allowed, found.rule, found.undecided) == (False, None, ())


def test_unknown_facts_matter_only_if_they_change_the_verdict() -> None:
    same = verdict("host replication rep db.example md5", "host replication rep all trust")
    assert same.allowed is True
    assert len(same.undecided) == 1
    other = verdict("host replication rep db.example reject", "host replication rep all trust")
    assert other.allowed is None


def test_an_invalid_line_is_reported_and_decides_nothing() -> None:
    broken = HbaRule(
        line_number=3,
        type=None,
        database=(),
        user_name=(),
        address=None,
        netmask=None,
        auth_method=None,
        options=(),
        error="invalid connection type",
    )
    asked = AccessRequest(
        "rep", address="10.0.0.7", database="replication", ssl=False, method="md5"
    )
    found = decide_access(asked, [broken], groups=["rep"], line="")
    assert (found.allowed, found.errors) == (False, (broken,))


@given(st.ip_addresses(v=4), st.integers(0, 32))
def test_every_address_is_inside_its_own_network(address: object, length: int) -> None:
    text = f"host replication rep {address}/{length} md5"
    assert verdict(text, address=str(address)).allowed is True
