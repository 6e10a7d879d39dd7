"""Entries of a server's log in several languages, as PostgreSQL's translations write them."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from pgreplkit import LSN, TableName
from pgreplkit.plans.logical.conflictlog import logged_conflicts
from pgreplkit.plans.logical.failing import logged_error
from pgreplkit.plans.logical.serverlog import (
    ApplyContext,
    apply_context,
    is_understood,
    log_entries,
)
from pgreplkit.rows import ConflictType

CONTEXTS = {
    "en": 'processing remote data for replication origin "pg_16395" during message type "INSERT"'
    ' for replication target relation "public.t" in transaction 725, finished at 0/14C0378',
    "de": "Verarbeiten empfangener Daten für Replication-Origin »pg_16395« bei Nachrichtentyp"
    " »INSERT« für Replikationszielrelation »public.t« in Transaktion 725, beendet bei 0/14C0378",
    "es": "procesando datos remotos de origen de replicación «pg_16395» durante el mensaje de tipo"
    " «INSERT» para la relación de destino «public.t» en la transacción 725, concluida en"
    " 0/14C0378",
    "fr": "traitement des données distantes pour l'origine de réplication « pg_16395 » lors du"
    " message de type « INSERT » dans la transaction 725, terminée à 0/14C0378",
    "ja": '0/14C0378で終了したトランザクション725中、レプリケーション先リレーション"public.t"'
    'に対するメッセージタイプ"INSERT"でレプリケーション基点"pg_16395"のリモートからのデータを処理中',
    "ru": 'обработка внешних данных для источника репликации "pg_16395" в контексте сообщения типа'
    ' "INSERT" для целевого отношения репликации "public.t" в транзакции 725, конечная позиция'
    " 0/14C0378",
}
LABELS = {
    "en": ("ERROR:  ", "DETAIL:  ", "CONTEXT:  ", "LOG:  "),
    "de": ("FEHLER:  ", "DETAIL:  ", "ZUSAMMENHANG:  ", "LOG:  "),
    "es": ("ERROR:  ", "DETALLE:  ", "CONTEXTO:  ", "LOG:  "),
    "fr": ("ERREUR:  ", "DÉTAIL:  ", "CONTEXTE :  ", "LOG:  "),
    "ja": ("ERROR:  ", "詳細:  ", "文脈:  ", "LOG:  "),
    "ru": ("ОШИБКА:  ", "ПОДРОБНОСТИ:  ", "КОНТЕКСТ:  ", "СООБЩЕНИЕ:  "),
}
every_language = pytest.mark.parametrize("language", CONTEXTS)


def log(language: str, message: str, prefix: str = "2026-11-24 10:00:00 UTC [7] ") -> str:
    error, detail, context, other = LABELS[language]
    return (
        f"{prefix}{other}x\n{prefix}{error}{message}\n{prefix}{detail}a\n\tb\n"
        f"{prefix}{context}{CONTEXTS[language]}\n{prefix}{other}y\n"
    )


@every_language
def test_an_apply_workers_context_is_read_in_any_language(language: str) -> None:
    assert apply_context(CONTEXTS[language]) == ApplyContext(16395, 725, LSN("0/14C0378"))


@every_language
@pytest.mark.parametrize("prefix", ["", "2026-11-24 10:00:00 UTC [7] ", "7:", "a@b/c "])
def test_an_error_of_a_transaction_is_found_in_any_language(language: str, prefix: str) -> None:
    text = log(language, "duplicate key", prefix)
    found = logged_error(text, 16395, LSN("0/14C0378"))
    assert found == f"duplicate key; a b; {CONTEXTS[language]}"
    assert logged_error(text, 1639, LSN("0/14C0378")) is None
    assert logged_error(text, 16395, LSN("0/14C037")) is None


@every_language
def test_a_conflict_is_found_in_any_language(language: str) -> None:
    message = 'Konflikt in «odd.x y»: "art"=update_missing'
    [conflict] = logged_conflicts(log(language, message), 16395)
    assert (conflict.type, conflict.table) == (ConflictType.UPDATE_MISSING, TableName("odd", "x y"))
    assert (conflict.xid, conflict.finish_lsn) == (725, LSN("0/14C0378"))
    assert conflict.detail == "a b"


@pytest.mark.parametrize("language", ["", "C", "POSIX", "en_US.UTF-8", "fr_FR", "de@euro", None])
def test_known_languages_are_understood(language: str | None) -> None:
    assert is_understood(language)


@pytest.mark.parametrize("language", ["pl_PL.UTF-8", "tr_TR", "xx"])
def test_unknown_languages_are_not(language: str) -> None:
    assert not is_understood(language)


@given(st.text())
def test_any_text_can_be_a_log(text: str) -> None:
    for entry in log_entries(text):
        apply_context(entry.context)
    assert logged_conflicts(text, 1) == []


def test_an_incomplete_last_line_is_left_out() -> None:
    text = log("en", "duplicate key")
    end = text.index("0/14C0378") + 4
    assert logged_error(text[:end], 16395, LSN("0/14")) is None
