"""Asks a token endpoint for a token: one POST, within a deadline and within bounds.

The same rules hold for its host as for the endpoint's own, on the address that is connected
to. Redirects are not followed. No secret and nothing of an answer but its error code is told.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from streamproc.config.connection import Connection
from streamproc.config.service import Service
from streamproc.connectors.http_push.answer import retry_after_s
from streamproc.connectors.http_push.auth.token import Token, form_of, token_of
from streamproc.connectors.http_push.proxy import Proxy, is_direct
from streamproc.connectors.http_push.safety import Place, Reach
from streamproc.connectors.tls import client_context
from streamproc.errors import ConfigError, Misconfigured, NotConnected, RunnerError

DEADLINE_S = 10.0
MAX_ANSWER_BYTES = 64 * 1024


class TokenEndpoint:
    """Where and how the tokens of one connection are asked for."""

    def __init__(self, connection: Connection, service: Service) -> None:
        credentials: dict[str, Any] = connection.credentials or {}
        self._url = credentials["tokenEndpoint"]
        url = urlsplit(self._url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ConfigError("tokenEndpoint is no https url")
        if url.scheme == "http" and credentials["type"] == "oauth-client-credentials":
            raise ConfigError("tokenEndpoint has the scheme 'http', expected https")
        self._host = url.hostname
        self._form = form_of(credentials)
        self._ca = connection.ca
        port = url.port or (443 if url.scheme == "https" else 80)
        self._reach = Reach(self._host, port, service.hosts)
        proxy = service.http_proxy
        self._headers = {"Accept": "application/json"}
        self._proxy: dict[str, Any] = {}
        if proxy.host and not is_direct(self._host, proxy.direct):
            name = f"[{proxy.host}]" if ":" in proxy.host else proxy.host
            self._proxy["proxy"] = f"http://{name}:{proxy.port}"
            proof = Proxy(proxy).authorization
            if proof is not None and url.scheme == "https":
                self._proxy["proxy_headers"] = {"Proxy-Authorization": proof}
            elif proof is not None:
                self._headers["Proxy-Authorization"] = proof
            self._reach_proxy = Reach(proxy.host, proxy.port, type(service.hosts)())

    async def fetch(self) -> tuple[Token | RunnerError, float | None]:
        """See ``tokens.Fetch``. Raises nothing."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                return await self._post(await self._places())
        except TimeoutError:
            why = f"token endpoint {self._host} did not answer within {DEADLINE_S:g} s"
            return NotConnected(why), None
        except RunnerError as error:
            return error, None
        except (aiohttp.ClientSSLError, ssl.SSLError, ssl.CertificateError) as error:
            reason = getattr(getattr(error, "os_error", error), "verify_message", "") or "failed"
            return Misconfigured(f"token endpoint {self._host}: TLS handshake: {reason}"), None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            why = f"token endpoint {self._host} cannot be asked: {type(error).__name__}"
            return NotConnected(why), None

    async def _places(self) -> list[Place]:
        """Where to connect; checked, and used for this request alone."""
        if not self._proxy:
            return await self._reach.places()
        if reason := self._reach.refusal_by_name():
            raise Misconfigured(f"{self._host} may not be reached: it is {reason}")
        return await self._reach_proxy.places()

    async def _post(self, places: list[Place]) -> tuple[Token | RunnerError, float | None]:
        context = client_context(None)
        if self._ca:
            try:
                context.load_verify_locations(cadata=self._ca)
            except (ssl.SSLError, ValueError) as error:
                return Misconfigured(f"certificates cannot be used: {error}"), None
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(resolver=_Fixed(places), ssl=context),
                cookie_jar=aiohttp.DummyCookieJar(),
            ) as session,
            session.post(
                self._url,
                data=self._form,
                headers=self._headers,
                allow_redirects=False,
                **self._proxy,
            ) as answer,
        ):
            body = b""
            while piece := await answer.content.read(MAX_ANSWER_BYTES + 1 - len(body)):
                body += piece
                if len(body) > MAX_ANSWER_BYTES:
                    text = f"token endpoint answered more than {MAX_ANSWER_BYTES} bytes"
                    return Misconfigured(text), None
            asked = answer.headers.get("Retry-After")
            found = token_of(
                answer.status,
                answer.headers.get("Content-Type", ""),
                body,
                asyncio.get_running_loop().time(),
                time.time(),
            )
            return found, retry_after_s(asked.encode() if asked else None, datetime.now(UTC))


class _Fixed(AbstractResolver):
    """Answers with addresses that were looked up, and checked, before."""

    def __init__(self, places: list[Place]) -> None:
        self._places = places

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=str(place.address[0]),
                port=port,
                family=place.family,
                proto=0,
                flags=0,
            )
            for place in self._places
        ]

    async def close(self) -> None:
        """Nothing to let go of."""
