"""A request to a REST API, and its answer, whatever its status."""

from __future__ import annotations

import json
import ssl
from base64 import b64encode
from collections.abc import Mapping
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

import attrs


@attrs.frozen
class Api:
    """Where an API is, and as whom it is asked."""

    urls: tuple[str, ...] = attrs.field()
    username: str | None
    password: str | None = attrs.field(repr=False)
    context: ssl.SSLContext | None

    @urls.validator
    def _check(self, _: object, urls: tuple[str, ...]) -> None:
        for url in urls:
            parts = urlsplit(url)
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise ValueError("a URL begins with http:// or https:// and names a host")
            if parts.username or parts.password:
                raise ValueError("a user and a password are given apart from the URL")
        if not urls:
            raise ValueError("at least one URL is needed")

    def ask(
        self, url: str, method: str, path: str, body: Mapping[str, object] | None, timeout: float
    ) -> tuple[int, bytes]:
        """The status and the content of one member's answer.

        Raises: OSError when it does not answer, or not as a REST API does.
        """
        headers = {"Content-Type": "application/json"}
        if self.username is not None:
            whole = f"{self.username}:{self.password or ''}".encode()
            headers["Authorization"] = f"Basic {b64encode(whole).decode()}"
        data = None if body is None else json.dumps(body).encode()
        target = f"{url.rstrip('/')}/{path}"
        request = Request(target, data=data, headers=headers, method=method)  # noqa: S310
        # A cluster's members are not behind the proxy that this host may have.
        opener = build_opener(ProxyHandler({}), HTTPSHandler(context=self.context))
        try:
            with opener.open(request, timeout=timeout) as answer:
                return answer.status, answer.read()
        except HTTPError as error:
            with error:
                return error.code, error.read()
        except HTTPException as error:
            if isinstance(error, OSError):
                raise
            raise OSError(f"the answer is not of HTTP: {error}") from error
