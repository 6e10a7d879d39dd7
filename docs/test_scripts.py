"""The files that the how-to pages let their readers save work as the pages say."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from scripts import save_files

from pgreplkit.lab import Lab, Node


@pytest.fixture(scope="module")
def primary(pgreplkit_lab: Lab) -> Node:
    return pgreplkit_lab.primary(settings={"wal_level": "logical"})


def test_the_nightly_check_is_silent_until_a_server_has_a_problem(
    primary: Node, tmp_path: Path
) -> None:
    save_files("check-servers-nightly.md", tmp_path)
    check = [sys.executable, tmp_path / "check_replication.py"]
    run = subprocess.run([*check, primary.conninfo], capture_output=True, text=True, check=True)
    assert run.stdout == ""
    run = subprocess.run(
        [*check, primary.conninfo, "host=127.0.0.1 port=1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert run.stdout.startswith("server 2: could not connect")


def test_the_plugin_prints_a_result_and_exits_with_its_status(
    primary: Node, tmp_path: Path
) -> None:
    save_files("run-checks.md", tmp_path)
    for conninfo, status, line in (
        (primary.conninfo, 0, "OK - "),
        ("host=127.0.0.1 port=1", 2, "CRITICAL - could not connect"),
    ):
        plugin = [sys.executable, tmp_path / "check_wal.py", conninfo]
        run = subprocess.run(plugin, capture_output=True, text=True, check=False)
        assert (run.returncode, run.stdout[: len(line)]) == (status, line)


def test_pytest_and_pytest_postgresql_use_a_lab(tmp_path: Path) -> None:
    save_files("test-with-pytest.md", tmp_path)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "3 passed" in run.stdout


def test_the_service_reports_retained_wal_and_follows_changes(
    primary: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_files("use-in-a-service.md", tmp_path)
    monkeypatch.setenv("SHOP_CONNINFO", primary.conninfo)
    monkeypatch.syspath_prepend(tmp_path)
    with primary.connect() as server:
        server.connection.execute("CREATE TABLE orders (id int PRIMARY KEY, total int)")
        server.create_publication("orders", tables=["orders"])
        server.create_logical_slot("shop")
        server.connection.execute("INSERT INTO orders VALUES (1, 50)")
    order, report, health = asyncio.run(answers())
    assert health == "ok"
    assert order == {"id": 1, "total": 50}
    assert "shop" in [holder["name"] for holder in report["holders"]]


def test_the_migration_moves_rows_and_sequences_and_stops_writes(
    pgreplkit_lab: Lab, tmp_path: Path
) -> None:
    save_files("migrate-by-hand.md", tmp_path)
    old_node = pgreplkit_lab.primary(version="16", settings={"wal_level": "logical"})
    new_node = pgreplkit_lab.primary(version="18")
    servers = old_node.conninfo, new_node.conninfo
    bindir = str(new_node.installation.bindir)
    with old_node.connect() as old, new_node.connect() as new:
        for server in (old, new):
            server.connection.execute("CREATE ROLE app")
        old.connection.execute("CREATE TABLE orders (id serial PRIMARY KEY, total int)")
        old.connection.execute("GRANT INSERT ON orders TO app")
        old.connection.execute("INSERT INTO orders (total) SELECT generate_series(1, 5)")
        for command, more in (("prepare", [bindir]), ("cutover", [])):
            program = [sys.executable, tmp_path / "migrate.py", command, *servers, *more]
            # Enter: there are no clients of the roles that cannot be stopped.
            subprocess.run(program, input=b"\n", capture_output=True, check=True)
            old.connection.execute("INSERT INTO orders (total) VALUES (6)")
        moved = new.connection.execute("SELECT count(*), nextval('orders_id_seq') FROM orders")
        assert moved.fetchone() == (6, 7)
        assert not old.find_writers(["orders"]).revoke_sql
        assert (old.slots(), old.publications(), new.subscriptions()) == ([], [], [])


async def answers() -> tuple[object, dict[str, list[dict[str, object]]], object]:
    """Run the saved service until it knows an order; return its answers."""
    import app

    service = httpx.ASGITransport(app.app)
    async with (
        app.app.router.lifespan_context(app.app),
        httpx.AsyncClient(transport=service, base_url="http://service") as client,
        asyncio.timeout(30),
    ):
        while (order := (await client.get("/orders/last")).json()) is None:
            await asyncio.sleep(0.01)
        report, health = await client.get("/wal"), await client.get("/health")
        return order, report.json(), health.json()
