"""A relay between a client and a server, which can fall silent."""

from __future__ import annotations

import re
import select
import socket
import threading
import time
from contextlib import suppress
from typing import Self

from psycopg.conninfo import make_conninfo


class Relay:
    """Forwards TCP connections to a port.

    After ``freeze`` the connections stay open and nothing more is forwarded, as on a path through a
    firewall that lost its state; new connections are forwarded. With ``frozen_by``, all connections
    freeze once a client sends these bytes, as on a path to a host that has lost its power.
    """

    def __init__(self, port: int, *, frozen_by: bytes | None = None) -> None:
        self._target, self._frozen_by = port, frozen_by
        self._is_dead = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._frozen = threading.Event()
        self._is_closed = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def conninfo_of(self, conninfo: str, **options: str | int) -> str:
        """Return the connection string of the server behind the relay, so that it leads here."""
        return make_conninfo(conninfo, host="127.0.0.1", port=self.port, **options)

    def freeze(self) -> None:
        self._frozen.set()
        self._frozen = threading.Event()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                ends = (client, server, self._frozen)
                threading.Thread(target=self._forward, args=ends, daemon=True).start()

    def _forward(
        self, client: socket.socket, server: socket.socket, frozen: threading.Event
    ) -> None:
        with client, server, suppress(OSError):
            while not self._is_closed.is_set():
                readable, _, _ = select.select([client, server], [], [], 0.05)
                if frozen.is_set() or self._is_dead.is_set():
                    self._is_closed.wait()
                    return
                if not all(self._pass_on(end, client, server) for end in readable):
                    return

    def _pass_on(self, end: socket.socket, client: socket.socket, server: socket.socket) -> bool:
        """Send what one end has sent to the other; return False at the end of the connection."""
        data = end.recv(1 << 16)
        if end is client and self._frozen_by is not None and self._frozen_by in data:
            self._is_dead.set()
        if not self._is_dead.is_set():
            (server if end is client else client).sendall(self._seen(data))
        return bool(data)

    def _seen(self, data: bytes) -> bytes:
        """Return what the other end receives."""
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._is_closed.set()
        self._listener.close()


class Pooler(Relay):
    """A relay that replaces the numbers of the server's processes, as connection poolers do."""

    def _seen(self, data: bytes) -> bytes:
        # BackendKeyData: its length, the process, and the secret of a cancel request.
        return re.sub(rb"(K\0\0\0\x0c)....", b"\\1\x7f\xff\xff\xff", data, flags=re.DOTALL)


class SlowRelay(Relay):
    """A relay that forwards few bytes at once, as a path of little bandwidth does."""

    def _seen(self, data: bytes) -> bytes:
        time.sleep(0.015)
        return data
