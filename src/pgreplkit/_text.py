"""Names and texts in SQL, and counts, for errors and values alike."""

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


def counted(number: int, singular: str, plural: str = "") -> str:
    """Return a number with the form of a noun, or of a noun and its verb, that belongs to it.

    >>> counted(1, "table"), counted(2, "table"), counted(0, "file waits", "files wait")
    ('1 table', '2 tables', '0 files wait')
    """
    return f"{number} {singular if number == 1 else plural or f'{singular}s'}"
