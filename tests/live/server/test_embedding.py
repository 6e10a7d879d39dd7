"""Connections of ORMs, and the tracing of statements: `nox -s embedding` installs the packages."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Any

import psycopg
import pytest
from clusters import Cluster
from psycopg.conninfo import conninfo_to_dict

import pgreplkit
from pgreplkit import AsyncPrimary, Primary


def test_a_connection_of_sqlalchemy_is_used_as_it_is(cluster: Cluster) -> None:
    sqlalchemy: Any = pytest.importorskip("sqlalchemy")
    conninfo = cluster.primary.conninfo
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(conninfo)
    )
    with engine.connect() as connection:
        primary = Primary(connection.connection.driver_connection)
        assert primary.version == cluster.major
        assert connection.execute(sqlalchemy.text("SELECT 1")).scalar() == 1
        with pytest.raises(TypeError, match="driver_connection"):
            Primary(connection)
    engine.dispose()


def test_a_connection_of_an_async_engine_is_used_as_it_is(cluster: Cluster) -> None:
    pytest.importorskip("sqlalchemy")
    pytest.importorskip("greenlet")
    create_async_engine: Any = import_module("sqlalchemy.ext.asyncio").create_async_engine
    conninfo = cluster.primary.conninfo

    async def slots() -> object:
        async def connect() -> psycopg.AsyncConnection[Any]:
            return await psycopg.AsyncConnection.connect(conninfo)

        engine = create_async_engine("postgresql+psycopg://", async_creator=connect)
        async with engine.connect() as connection:
            raw = await connection.get_raw_connection()
            found = await AsyncPrimary(raw.driver_connection).slots()
        await engine.dispose()
        return found

    assert isinstance(asyncio.run(slots()), pgreplkit.rows.Rows)


def test_a_connection_of_django_is_used_as_it_is(cluster: Cluster) -> None:
    settings: Any = pytest.importorskip("django.conf").settings
    parts = conninfo_to_dict(cluster.primary.conninfo)
    database = {"ENGINE": "django.db.backends.postgresql", "NAME": parts.pop("dbname")}
    names = {"HOST": "host", "PORT": "port", "USER": "user"}
    database |= {theirs: str(parts.pop(ours)) for theirs, ours in names.items()}
    settings.configure(DATABASES={"default": {**database, "OPTIONS": parts}})
    connection: Any = import_module("django.db").connection
    connection.ensure_connection()
    assert Primary(connection.connection).version == cluster.major
    with pytest.raises(TypeError, match="ensure_connection"):
        Primary(connection)
    connection.close()


def test_statements_are_traced_but_not_those_with_secrets(cluster: Cluster) -> None:
    psycopg_tracing: Any = pytest.importorskip("opentelemetry.instrumentation.psycopg")
    trace: Any = import_module("opentelemetry.sdk.trace")
    export: Any = import_module("opentelemetry.sdk.trace.export")
    memory: Any = import_module("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    spans = memory.InMemorySpanExporter()
    provider = trace.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(spans))
    instrumentor = psycopg_tracing.PsycopgInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    try:
        with pgreplkit.connect(cluster.primary.conninfo) as primary:
            assert isinstance(primary, Primary)
            primary.slots()
            primary.create_replication_role("traced", password="hunter2")
            primary.drop_replication_role("traced")
    finally:
        instrumentor.uninstrument()
    texts = [str(dict(span.attributes)) for span in spans.get_finished_spans()]
    assert any("pg_replication_slots" in text for text in texts)
    assert any("DROP ROLE" in text for text in texts)
    assert not any("hunter2" in text for text in texts)
