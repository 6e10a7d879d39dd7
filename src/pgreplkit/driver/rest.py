"""Api: requests to the REST API of a cluster's members."""

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
    """The URLs of a REST API, and the credentials for it."""

    urls: tuple[str, ...] = attrs.field()
    username: str | None
    password: str | None = attrs.field(repr=False)
    context: ssl.SSLContext | None

    @urls.validator
    def _check(self, _: object, urls: tuple[str, ...]) -> None:
        for url in urls:
            parts = urlsplit(url)
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise ValueError("the URL must start with http:// or https:// and name a host")
            if parts.username or parts.password:
                raise ValueError(
                    "the URL must not contain a user or password; use username=, password="
                )
        if not urls:
            raise ValueError("at least one URL is needed")

    def ask(
        self, url: str, method: str, path: str, body: Mapping[str, object] | None, timeout: float
    ) -> tuple[int, bytes]:
        """Send a request and return the HTTP status and the content, whatever the status.

        Raises: OSError if there is no answer, or it is not HTTP.
        """
        headers = {"Content-Type": "application/json"}
        if self.username is not None:
            whole = f"{self.username}:{self.password or ''}".encode()
            headers["Authorization"] = f"Basic {b64encode(whole).decode()}"
        data = None if body is None else json.dumps(body).encode()
        target = f"{url.rstrip('/')}/{path}"
        request = Request(target, data=data, headers=headers, method=method)  # noqa: S310
        # The members of a cluster are in its own network: never use this host's proxy settings.
        opener = build_opener(ProxyHandler({}), HTTPSHandler(context=self.context))
        try:
            with opener.open(request, timeout=timeout) as answer:
                return answer.status, answer.read()
        except HTTPError as error:
            # The status and the text of a refusal are the answer.
            with error:
                return error.code, error.read()
        except HTTPException as error:
            if isinstance(error, OSError):
                raise
            raise OSError(f"the answer is not HTTP: {error}") from error
