"""HTTP from the other side: a server that records, and a client that pipelines.

Slow and obvious, on streams, so that it shares nothing with what it tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import socket
import ssl
import struct
from collections.abc import Callable
from typing import NamedTuple


class Then(enum.Enum):
    """What a server does after, or instead of, some bytes of an answer."""

    CLOSE = "close"  # in order: FIN
    RESET = "reset"  # RST
    NOTHING = "nothing"  # keeps still


Piece = bytes | Then


class Request(NamedTuple):
    """A request as it came."""

    method: str
    target: str
    headers: dict[str, str]  # lower-case names
    body: bytes
    connection: int  # which connection of the server, from 0


class Answer(NamedTuple):
    """An answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes


async def read_head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    """First line and headers. Raises IncompleteReadError at the end of the connection."""
    text = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = text.removesuffix("\r\n\r\n").split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return first, headers


NO_CONTENT = b"HTTP/1.1 204 -\r\n\r\n"


class Server:
    """Records each request, then does what ``answer`` returns for it, piece by piece."""

    def __init__(
        self, answer: Callable[[Request], Piece | list[Piece]] = lambda _: NO_CONTENT
    ) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.connections = 0
        self.open_connections = 0
        self.most_connections = 0
        self._arrived = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, context: ssl.SSLContext | None = None) -> int:
        """Listen. -> port"""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # for what was aborted to be closed

    async def wait(self, count: int, deadline_s: float) -> None:
        """Until there are *count* requests, or the deadline."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_s), self._arrived:
                await self._arrived.wait_for(lambda: len(self.requests) >= count)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        number = self.connections
        self.connections += 1
        self.open_connections += 1
        self.most_connections = max(self.most_connections, self.open_connections)
        try:
            while True:
                first, headers = await read_head(reader)
                method, target, _ = first.split(" ")
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                request = Request(method, target, headers, body, number)
                self.requests.append(request)
                async with self._arrived:
                    self._arrived.notify_all()
                answer = self.answer(request)
                for piece in answer if isinstance(answer, list) else [answer]:
                    await self._do(piece, reader, writer)
        except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            pass
        finally:
            self.open_connections -= 1
            self._tasks.discard(task)
            writer.transport.abort()

    async def _do(
        self, piece: Piece, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if isinstance(piece, bytes):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.001)  # so that pieces travel apart
        elif piece is Then.NOTHING:
            await reader.read()  # until the client closes
            raise ConnectionResetError
        else:
            if piece is Then.RESET:
                link: socket.socket = writer.get_extra_info("socket")
                link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            writer.close()
            raise ConnectionResetError


class Client:
    """One connection. ``post`` sends without waiting; ``answers`` fills in order."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.answers: list[Answer] = []
        self.sent = 0

    async def connect(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._task = asyncio.create_task(self._read())

    async def post(self, path: str, body: bytes, headers: dict[str, str]) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST {path} HTTP/1.1\r\nHost: t\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
        await self.send(head.encode() + body)

    async def send(self, data: bytes) -> None:
        self.sent += 1
        self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._writer.transport.abort()

    @property
    def ended(self) -> bool:
        """Whether the server closed the connection."""
        return self._task.done()

    async def _read(self) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                first, headers = await read_head(self._reader)
                status = int(first.split(" ")[1])
                length = int(headers.get("content-length", "0"))
                body = await self._reader.readexactly(length)
                self.answers.append(Answer(status, headers, body))
