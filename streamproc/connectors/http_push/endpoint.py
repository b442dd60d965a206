"""The far end of a connection: who it is, and how a TCP or TLS link to it is made."""

from __future__ import annotations

import asyncio
import base64
import re
import socket
import ssl
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from streamproc.config.connection import Connection
from streamproc.config.service import Hosts, HttpProxy
from streamproc.connectors.http_push.address import base_path
from streamproc.connectors.http_push.dial import dial
from streamproc.connectors.http_push.proxy import Proxy, is_direct
from streamproc.connectors.http_push.safety import Reach
from streamproc.connectors.tls import Tls
from streamproc.errors import ConfigError, Misconfigured, NotConnected

_CLOSED_EARLY = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
_UNSAFE_HOST = re.compile(r"[\x00-\x20\x7f/?#@\\]")
P = TypeVar("P", bound=asyncio.BaseProtocol)


class Endpoint:
    """What the uri, ``ca``, ``validateCertificates`` and credentials of a connection say.

    *hosts*: which addresses may be connected to. *proxy*: the way out, if it has a host.
    """

    def __init__(
        self,
        connection: Connection,
        hosts: Hosts = Hosts(),  # noqa: B008 - frozen
        proxy: HttpProxy = HttpProxy(),  # noqa: B008 - frozen
    ) -> None:
        uri = urlsplit(connection.uri)
        self.secure = uri.scheme == "https"
        if uri.scheme not in ("http", "https") or not uri.hostname:
            raise ConfigError("the uri of an HTTP push connection is http[s]://host:port[/path]")
        if _UNSAFE_HOST.search(uri.hostname):
            raise ConfigError("the uri's host contains a character that no host name has")
        if uri.query or uri.fragment:
            raise ConfigError("the uri of an HTTP push connection has neither query nor fragment")
        self.host = uri.hostname
        self.host_on_the_wire = _on_the_wire(uri.hostname)
        self.port = uri.port or (443 if self.secure else 80)
        self.base = base_path(uri.path)
        self.basic = _basic(uri.netloc)
        self._reach = Reach(self.host, self.port, hosts)
        self._proxy: Proxy | None = None
        if proxy.host and not is_direct(self.host, proxy.direct):
            self._proxy = Proxy(proxy)
            # The operator's own choice, so no rule is asked; link-local addresses stay refused.
            self._reach_proxy = Reach(proxy.host, proxy.port, Hosts())
        self._tls = Tls(connection) if self.secure else None
        self._context: ssl.SSLContext | None = None

    @property
    def authority(self) -> str:
        """Value of the Host header: the port only where it is not the scheme's own."""
        return self._name if self.port == (443 if self.secure else 80) else self._place

    @property
    def authorization(self) -> str | None:
        """Value of the Authorization header, from the uri."""
        if self.basic is None:
            return None
        return "Basic " + base64.b64encode(":".join(self.basic).encode()).decode()

    @property
    def request_prefix(self) -> str:
        """What stands before the path on the request line: a proxy is told where to go."""
        return "" if self._proxy is None or self.secure else f"http://{self.authority}"

    @property
    def proxy_authorization(self) -> str | None:
        """Value of the Proxy-Authorization header; a tunnel has proved it before."""
        return None if self._proxy is None or self.secure else self._proxy.authorization

    async def connect(self, make: Callable[[], P], deadline_s: float) -> P:
        """A connected protocol. Raises NotConnected or Misconfigured."""
        try:
            async with asyncio.timeout(deadline_s):
                return await self._connect(make, deadline_s)
        except TimeoutError:
            raise NotConnected(f"no connection to {self._place} within {deadline_s:g} s") from None

    async def _connect(self, make: Callable[[], P], deadline_s: float) -> P:
        if self._tls is not None and self._context is None:
            self._context = self._tls.context()
        sock = await self._dial()
        try:
            if self._proxy is not None and self.secure:
                await self._proxy.tunnel(sock, self._place)
            return await self._speak(sock, make, deadline_s)
        except BaseException:
            sock.close()
            raise

    async def _dial(self) -> socket.socket:
        reach, where = self._reach, self._place
        if self._proxy is not None:
            if reason := reach.refusal_by_name():
                raise Misconfigured(f"{self.host} may not be reached: it is {reason}")
            reach, where = self._reach_proxy, f"proxy {self._proxy.host}:{self._proxy.port}"
        places = await reach.places()
        try:
            return await dial(places)
        except OSError as error:
            why = error.strerror or str(error) or type(error).__name__
            raise NotConnected(f"cannot connect to {where}: {why}") from error

    async def _speak(self, sock: socket.socket, make: Callable[[], P], deadline_s: float) -> P:
        """The protocol on a connected socket, TLS made first."""
        tls: dict[str, Any] = {}
        if self._context is not None:
            tls = {
                "ssl": self._context,
                "server_hostname": self.host,
                "ssl_handshake_timeout": deadline_s,
            }
        where = self._place
        try:
            loop = asyncio.get_running_loop()
            _, protocol = await loop.create_connection(make, sock=sock, **tls)
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

    @property
    def _name(self) -> str:
        name = self.host_on_the_wire
        return f"[{name}]" if ":" in name else name

    @property
    def _place(self) -> str:
        return f"{self._name}:{self.port}"


def _on_the_wire(host: str) -> str:
    """*host* as DNS and HTTP know it: ASCII."""
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise ConfigError(f"the uri's host {host!r} is no host name: {error}") from None


def _basic(netloc: str) -> tuple[str, str] | None:
    """User and password, only where the user info has a colon."""
    info, at, _ = netloc.rpartition("@")
    user, colon, password = info.partition(":")
    return (unquote(user), unquote(password)) if at and colon else None
