"""A TCP link that can be cut: stands between a connector and what it talks to."""

from __future__ import annotations

import asyncio
import contextlib

from tests.brokers.ports import Port


class Proxy:
    """Passes bytes between ``port`` on 127.0.0.1 and *upstream*; ``cut`` breaks and refuses.

    The port stays ours through cuts and mends.
    """

    def __init__(self, upstream_host: str, upstream_port: int) -> None:
        self._upstream = (upstream_host, upstream_port)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._frozen = asyncio.Event()
        self._frozen.set()
        self._port = Port()
        self.port = int(self._port)
        self.accepted = 0  # connections so far

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, reuse_address=True
        )

    async def cut(self) -> None:
        """Reset what is connected and refuse what comes."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.reset()

    def reset(self) -> None:
        """Reset what is connected; new connections are welcome."""
        for writer in list(self._writers):
            writer.transport.abort()
        self._writers.clear()

    async def mend(self) -> None:
        """Accept again, on the same port."""
        if self._server is None:
            await self.start()

    def freeze(self) -> None:
        """Hold all connections and pass nothing on, until ``thaw``."""
        self._frozen.clear()

    def thaw(self) -> None:
        self._frozen.set()

    async def close(self) -> None:
        """Let go of everything, the port too."""
        self.thaw()
        await self.cut()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await asyncio.sleep(0)  # for what was aborted to be closed
        self._port.release()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.accepted += 1
        self._writers.add(writer)
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._upstream)
        except OSError:
            writer.transport.abort()
            return
        self._writers.add(far_writer)
        try:
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        except asyncio.CancelledError:
            pass  # the test's loop is closing
        finally:
            for end in (writer, far_writer):
                self._writers.discard(end)
                end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while data := await reader.read(1 << 16):
                await self._frozen.wait()
                writer.write(data)
                await writer.drain()
            if not writer.transport.is_closing():
                writer.write_eof()
