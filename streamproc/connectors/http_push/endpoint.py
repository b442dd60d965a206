"""The far end of a connection: who it is, and how a TCP or TLS link to it is made."""

from __future__ import annotations

import asyncio
import base64
import re
import socket
import ssl
import tempfile
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from streamproc.config.connection import Connection
from streamproc.connectors.http_push.address import base_path
from streamproc.errors import ConfigError, Misconfigured, NotConnected, RunnerError

RESOLVED_FOR_S = 30.0
"""How long the addresses of a name are used before it is resolved again."""

_CLOSED_EARLY = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
_UNSAFE_HOST = re.compile(r"[\x00-\x20\x7f/?#@\\]")
P = TypeVar("P", bound=asyncio.BaseProtocol)


class Endpoint:
    """What the uri, ``ca``, ``validateCertificates`` and credentials of a connection say."""

    def __init__(self, connection: Connection) -> None:
        uri = urlsplit(connection.uri)
        self.secure = uri.scheme == "https"
        if uri.scheme not in ("http", "https") or not uri.hostname:
            raise ConfigError("the uri of an HTTP push connection is http[s]://host:port[/path]")
        if _UNSAFE_HOST.search(uri.hostname):
            raise ConfigError("the uri's host contains a character that no host name has")
        if uri.query or uri.fragment:
            raise ConfigError("the uri of an HTTP push connection has neither query nor fragment")
        self.host = uri.hostname
        self.port = uri.port or (443 if self.secure else 80)
        self.base = base_path(uri.path)
        self.basic = _basic(uri.netloc)
        self._tls = _Tls(connection) if self.secure else None
        self._context: ssl.SSLContext | None = None
        self._resolved: list[str] = []
        self._resolve_at = 0.0

    @property
    def authority(self) -> str:
        """Value of the Host header: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    @property
    def authorization(self) -> str | None:
        """Value of the Authorization header, from the uri."""
        if self.basic is None:
            return None
        return "Basic " + base64.b64encode(":".join(self.basic).encode()).decode()

    async def connect(self, make: Callable[[], P], deadline_s: float) -> P:
        """A connected protocol. Raises NotConnected or Misconfigured."""
        where = f"{self.host}:{self.port}"
        try:
            async with asyncio.timeout(deadline_s):
                return await self._connect(make, deadline_s)
        except TimeoutError:
            raise NotConnected(f"no connection to {where} within {deadline_s:g} s") from None

    async def _connect(self, make: Callable[[], P], deadline_s: float) -> P:
        if self._tls is not None and self._context is None:
            self._context = self._tls.context()
        last: RunnerError | None = None
        for address in await self._addresses():
            try:
                return await self._reach(address, make, deadline_s)
            except RunnerError as error:
                last = error
        self._resolve_at = 0.0  # the name may have moved
        assert last is not None
        raise last

    async def _reach(self, address: str, make: Callable[[], P], deadline_s: float) -> P:
        where = f"{self.host}:{self.port}"
        tls: dict[str, Any] = {}
        if self._context is not None:
            tls = {
                "ssl": self._context,
                "server_hostname": self.host,
                "ssl_handshake_timeout": deadline_s,
            }
        try:
            loop = asyncio.get_running_loop()
            _, protocol = await loop.create_connection(make, address, self.port, **tls)
        except _CLOSED_EARLY as error:
            raise NotConnected(f"{where} broke off the TLS handshake") from error
        except (ssl.SSLError, ssl.CertificateError) as error:
            reason = getattr(error, "verify_message", "") or getattr(error, "reason", "") or error
            raise Misconfigured(f"TLS handshake with {where} failed: {reason}") from error
        except OSError as error:
            if tls and isinstance(error, ConnectionResetError | ConnectionAbortedError):
                raise NotConnected(f"{where} broke off the TLS handshake") from error
            why = error.strerror or str(error) or type(error).__name__
            raise NotConnected(f"cannot connect to {where}: {why}") from error
        return protocol

    async def _addresses(self) -> list[str]:
        loop = asyncio.get_running_loop()
        if loop.time() >= self._resolve_at:
            try:
                found = await loop.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
            except OSError as error:
                raise NotConnected(
                    f"cannot resolve {self.host}: {error.strerror or error}"
                ) from error
            self._resolved = list(dict.fromkeys(str(entry[4][0]) for entry in found))
            self._resolve_at = loop.time() + RESOLVED_FOR_S
        return self._resolved


class _Tls:
    """What decides about certificates, kept until the first connect."""

    def __init__(self, connection: Connection) -> None:
        self._ca = connection.ca
        self._validate = connection.validate_certificates
        self._credentials = connection.credentials or {}

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 or later, host name verified. Raises Misconfigured."""
        try:
            context = ssl.create_default_context(cadata=self._ca or None)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            # The same on every Python: any certificate in ``ca`` is an anchor, as in Ditto, and
            # private authorities whose certificates lack key identifiers are good enough.
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
            if not self._validate:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if self._credentials.get("type") == "client-cert":
                self._load_client_certificate(context)
        except (ssl.SSLError, ValueError, OSError) as error:
            raise Misconfigured(f"certificates cannot be used: {error}") from error
        return context

    def _load_client_certificate(self, context: ssl.SSLContext) -> None:
        # The ssl module reads certificates from files only.
        with tempfile.NamedTemporaryFile("w", prefix="streamproc-", suffix=".pem") as pem:
            pem.write(f"{self._credentials['key']}\n{self._credentials['cert']}\n")
            pem.flush()
            context.load_cert_chain(pem.name)


def _basic(netloc: str) -> tuple[str, str] | None:
    """User and password, only where the user info has a colon."""
    info, at, _ = netloc.rpartition("@")
    user, colon, password = info.partition(":")
    return (unquote(user), unquote(password)) if at and colon else None
