"""Secrets: connection strings without them, and passwords that no list of processes shows."""

from __future__ import annotations

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgreplkit.errors import ControlFailed

_NO_PASSFILE = ("sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key")
"""Secrets that a password file cannot hold."""
_SECRET = ("password", "passfile", *_NO_PASSFILE)


def without_password(shown: str | None) -> str | None:
    """Return the conninfo of pg_stat_wal_receiver as a connection string without its secrets.

    None if it is malformed.
    """
    from pgreplkit.values.conninfosyntax import (
        format_conninfo,
        parse_conninfo,
        parse_shown_conninfo,
    )

    text = shown or ""
    # Every walreceiver sets this parameter. Without it the text is primary_conninfo as configured,
    # which the server shows once a walreceiver has continued on another timeline.
    is_shown = "fallback_application_name=" in text
    try:
        parts = parse_shown_conninfo(text) if is_shown else parse_conninfo(text)
    except ValueError:
        return None
    return format_conninfo({k: v for k, v in parts.items() if k not in _SECRET}) or None


def private_conninfo(conninfo: str, opened_with: str) -> tuple[str, bytes | None]:
    """Return a connection string that a process list may show, and the password file it needs.

    The content of the file is None if the string has no password. ``opened_with`` is the string
    that was resolved to ``conninfo``: if a service has another secret, the program reads it from
    the service as well.

    Raises: ControlFailed if the string has another secret.
    """
    parts, given = conninfo_to_dict(conninfo), conninfo_to_dict(opened_with)
    shown = [name for name in _NO_PASSFILE if parts.get(name)]
    if shown and (not given.get("service") or {*shown} & {*given}):
        raise ControlFailed(
            "keep a connection string's secrets private",
            f"the list of processes would show {shown[0]}",
            remedy="put it into a service file that the server's account can read, and name the"
            " service with service=",
        )
    for name in shown:
        del parts[name]
        parts["service"] = given["service"]
        parts["servicefile"] = given.get("servicefile")
    password = parts.pop("password", None)
    if password is None:
        return make_conninfo("", **parts), None
    escaped = str(password).replace("\\", "\\\\").replace(":", "\\:")
    return make_conninfo("", **parts), f"*:*:*:*:{escaped}\n".encode()
