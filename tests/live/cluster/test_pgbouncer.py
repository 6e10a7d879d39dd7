"""The example of the how-to that redirects the clients of PgBouncer."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from types import ModuleType
from typing import Any

import psycopg
import pytest
from clusters import Cluster, wait_until
from databases import Database, Pair, make_database, remove_databases

from pgreplkit import Primary
from pgreplkit.errors import PlanRefused
from pgreplkit.lab import Lab
from pgreplkit.lab.node import reserved_port
from pgreplkit.upgrade import Upgrade, UpgradePhase

# The example does not depend on the server: its version is left to the other tests of upgrades.
pytestmark = [pytest.mark.pg(">=18"), pytest.mark.one_colour]

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "redirect-clients-with-pgbouncer.md"
EXAMPLE = re.compile(r"```python\n(.*?)```", re.DOTALL)
TABLE = "CREATE TABLE orders (id serial PRIMARY KEY, number int)"
ROWS = "SELECT number FROM orders ORDER BY number"
SETTINGS = """
[databases]
shop = {server}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
admin_users = admin
pool_mode = transaction
"""


class Client:
    """A program that writes through PgBouncer, and knows what was acknowledged."""

    def __init__(self, conninfo: str) -> None:
        self.conninfo = conninfo
        self.acknowledged: list[int] = []
        self.error: Exception | None = None
        self._is_over = Event()
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            with psycopg.connect(self.conninfo, autocommit=True, prepare_threshold=None) as session:
                while not self._is_over.wait(0.001):
                    number = len(self.acknowledged)
                    session.execute("INSERT INTO orders (number) VALUES (%s)", [number])
                    self.acknowledged.append(number)
        except Exception as error:
            self.error = error

    def insist_on_progress(self) -> None:
        """Wait until another row is acknowledged."""
        before = len(self.acknowledged)
        wait_until(lambda: self.error is not None or len(self.acknowledged) > before)
        assert self.error is None

    def stop(self) -> list[tuple[int]]:
        """Return the rows that must be there."""
        self._is_over.set()
        self._thread.join()
        assert self.error is None
        return [(number,) for number in self.acknowledged]


@pytest.fixture
def sides(cluster: Cluster) -> Iterator[Pair]:
    """Two databases of one server: an old one and a new one, with the tables of a role."""
    pair = Pair(make_database(cluster.primary), make_database(cluster.primary))
    pair.publisher.run("CREATE ROLE shop LOGIN PASSWORD 'shop'")
    for database in (pair.publisher, pair.subscriber):
        database.run(TABLE, "ALTER TABLE orders OWNER TO shop")
    yield pair
    remove_databases(pair.subscriber, pair.publisher)
    Database(cluster.primary, "postgres").run("DROP ROLE shop")


@pytest.fixture
def example(
    sides: Pair, pgreplkit_lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ModuleType]:
    """Run PgBouncer in front of the old database; return the module of the page."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip(
            "no pgbouncer is installed; install a package of your system, for example: apt install"
            " pgbouncer"
        )
    node, place = sides.publisher.node, pgreplkit_lab._place
    monkeypatch.setenv("PATH", f"{node.installation.bindir}:{os.environ['PATH']}")
    [code] = EXAMPLE.findall(PAGE.read_text())
    module: Any = ModuleType("example")
    exec(code, module.__dict__)

    def line(database: Database) -> str:
        role = "user=shop password=shop"
        return f"host={node.host} port={node.port} dbname={database.name} {role}"

    port = reserved_port(module)
    module.SERVERS = {"old": line(sides.publisher), "new": line(sides.subscriber)}
    module.FILE = place.root / "pgbouncer.ini"
    module.CONSOLE = f"host=127.0.0.1 port={port} dbname=pgbouncer user=admin"
    module.CLIENT = f"host=127.0.0.1 port={port} dbname=shop user=any"
    place.make_file(module.FILE, SETTINGS.format(server=module.SERVERS["old"], port=port))
    with (place.root / "pgbouncer.log").open("wb") as log:
        process = place.start([program, str(module.FILE)], log)
    try:
        wait_until(lambda: accepts(module.CLIENT))
        yield module
    finally:
        process.terminate()
        process.wait()


def accepts(conninfo: str) -> bool:
    try:
        psycopg.connect(conninfo).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.fixture
def upgrade(sides: Pair, tmp_path: Path) -> Iterator[Upgrade]:
    with (
        Primary.connect(sides.publisher.conninfo) as old,
        Primary.connect(sides.subscriber.conninfo) as new,
    ):
        upgrade = Upgrade(old, new, name="shop", journal=tmp_path / "shop.json")
        upgrade.plan_prepare(copy_schema=False).run()
        yield upgrade
        upgrade.plan_finish().run(force=True)


def test_clients_of_pgbouncer_move_there_and_back_without_an_error(
    sides: Pair, example: Any, upgrade: Upgrade
) -> None:
    client = Client(example.CLIENT)
    for switch, server in (
        (example.cut_over, sides.subscriber),
        (example.roll_back, sides.publisher),
        (example.cut_over, sides.subscriber),
    ):
        client.insist_on_progress()
        switch(upgrade)
        client.insist_on_progress()
        # The last row was written there: the other server refuses all.
        assert server.all(f"SELECT FROM orders WHERE number = {client.acknowledged[-1]}")
    assert client.stop() == sides.subscriber.all(ROWS)


def test_clients_of_pgbouncer_stay_if_it_does_not_pause(
    sides: Pair, example: Any, upgrade: Upgrade, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An open transaction would have it wait; the database is paused all the same."""
    pause = example.pause

    def waiting() -> None:
        pause()
        raise TimeoutError("PAUSE waits")

    monkeypatch.setattr(example, "pause", waiting)
    client = Client(example.CLIENT)
    client.insist_on_progress()
    with pytest.raises(TimeoutError, match="PAUSE waits"):
        example.cut_over(upgrade)
    client.insist_on_progress()
    assert client.stop() == sides.publisher.all(ROWS)
    assert upgrade.status().phase is UpgradePhase.PREPARED


def test_clients_of_pgbouncer_stay_if_a_cutover_is_refused(
    sides: Pair, example: Any, upgrade: Upgrade
) -> None:
    example.cut_over(upgrade)
    client = Client(example.CLIENT)
    client.insist_on_progress()
    with pytest.raises(PlanRefused, match="it is done"):
        example.cut_over(upgrade)
    client.insist_on_progress()
    assert client.stop() == sides.subscriber.all(ROWS)
