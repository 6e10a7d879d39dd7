"""Names and texts in SQL, counts, and texts in one line, for errors and values alike."""

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


def one_line(text: object) -> str:
    """Return a text, such as an error of libpq, in one line for a log or within another text.

    >>> one_line("connection failed: No route to host\\n\\tIs the server running?")
    'connection failed: No route to host Is the server running?'
    """
    return " ".join(str(text).split())
