"""Entries of a server's text log, in the languages of PostgreSQL's translations."""

from __future__ import annotations

import re
from collections.abc import Iterator

import attrs

from pgreplkit.values.lsn import LSN

_LANGUAGES = {
    "",
    *("C", "POSIX", "en", "de", "es", "fr", "it", "ja", "ka", "ko", "ru", "sv", "uk", "zh"),
}
"""Languages whose labels are known; an empty lc_messages means that of the environment."""
_ERROR = "ERROR FEHLER ERREUR ERRORE FEL ОШИБКА ПОМИЛКА შეცდომა 错误 오류"
_OTHER = """
    LOG LOGG СООБЩЕНИЕ ЗАПИСУВАННЯ ჟურნალი 日志 로그
    INFO ИНФОРМАЦИЯ ІНФОРМАЦІЯ ინფორმაცია 信息 정보
    NOTICE HINWEIS NOTIFICA NOTIS ЗАМЕЧАНИЕ ПОВІДОМЛЕННЯ გაფრთხილება 注意 알림
    WARNING WARNUNG ATTENTION ATTENZIONE VARNING ПРЕДУПРЕЖДЕНИЕ ПОПЕРЕДЖЕННЯ 警告 경고
    FATAL FATALE FATALT ВАЖНО ФАТАЛЬНО ფატალური 致命错误 치명적오류
    PANIC PANICO PANIK ПАНИКА ПАНІКА პანიკა 比致命错误还过分的错误 손상
    DEBUG DEBUG1 DEBUG2 DEBUG3 DEBUG4 DEBUG5 ОТЛАДКА НАЛАГОДЖЕННЯ გამართვა 调试 디버그
"""
_DETAIL = """DETAIL DETALLE DÉTAIL DETTAGLI DETALJ ПОДРОБНОСТИ ВІДОМОСТІ დეტალები
    詳細 详细信息 상세정보"""
_CONTEXT = """CONTEXT ZUSAMMENHANG CONTEXTO CONTEXTE CONTESTO KONTEXT КОНТЕКСТ კონტექსტი
    文脈 上下文 내용"""
_KINDS = {
    **dict.fromkeys(_OTHER.split(), "other"),
    **dict.fromkeys(_ERROR.split(), "error"),
    **dict.fromkeys(_DETAIL.split(), "detail"),
    **dict.fromkeys(_CONTEXT.split(), "context"),
}
# In French a space precedes the colon.
_LABEL = re.compile(
    rf"(?<![^\W\d_])({'|'.join(sorted(_KINDS, key=len, reverse=True))})[ \u00a0]?:  (.*)"
)
QUOTED = r'["«»„“”][\s\u00a0]?([^"«»„“”]+?)[\s\u00a0]?["«»“”]'
"""A quoted name, with the quotes of any language."""
_ORIGIN = re.compile(r'["«»„“”][\s\u00a0]?pg_([0-9]+)[\s\u00a0]?["«»“”]')
_LSN = re.compile(r"(?<![0-9A-Za-z])([0-9A-F]{1,8}/[0-9A-F]{1,8})(?![0-9A-Za-z])")
_NUMBER = re.compile(r"(?<![0-9A-Za-z/])([0-9]+)(?![0-9A-Za-z/])")


@attrs.frozen(kw_only=True)
class LogEntry:
    """An entry of a server's log."""

    is_error: bool
    message: str
    detail: str = ""
    context: str = ""


@attrs.frozen
class ApplyContext:
    """The subscription and transaction that an apply worker names in the context of an entry."""

    oid: int
    xid: int | None
    finish_lsn: LSN | None


def is_understood(language: str | None) -> bool:
    """Return whether log entries of a language (the value of lc_messages) can be parsed."""
    # Names such as de_DE.UTF-8 and C.UTF-8.
    return re.split(r"[_.@]", language or "", maxsplit=1)[0] in _LANGUAGES


def log_entries(log: str) -> Iterator[LogEntry]:
    """Return the entries of a log, without an incomplete last line."""
    entry: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in log.splitlines() if log.endswith("\n") else log.splitlines()[:-1]:
        # The server begins each further line of a text with a tab.
        if line.startswith("\t"):
            lines.append(line.strip())
            continue
        match = _LABEL.search(line)
        kind = _KINDS[match[1]] if match else ""
        lines = [match[2].strip()] if match else []
        # Details and context follow the message that they belong to.
        if kind in {"error", "other"}:
            if entry:
                yield _entry(entry)
            entry = {}
        if kind:
            entry[kind] = lines
    if entry:
        yield _entry(entry)


def _entry(parts: dict[str, list[str]]) -> LogEntry:
    return LogEntry(
        is_error="error" in parts,
        message=" ".join(parts.get("error") or parts.get("other") or []),
        detail=" ".join(parts.get("detail", [])),
        context=" ".join(parts.get("context", [])),
    )


def apply_context(context: str) -> ApplyContext | None:
    """Return the names in an apply worker's context; None if it names no subscription."""
    origin = _ORIGIN.search(context)
    if origin is None:
        return None
    # Translations name the parts in another order. Names are quoted; the rest are numbers.
    bare = re.sub(QUOTED, " ", context)
    lsn = _LSN.search(bare)
    number = _NUMBER.search(_LSN.sub(" ", bare))
    return ApplyContext(
        int(origin[1]), int(number[1]) if number else None, LSN(lsn[1]) if lsn else None
    )
