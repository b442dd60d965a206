"""A TCP proxy that breaks: stands before a broker and fails as networks do.

It runs on a loop of its own in a thread, so the calls are plain ones and may come from a test,
a thread or a coroutine; each has happened when it returns::

    with Proxy(rabbitmq.port) as proxy:
        connect(f"amqp://guest:guest@127.0.0.1:{proxy.port}/")
        proxy.cut()

Kafka tells its clients where to connect to, so it must be told of the proxy::

    with Proxy() as proxy, Kafka(proxied=proxy.port) as kafka:
        proxy.target = kafka.proxied_port
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Self, TypeVar

from tests.brokers.ports import HOST, Port

T = TypeVar("T")
CHUNK = 64 * 1024
AHEAD = 64  # chunks on their way through a slow link
DEADLINE = 30.0  # seconds, for each call
RESET = struct.pack("ii", 1, 0)  # close at once, and let the peer know


class Proxy:
    """Listens on ``port`` and forwards to ``target``, a port that may be set later."""

    def __init__(self, target: int = 0) -> None:
        self.target = target
        self.accepted = 0  # connections, since the start
        self._port = Port()
        self._network = _Network()
        self._links: set[_Link] = set()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)
        self._up = threading.Event()

    @property
    def port(self) -> int:
        return int(self._port)

    @property
    def open(self) -> int:
        """Connections that are open now."""
        return len(self._links)

    def cut(self) -> None:
        """Reset all connections, on both sides. New ones are welcome."""
        self._wait(self._cut())

    def freeze(self) -> None:
        """Forward nothing, but keep connections open and accept new ones."""
        self._do(self._network.flowing.clear)

    def thaw(self) -> None:
        """Forward again, what was held first."""
        self._do(self._network.flowing.set)

    def slow(self, delay: float) -> None:
        """Forward each chunk *delay* seconds after it came; 0 ends it. Order is kept."""
        self._do(lambda: setattr(self._network, "delay", delay))

    def half_close(self) -> None:
        """End what clients hear; what they say still arrives."""
        self._wait(self._half_close())

    def refuse(self) -> None:
        """Refuse new connections. Open ones stay: ``cut`` them too for a host that is down."""
        self._wait(self._unlisten())

    def accept(self) -> None:
        """Accept new connections again, on the same port."""
        self._wait(self._listen())

    def __enter__(self) -> Self:
        self._thread.start()
        self._up.wait(DEADLINE)
        self.accept()
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()
        self.cut()
        self._do(self._over.set)
        self._thread.join()
        self._port.release()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self._up.set()
        await self._over.wait()

    def _do(self, action: Callable[[], object]) -> None:
        async def act() -> None:
            action()

        self._wait(act())

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(DEADLINE)

    async def _cut(self) -> None:
        ending = [link.reset() for link in self._links]
        await asyncio.gather(*ending, return_exceptions=True)

    async def _half_close(self) -> None:
        for link in self._links:
            link.half_close()

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, HOST, self.port)

    async def _unlisten(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        link = _Link(self._network, reader, writer)
        self._links.add(link)
        try:
            with contextlib.suppress(asyncio.CancelledError):  # it was reset
                await link.run(self.target)
        finally:
            self._links.discard(link)


class _Network:
    """The weather that all links share."""

    def __init__(self) -> None:
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.delay = 0.0


class _Link:
    """One client's connection and the one it is forwarded to."""

    def __init__(
        self, network: _Network, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._network = network
        self._reader = reader
        self._client = writer
        self._writers = [writer]
        self._task = asyncio.current_task()
        self._muted = False

    async def run(self, target: int) -> None:
        """Forward both ways until both have ended, or until ``reset``."""
        try:
            reader, writer = await asyncio.open_connection(HOST, target)
            self._writers.append(writer)
            async with asyncio.TaskGroup() as ways:
                self._forward(ways, self._reader, writer)
                self._forward(ways, reader, self._client)
        except* OSError:
            self._abort()
        finally:
            for writer in self._writers:
                writer.close()

    def reset(self) -> asyncio.Task[Any]:
        """Reset both sides. The task has ended when that is done."""
        assert self._task is not None
        self._abort()
        self._task.cancel()
        return self._task

    def half_close(self) -> None:
        self._muted = True
        with contextlib.suppress(OSError):
            self._client.write_eof()

    def _abort(self) -> None:
        for writer in self._writers:
            peer: socket.socket = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):  # already closed
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()

    def _forward(
        self, ways: asyncio.TaskGroup, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        on_its_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(AHEAD)
        ways.create_task(self._take(reader, on_its_way))
        ways.create_task(self._give(on_its_way, writer))

    async def _take(
        self, reader: asyncio.StreamReader, on_its_way: asyncio.Queue[tuple[float, bytes]]
    ) -> None:
        now = asyncio.get_running_loop().time
        chunk = b"any"
        while chunk:
            await self._network.flowing.wait()
            chunk = await reader.read(CHUNK)
            await on_its_way.put((now() + self._network.delay, chunk))

    async def _give(
        self, on_its_way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
    ) -> None:
        now = asyncio.get_running_loop().time
        while True:
            due, chunk = await on_its_way.get()
            await asyncio.sleep(max(0.0, due - now()))
            await self._network.flowing.wait()
            if not chunk:
                break
            if not (self._muted and writer is self._client):
                writer.write(chunk)
                await writer.drain()
        writer.write_eof()
