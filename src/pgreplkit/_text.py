"""Names and texts in SQL, for errors and values alike."""

LONGEST_NAME = 63
"""Bytes of a name: the server has 64 (NAMEDATALEN), of which the last one is NUL."""


def quote_identifier(name: str) -> str:
    """Return ``name`` as a quoted SQL identifier.

    >>> quote_identifier('a"b')
    '"a""b"'
    """
    return '"' + name.replace('"', '""') + '"'


def quote_literal(text: str) -> str:
    """Return ``text`` as an SQL string, for a server with standard_conforming_strings.

    >>> quote_literal("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"
