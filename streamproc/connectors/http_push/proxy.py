"""The HTTP proxy between us and endpoints, and how a tunnel through it is opened."""

from __future__ import annotations

import asyncio
import base64
import re
import socket
from http import HTTPStatus

from streamproc.config.service import HttpProxy
from streamproc.errors import Misconfigured, NotConnected

MAX_HEAD_BYTES = 16 * 1024
_ANSWER = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: |\r\n)")
_END = b"\r\n\r\n"


class Proxy:
    """Where the proxy is, and what proves to it who we are."""

    def __init__(self, options: HttpProxy) -> None:
        self.host = options.host
        self.port = options.port
        self.authorization: str | None = None
        if options.username:
            pair = f"{options.username}:{options.password}".encode()
            self.authorization = "Basic " + base64.b64encode(pair).decode()

    async def tunnel(self, sock: socket.socket, authority: str) -> None:
        """Let *sock*, connected to the proxy, reach *authority* (``host:port``) from now on.

        Raises NotConnected or Misconfigured; the socket is the caller's to close.
        """
        lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
        if self.authorization is not None:
            lines.append(f"Proxy-Authorization: {self.authorization}")
        loop = asyncio.get_running_loop()
        where = f"proxy {self.host}:{self.port}"
        try:
            await loop.sock_sendall(sock, "\r\n".join([*lines, "", ""]).encode())
            head = await _head(loop, sock, where)
        except OSError as error:
            raise NotConnected(f"{where}: {error.strerror or error}") from error
        match = _ANSWER.match(head)
        if match is None:
            raise Misconfigured(f"{where} does not speak HTTP/1.1")
        status = int(match[1])
        if 200 <= status < 300:
            return
        text = f"{where} answered CONNECT with {_named(status)}"
        raise NotConnected(text) if status >= 500 or status == 408 else Misconfigured(text)


def is_direct(host: str, direct: list[str]) -> bool:
    """Whether *host* is one of *direct*, or below one that begins with a dot."""
    name = host.lower().removesuffix(".")
    return any(
        name.endswith(each.lower()) if each.startswith(".") else name == each.lower()
        for each in direct
    )


async def _head(loop: asyncio.AbstractEventLoop, sock: socket.socket, where: str) -> bytes:
    """The head of the answer. Nothing follows it: in TLS the client speaks first."""
    data = b""
    while _END not in data:
        piece = await loop.sock_recv(sock, MAX_HEAD_BYTES)
        if not piece:
            raise NotConnected(f"{where} closed the connection")
        data += piece
        if len(data) > MAX_HEAD_BYTES:
            raise Misconfigured(f"{where} answered with more than {MAX_HEAD_BYTES} bytes")
    head, _, more = data.partition(_END)
    if more and not _ANSWER.match(head + b"\r\n"):
        raise Misconfigured(f"{where} does not speak HTTP/1.1")
    return head + b"\r\n"


def _named(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
