"""A real Patroni of three members, which store their state by raft."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import attrs
import pytest

from pgreplkit.lab import Lab
from pgreplkit.lab.account import Account
from pgreplkit.lab.node import reserved_port

USER, PASSWORD = "admin", "api secret"
_PATIENCE = 90


@attrs.frozen
class Patronis:
    """The addresses of a Patroni cluster's members, and how to connect to their servers."""

    urls: tuple[str, ...]
    conninfo: str
    folder: Path

    def settle(self) -> None:
        """Wait until one member leads and the others stream from it."""
        until_all_run(self.urls, self.folder)


def usable_python(account: Account) -> tuple[str, dict[str, str]]:
    """Return a Python with Patroni that the servers' account can run; skip the test without one."""
    spec = find_spec("patroni")
    if spec is None or spec.origin is None or find_spec("pysyncobj") is None:
        pytest.skip("needs patroni[raft]")
    packages = {"PYTHONPATH": str(Path(spec.origin).parents[1])}
    minor = f"python3.{sys.version_info.minor}"
    for program in (sys.executable, f"/usr/bin/{minor}"):
        with contextlib.suppress(OSError):
            run = subprocess.run(
                [program, "-c", "import patroni, psycopg, pysyncobj"],
                env=packages,
                cwd="/",
                capture_output=True,
                user=account.uid if account.is_other else None,
                group=account.gid if account.is_other else None,
                extra_groups=[] if account.is_other else None,
            )
            if run.returncode == 0:
                return program, packages
    pytest.skip(f"no {minor} that the servers' account can run sees patroni")


@contextmanager
def running(lab: Lab, major: int) -> Iterator[Patronis]:
    """Start three members of that major version, led by the first."""
    account = lab._place.account
    python, packages = usable_python(account)
    [server] = [server for server in lab.servers if server.version.major == major][:1]
    if not (server.bindir / "pg_rewind").exists():
        pytest.skip("Patroni needs all of PostgreSQL's programs")
    ports = [reserved_port(lab) for _ in range(9)]
    rafts = [f"127.0.0.1:{port}" for port in ports[6:]]
    urls = tuple(f"http://127.0.0.1:{port}" for port in ports[3:6])
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for number in range(3):
            name = f"patroni{number}"
            config = lab._place.make_file(lab.root / f"{name}.json")
            settings = _settings(lab, name, lab._runnable(server).bindir, number, ports, rafts)
            config.write_text(json.dumps(settings))
            with (lab.root / f"{name}.log").open("wb") as log:
                processes.append(
                    subprocess.Popen(
                        [python, "-m", "patroni", str(config)],
                        cwd=lab.root,
                        env={**os.environ, **packages, "HOME": str(lab.root)},
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        umask=0o077,
                        start_new_session=True,
                        user=account.uid if account.is_other else None,
                        group=account.gid if account.is_other else None,
                        extra_groups=[] if account.is_other else None,
                    )
                )
        until_all_run(urls, lab.root)
        conninfo = f"user=postgres password={lab.password} dbname=postgres"
        yield Patronis(urls, conninfo, lab.root)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(30)


def _settings(
    lab: Lab, name: str, bindir: Path, number: int, ports: Sequence[int], rafts: Sequence[str]
) -> dict[str, object]:
    own, api = f"127.0.0.1:{ports[number]}", f"127.0.0.1:{ports[3 + number]}"
    return {
        "scope": "trial",
        "name": name,
        "restapi": {
            "listen": api,
            "connect_address": api,
            "authentication": {"username": USER, "password": PASSWORD},
        },
        "raft": {
            "data_dir": str(lab.root / f"{name}.raft"),
            "self_addr": rafts[number],
            "partner_addrs": [raft for raft in rafts if raft != rafts[number]],
        },
        "bootstrap": {
            "dcs": {
                "ttl": 20,
                "loop_wait": 1,
                "retry_timeout": 3,
                "postgresql": {
                    "use_pg_rewind": True,
                    "parameters": {
                        "unix_socket_directories": "",
                        "fsync": "off",
                        "dynamic_shared_memory_type": "mmap",
                        "shared_buffers": "16MB",
                    },
                },
            },
            "initdb": [{"encoding": "UTF8"}, {"locale": "C"}],
        },
        "postgresql": {
            "listen": own,
            "connect_address": own,
            "data_dir": str(lab.root / name),
            "bin_dir": str(bindir),
            "pgpass": str(lab.root / f"{name}.pgpass"),
            "authentication": {
                "superuser": {"username": "postgres", "password": lab.password},
                "replication": {"username": "standby", "password": lab.password},
            },
            "pg_hba": [
                "host all all 127.0.0.1/32 scram-sha-256",
                "host replication all 127.0.0.1/32 scram-sha-256",
            ],
        },
    }


def until_all_run(urls: Sequence[str], folder: Path) -> None:
    """Wait until one member leads and the others stream from it."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            with urllib.request.urlopen(f"{urls[0]}/cluster", timeout=2) as answer:
                members = json.load(answer)["members"]
            states = sorted(member["state"] for member in members)
            if states == ["running", "streaming", "streaming"]:
                return
        time.sleep(0.2)
    logs = [path.read_text()[-2000:] for path in sorted(folder.glob("patroni?.log"))]
    raise AssertionError("\n\n".join(["Patroni did not begin to run:", *logs]))
