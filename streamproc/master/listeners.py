"""Listening sockets of http-ingest connections: the master's, so that they outlive workers.

While a worker restarts, or a client moves, callers wait in the socket's queue; none is refused.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from contextlib import suppress
from urllib.parse import urlsplit

from streamproc.config.connection import Connection
from streamproc.errors import ConfigError
from streamproc.telemetry import events as tell

BACKLOG = 1024
INGEST = "http-ingest"
DEFAULT_PORT = 80


def wanted(connections: Iterable[Connection]) -> list[str]:
    """``host:port`` of each socket that *connections* need, as written in their uri."""
    names = {
        name_of(connection.uri)
        for connection in connections
        if connection.connection_type == INGEST
    }
    return sorted(names)


def name_of(uri: str) -> str:
    """``host:port``, as the connector looks for it: no brackets, and a port always."""
    parts = urlsplit(uri)
    return f"{parts.hostname}:{parts.port or DEFAULT_PORT}"


class Listeners:
    """The open sockets by name."""

    def __init__(self) -> None:
        self.sockets: dict[str, socket.socket] = {}

    def open(self, names: Iterable[str]) -> None:
        """Open those of *names* that are not; all of them, or none and ConfigError."""
        fresh: dict[str, socket.socket] = {}
        try:
            for name in names:
                if name not in self.sockets:
                    fresh[name] = _listen(name)
        except OSError as error:
            for each in fresh.values():
                each.close()
            raise ConfigError(f"cannot listen on {name}: {error.strerror or error}") from error
        for name, each in fresh.items():
            tell.listener_opened(name, address_of(each))
        self.sockets |= fresh

    def close_all_but(self, names: Iterable[str]) -> None:
        """Close what nobody wants any more, also where a worker still has a copy."""
        for name in sorted(self.sockets.keys() - set(names)):
            listener = self.sockets.pop(name)
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # of every copy; the port is free
            listener.close()
            tell.listener_closed(name)

    def addresses(self) -> dict[str, str]:
        """Name -> address it is bound to; they differ where port 0 was asked for."""
        return {name: address_of(each) for name, each in self.sockets.items()}


def address_of(listener: socket.socket) -> str:
    """``host:port`` that a socket is bound to."""
    host, port, *_ = listener.getsockname()
    return host_port(host, port)


def host_port(host: str, port: int) -> str:
    """``host:port``; an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _listen(name: str) -> socket.socket:
    host, _, port = name.rpartition(":")
    found = socket.getaddrinfo(
        host or None,
        int(port),
        type=socket.SOCK_STREAM,
        flags=socket.AI_PASSIVE,
    )
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener
