"""Connection strings of libpq, parsed without libpq, so that each version's parameters are kept."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote

BY_ROLE = ("target_session_attrs", "load_balance_hosts")
"""Parameters that choose a server by its role: a walreceiver, and a check whether a server is
alive, mean a server of any role."""
PARAMETER_SINCE = {
    **dict.fromkeys(("gssencmode", "tcp_user_timeout"), 12),
    **dict.fromkeys(("channel_binding", "sslpassword"), 13),
    **dict.fromkeys(("ssl_min_protocol_version", "ssl_max_protocol_version"), 13),
    **dict.fromkeys(("sslcrldir", "sslsni"), 14),
    **dict.fromkeys(("require_auth", "sslcertmode", "load_balance_hosts", "gssdelegation"), 16),
    "sslnegotiation": 17,
    **dict.fromkeys(("min_protocol_version", "max_protocol_version", "sslkeylogfile"), 18),
    **dict.fromkeys(("scram_client_key", "scram_server_key"), 18),
    **dict.fromkeys(("oauth_issuer", "oauth_client_id", "oauth_scope", "oauth_client_secret"), 18),
    "servicefile": 19,
}
"""The first major version of libpq that knows a parameter; all versions know the others."""

_URI = re.compile(
    r"""
    postgres(?:ql)?://
    (?:(?P<user>[^:@/?]*)(?::(?P<password>[^@]*?))?@)?
    (?P<hosts>(?:\[[^\]]*\]|[^/?\[\]])*)
    (?:/(?P<dbname>[^?]*))?
    (?:\?(?P<params>.*))?
    """,
    re.VERBOSE | re.DOTALL,
)
_HOST = re.compile(r"(?P<host>\[[^\]]*\]|[^:]*)(?::(?P<port>.*))?", re.DOTALL)
_PAIR = re.compile(
    r"""\s*(?P<name>[^=\s]+)\s*=\s*(?:'(?P<quoted>(?:[^'\\]|\\.)*)'|(?P<bare>(?:[^\s\\']|\\.)*))""",
    re.VERBOSE | re.DOTALL,
)

_SHOWN = re.compile(r"(?:^| )(?P<name>[a-z][a-z0-9_]*)=")


def parse_conninfo(text: str) -> dict[str, str]:
    r"""Return the parameters of a connection string; the last of several equal names counts.

    >>> parse_conninfo(r"host=db1 password='it\'s' sslnegotiation = direct")
    {'host': 'db1', 'password': "it's", 'sslnegotiation': 'direct'}
    >>> parse_conninfo("postgresql://me@db1:5433,[::1]/app?sslmode=require")
    {'user': 'me', 'host': 'db1,::1', 'port': '5433,', 'dbname': 'app', 'sslmode': 'require'}

    Raises:
        ValueError: If the string is malformed. The message does not repeat the string, because it
            may contain a password.
    """
    if "\0" in text:
        raise ValueError("a connection string cannot contain the character NUL")
    if text.startswith(("postgresql://", "postgres://")):
        return dict(_uri_parameters(text))
    parameters, at = {}, 0
    end = len(text.rstrip())
    while at < end:
        match = _PAIR.match(text, at)
        if match is None or (match.end() < end and not text[match.end()].isspace()):
            raise ValueError("a connection string is a list of name=value, or a URI")
        value = match["quoted"] if match["quoted"] is not None else match["bare"]
        parameters[match["name"]] = re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL)
        at = match.end()
    return parameters


def parse_shown_conninfo(text: str) -> dict[str, str]:
    """Return the parameters of the conninfo that pg_stat_wal_receiver shows.

    The server writes the values there without quotes, so that they may contain spaces.

    >>> parse_shown_conninfo("host=db1 options=-c work_mem=7MB application_name=DB Two")
    {'host': 'db1', 'options': '-c work_mem=7MB', 'application_name': 'DB Two'}
    """
    parameters: dict[str, str] = {}
    name, begin = "", 0
    for match in _SHOWN.finditer(text):
        value = text[begin : match.start()]
        # In these, name=value is a setting of the session.
        if name == "options" and value.rstrip().endswith("-c"):
            continue
        if name:
            parameters[name] = value
        name, begin = match["name"], match.end()
    if name:
        parameters[name] = text[begin:]
    return parameters


def format_conninfo(parameters: Mapping[str, str]) -> str:
    r"""Return a connection string with these parameters.

    >>> format_conninfo({"host": "db1", "password": "it's", "options": ""})
    "host=db1 password=it\\'s options=''"
    """
    return " ".join(f"{name}={_escaped(value)}" for name, value in parameters.items())


def _escaped(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'" if not value or re.search(r"\s", value) else escaped


def _uri_parameters(text: str) -> Iterator[tuple[str, str]]:
    match = _URI.fullmatch(text)
    if match is None:
        raise ValueError("a connection URI is postgresql://user@host:port/dbname?name=value")
    for name in ("user", "password"):
        if match[name]:
            yield name, unquote(match[name])
    places = [_HOST.fullmatch(part) for part in match["hosts"].split(",")]
    hosts = [unquote(place["host"].strip("[]")) for place in places if place]
    ports = [place["port"] or "" for place in places if place]
    if any(hosts):
        yield "host", ",".join(hosts)
    if any(ports):
        yield "port", ",".join(ports)
    if match["dbname"]:
        yield "dbname", unquote(match["dbname"])
    for pair in (match["params"] or "").split("&"):
        name, equals, value = pair.partition("=")
        if pair and not equals:
            raise ValueError("a parameter of a connection URI must be name=value")
        if (name, value) == ("ssl", "true"):  # as JDBC writes it
            name, value = "sslmode", "require"
        if pair:
            yield unquote(name), unquote(value)
