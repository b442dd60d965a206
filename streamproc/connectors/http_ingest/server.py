"""One listening socket of a worker, shared by all sources that have paths on it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterable

from streamproc.connectors.http_ingest.connection import Connection
from streamproc.connectors.http_ingest.exchange import Intake
from streamproc.errors import NotConnected

BACKLOG = 4096
SWEEP_S = 1.0
"""How coarse the deadlines of requests and idle connections are."""


_servers: dict[int, Server] = {}  # by listening descriptor


def server(fd: int) -> Server:
    """The server on *fd*: one in this process, however many sources use it."""
    if (found := _servers.get(fd)) is None:
        found = _servers[fd] = Server(fd)
    return found


class Server:
    """Listens while it has routes. Several intakes of one path share its messages."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._routes: dict[str, list[Intake]] = {}  # exact path, or prefix ending in "*"
        self._prefixes: list[str] = []  # without "*", longest first
        self._listening: asyncio.Server | None = None
        self._starting: asyncio.Lock | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self.connections: set[Connection] = set()

    async def attach(self, paths: Iterable[str], intake: Intake) -> None:
        """Send what comes for *paths* to *intake*. Raises NotConnected."""
        for path in paths:
            intakes = self._routes.setdefault(path, [])
            if intake not in intakes:
                intakes.append(intake)
        self._sort()
        if self._starting is None:
            self._starting = asyncio.Lock()
        async with self._starting:
            if self._listening is None:
                await self._listen()

    def pause(self) -> None:
        """An intake has stopped. When all have, new clients wait for whoever listens next."""
        if all(intake.stopped for intakes in self._routes.values() for intake in intakes):
            self._stop_listening()

    def detach(self, intake: Intake) -> None:
        """Send it no more. The last to go ends the listening and the idle connections."""
        for path, intakes in list(self._routes.items()):
            if intake in intakes:
                intakes.remove(intake)
            if not intakes:
                del self._routes[path]
        self._sort()
        if not self._routes:
            self._stop_listening()

    def find(self, path: str) -> list[Intake] | None:
        """The intakes of *path*; None when nobody takes it."""
        if (found := self._routes.get(path)) is not None:
            return found
        for prefix in self._prefixes:
            if path.startswith(prefix):
                return self._routes[prefix + "*"]
        return None

    def limits(self) -> Intake | None:
        """Whose limits hold before a request says where it wants to go: the most generous."""
        every = [intake for intakes in self._routes.values() for intake in intakes]
        return max(every, key=lambda intake: intake.max_connections, default=None)

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            listener = socket.socket(fileno=os.dup(self._fd))
        except OSError as error:
            raise NotConnected(f"cannot use descriptor {self._fd}: {error}") from error
        try:
            self._listening = await loop.create_server(
                lambda: Connection(self), sock=listener, backlog=BACKLOG
            )
        except OSError as error:
            listener.close()
            raise NotConnected(f"cannot listen on descriptor {self._fd}: {error}") from error
        if self._sweeper is None:
            self._sweeper = loop.call_later(SWEEP_S, self._sweep)

    def _stop_listening(self) -> None:
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        for connection in list(self.connections):
            connection.wind_up()
        if not self.connections and self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        if _servers.get(self._fd) is self:
            del _servers[self._fd]

    def _sort(self) -> None:
        prefixes = [path.removesuffix("*") for path in self._routes if path.endswith("*")]
        self._prefixes = sorted(prefixes, key=len, reverse=True)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for intake in {id(i): i for intakes in self._routes.values() for i in intakes}.values():
            intake.sweep(now)
        for connection in list(self.connections):
            connection.sweep(now)
        goes_on = self._listening is not None or self.connections
        self._sweeper = loop.call_later(SWEEP_S, self._sweep) if goes_on else None
