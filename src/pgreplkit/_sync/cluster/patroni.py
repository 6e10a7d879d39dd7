# Generated from pgreplkit/_async/cluster/patroni.py by `nox -s sync`. Do not edit.
"""PatroniCluster: state, switchover and failover of a cluster through Patroni."""

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
from pgreplkit.values.seconds import Timeout, checked_seconds

_OK = 200
_SWITCHOVER = "switch over through Patroni"


class PatroniCluster:
    """A cluster managed by Patroni: its state, and switchover and failover by Patroni.

    ``url`` is the URL of a member's REST API, or several of them: they are tried in turn until one
    responds. ``username`` and ``password`` are those of the API. ``timeout`` in seconds applies to
    each response.

    Do not change such a cluster without Patroni: Patroni would revert the change, or start
    a failover.

    Raises:
        ValueError: If a URL does not begin with http or https.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        username: str | None = None,
        password: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
        timeout: Timeout = 10.0,
    ) -> None:
        # Any member answers for the whole cluster.
        urls = (url,) if isinstance(url, str) else tuple(url)
        self._api = Api(urls, username, password, ssl_context)
        self._timeout = checked_seconds(timeout, "a timeout")

    def status(self) -> PatroniStatus:
        """Return the members, as Patroni last saw them.

        Raises:
            PatroniUnreachable: If no member responds.
            PatroniRefused: If a member refuses the request.
            PatroniError: If the response does not describe a cluster.

        Source:
            GET /cluster.
        """
        content = self._ask(
            "read the state of the Patroni cluster", "GET", "cluster", None, self._timeout
        )
        return read_status(content)

    def discover(self, conninfo: str = "", *, timeout: Timeout = 10.0) -> Cluster:
        """Discover the same cluster from its servers, under Patroni's names.

        ``conninfo`` contains the parameters that all connections share, such as the user.

        Raises: as ``status``.
        """
        members = (self.status()).members
        servers = {
            member.name: make_conninfo(conninfo, host=member.host, port=member.port)
            for member in members
            if member.host and member.port
        }
        return Cluster.discover(servers, timeout=timeout)

    def switchover(self, to: str | None = None, *, timeout: Timeout = 60.0) -> PatroniChange:
        """Let Patroni switch over to ``to``, or to a member of its choice.

        Raises:
            PatroniRefused: With Patroni's reason, such as a missing or lagging member.
            WaitTimeout: If no other member leads after ``timeout`` seconds.

        Source:
            POST /switchover.
        """
        before = self.status()
        leader = before.leader
        if leader is None:
            found = "no member is the leader; use failover()"
            # 412 is what Patroni itself responds then.
            raise PatroniRefused(_SWITCHOVER, found, 412)
        body = {"leader": leader.name, **({} if to is None else {"candidate": to})}
        return self._change(_SWITCHOVER, "switchover", body, before, timeout)

    def failover(self, to: str, *, timeout: Timeout = 60.0) -> PatroniChange:
        """Let Patroni make ``to`` the leader, also if there is no leader.

        Raises: as ``switchover``.

        Source:
            POST /failover.
        """
        before, body = self.status(), {"candidate": to}
        return self._change("fail over through Patroni", "failover", body, before, timeout)

    def _change(
        self,
        operation: str,
        path: str,
        body: Mapping[str, object],
        before: PatroniStatus,
        timeout: Timeout,
    ) -> PatroniChange:
        backoff, began = Backoff(timeout), time.monotonic()
        # Patroni responds when the change is done, or has failed.
        self._ask(operation, "POST", path, body, backoff.limit)
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
                    f"timed out after {backoff.limit:g} s waiting for a new leader: Patroni"
                    " accepted the request, and"
                    f" {f'{now.name} leads' if now else 'no member leads'}"
                )
            sleep(backoff.next_pause())

    def _ask(
        self,
        operation: str,
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
                # The member may have received the request, so another one must not get it too.
                if isinstance(error, TimeoutError) and method != "GET":
                    silent[-1] += ", but may have begun; status() reports the leader"
                    break
                continue
            if status != _OK:
                raise PatroniRefused(operation, content.decode(errors="replace").strip(), status)
            return content
        raise PatroniUnreachable(operation, f"no member responds ({'; '.join(silent)})")

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
    # Patroni reports the new leader a little before its new timeline.
    return old is None or (now.name != old.name and now.timeline != old.timeline)
