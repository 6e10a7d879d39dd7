# Generated from pgreplkit/_async/cluster/patroni.py by `nox -s sync`. Do not edit.
"""PatroniCluster: a cluster that Patroni keeps, asked and changed through Patroni."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta

from psycopg.conninfo import make_conninfo

from pgreplkit._sync._io import sleep, to_thread
from pgreplkit._sync.cluster.cluster import Cluster
from pgreplkit.driver.backoff import Backoff
from pgreplkit.driver.rest import Api
from pgreplkit.errors import PatroniRefused, PatroniUnreachable, WaitTimeout
from pgreplkit.plans.cluster.patroni import PatroniChange, PatroniMember, PatroniStatus, read_status
from pgreplkit.values.seconds import checked_seconds

_OK = 200


class PatroniCluster:
    """A cluster that Patroni keeps: what it says of it, and a switchover or failover by it.

    ``url`` is where a member's REST API is, or several of them: they are asked in turn until one
    answers. ``username`` and ``password`` are those of the API. ``timeout`` is in seconds, for
    each answer.

    To change such a cluster past Patroni is to work against it: it would undo that, or worse.

    Raises: ValueError for a URL that is not of http or https.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        username: str | None = None,
        password: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
        timeout: float = 10.0,
    ) -> None:
        urls = (url,) if isinstance(url, str) else tuple(url)
        self._api = Api(urls, username, password, ssl_context)
        self._timeout = checked_seconds(timeout, "a timeout")

    def status(self) -> PatroniStatus:
        """Its members, as Patroni last heard of them.

        Raises: PatroniUnreachable; PatroniRefused; PatroniError for an answer that is not its.
        Source: GET /cluster.
        """
        content = self._ask("read Patroni's cluster", "GET", "cluster", None, self._timeout)
        return read_status(content)

    def discover(self, conninfo: str = "", *, timeout: float = 10.0) -> Cluster:
        """The same cluster as its servers tell it, under Patroni's names.

        ``conninfo`` is what all their connections have in common, as the user.

        Raises: as ``status``.
        """
        members = (self.status()).members
        servers = {
            member.name: make_conninfo(conninfo, host=member.host, port=member.port)
            for member in members
            if member.host and member.port
        }
        return Cluster.discover(servers, timeout=timeout)

    def switchover(self, to: str | None = None, *, timeout: float = 60.0) -> PatroniChange:
        """Let Patroni hand the writing over to ``to``, or to the member that it chooses.

        Raises: PatroniRefused with what Patroni says, as when a member is not there or lags;
        WaitTimeout when no other member leads after ``timeout`` seconds.
        Source: POST /switchover.
        """
        before = self.status()
        leader = before.leader
        if leader is None:
            tried, found = "switch over by Patroni", "no member leads: failover() is for that"
            raise PatroniRefused(tried, found, 412)
        body = {"leader": leader.name, **({} if to is None else {"candidate": to})}
        return self._change("switch over by Patroni", "switchover", body, before, timeout)

    def failover(self, to: str, *, timeout: float = 60.0) -> PatroniChange:
        """Let Patroni make ``to`` the leader, also when there is none.

        Raises and source: as ``switchover``, by POST /failover.
        """
        before, body = self.status(), {"candidate": to}
        return self._change("fail over by Patroni", "failover", body, before, timeout)

    def _change(
        self,
        tried: str,
        path: str,
        body: Mapping[str, object],
        before: PatroniStatus,
        timeout: float,
    ) -> PatroniChange:
        backoff, began = Backoff(timeout), time.monotonic()
        # It answers when it is done, or has failed.
        self._ask(tried, "POST", path, body, timeout)
        old = before.leader
        while True:
            now = (self.status()).leader
            if now is not None and now.state == "running" and _is_other(now, old):
                return PatroniChange(
                    old_leader=None if old is None else old.name,
                    new_leader=now.name,
                    old_timeline=None if old is None else old.timeline,
                    new_timeline=now.timeline,
                    elapsed=timedelta(seconds=time.monotonic() - began),
                )
            if backoff.is_over:
                raise WaitTimeout(
                    f"{tried}: it was accepted, but after {timeout:g} s the leader is"
                    f" {now.name if now else 'nobody'}"
                )
            sleep(backoff.next_pause())

    def _ask(
        self,
        tried: str,
        method: str,
        path: str,
        body: Mapping[str, object] | None,
        timeout: float,
    ) -> bytes:
        silent = []
        for url in self._api.urls:
            try:
                status, content = self._answer(url, method, path, body, timeout)
            except OSError as error:
                silent.append(f"{url}: {error}")
                # What may have been heard is not said again elsewhere.
                if isinstance(error, TimeoutError) and method != "GET":
                    silent[-1] += ", but it may be at it: status() tells who leads"
                    break
                continue
            if status != _OK:
                raise PatroniRefused(tried, content.decode(errors="replace").strip(), status)
            return content
        raise PatroniUnreachable(tried, f"no member answers: {'; '.join(silent)}")

    def _answer(
        self,
        url: str,
        method: str,
        path: str,
        body: Mapping[str, object] | None,
        timeout: float,
    ) -> tuple[int, bytes]:
        return to_thread(lambda: self._api.ask(url, method, path, body, timeout))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {', '.join(self._api.urls)}>"


def _is_other(now: PatroniMember, old: PatroniMember | None) -> bool:
    # Its timeline is told a little later than its name.
    return old is None or (now.name != old.name and now.timeline != old.timeline)
