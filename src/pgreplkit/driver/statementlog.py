"""The text of a statement for logs and traces, without secrets."""

from __future__ import annotations

from logging import DEBUG, getLogger

from psycopg.sql import Composable, Composed, Literal

_LOGGER = getLogger("pgreplkit.statements")
_HIDDEN = "'…'"


class Secret(Literal):
    """A literal that neither a log nor a trace may show, such as a connection string."""


def has_secret(statement: Composable) -> bool:
    """Return whether a statement contains a secret."""
    if isinstance(statement, Composed):
        return any(map(has_secret, statement))
    return isinstance(statement, Secret)


def shown(statement: str | Composable) -> str:
    """Return a statement in one line, without the texts in it: they may be data or secrets.

    >>> from psycopg.sql import SQL, Identifier
    >>> shown(SQL("ALTER SYSTEM SET {} = {}").format(Identifier("x"), Literal("y")))
    'ALTER SYSTEM SET "x" = \\'…\\''
    """
    text = statement if isinstance(statement, str) else "".join(_parts(statement))
    return " ".join(text.split())


def _parts(statement: Composable) -> list[str]:
    if isinstance(statement, Composed):
        return [text for part in statement for text in _parts(part)]
    if isinstance(statement, Literal) and not isinstance(statement._obj, bool | int):
        return [_HIDDEN]
    return [statement.as_string()]


def log_statement(operation: str, statement: str | Composable) -> None:
    """Log a statement that is about to run; parameters are never logged."""
    if _LOGGER.isEnabledFor(DEBUG):
        _LOGGER.debug("%s: %s", operation, shown(statement))
