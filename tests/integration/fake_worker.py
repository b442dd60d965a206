"""A worker that moves nothing and misbehaves on order.

Speaks ``streamproc/control.py`` as the real one does. A client's ``specificConfig.behave`` says
what happens when it is assigned, or withdrawn:

    crash     the process dies           hang    it stops doing anything at all
    rubbish   it breaks the protocol     stuck   it never closes, and never drains
    lazy      closing takes a while      leave   it ends with messages unsettled

FAKE_REFUSE=<index> makes that worker end with EXIT_CONFIG, FAKE_UNREADY=<index> never ready.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
import time
from pathlib import Path

from streamproc.control import (
    EXIT_CONFIG,
    EXIT_STOPPED,
    LENGTH,
    Assign,
    Beat,
    ClientRef,
    ClientReport,
    Drained,
    FromWorker,
    LinkReport,
    Ready,
    Report,
    Stop,
    frame,
    to_worker,
)
from streamproc.telemetry import metrics as m
from streamproc.telemetry.slots import Block

EXIT_ON_ORDER = 7
LAZY_S = 0.3


class FakeWorker:
    def __init__(self, index: int, block: Block, fds: socket.socket) -> None:
        self.index = index
        self.block = block
        self.fds = fds
        self.clients: dict[str, ClientRef] = {}
        self.closing: dict[str, ClientRef] = {}
        self.behaviours: dict[str, str] = {}
        self.generation = -1
        self.listeners: dict[str, int] = {}
        self.serving: dict[str, asyncio.Server] = {}
        self.orders = 0

    async def run(self, control: socket.socket) -> int:
        reader, self.writer = await asyncio.open_connection(sock=control)
        if os.environ.get("FAKE_UNREADY") != str(self.index):
            self.tell(Ready(os.getpid()))
        beating = asyncio.create_task(self.beat())
        try:
            while True:
                (length,) = LENGTH.unpack(await reader.readexactly(4))
                order = to_worker.decode(await reader.readexactly(length))
                if isinstance(order, Stop):
                    await self.drain(order.drain_s)
                    break
                await self.take(order)
        except asyncio.IncompleteReadError:
            await self.drain(30.0)
        beating.cancel()
        return EXIT_STOPPED

    def tell(self, message: FromWorker) -> None:
        if not self.writer.is_closing():
            self.writer.write(frame(message))

    async def beat(self) -> None:
        while True:
            self.tell(Beat(0.0))
            await asyncio.sleep(0.1)

    async def take(self, assign: Assign) -> None:
        self.orders += 1
        self.receive()
        assert set(assign.listeners) <= set(self.listeners), "a listener is named and was not sent"
        wanted = {ref.id: ref for ref in assign.clients}
        for name in [name for name in self.clients if name not in wanted]:
            self.closing[name] = self.clients.pop(name)
            asyncio.get_running_loop().create_task(self.close(name))
        for name, ref in wanted.items():
            assert name not in self.closing, "given back before it was closed"
            assert self.clients.get(name, ref) == ref, "changed under way"
            if name not in self.clients:
                (connection,) = [c for c in assign.connections if c.id == ref.connection_id]
                assert connection.uri, "told to run what it knows nothing of"
                self.clients[name] = ref
                self.behaviours[name] = connection.specific_config.get("behave", "")
                self.count(ref.connection_id)
                self.behave(self.behaviours[name])
        for name in assign.listeners:
            if self.clients and name not in self.serving:
                listener = socket.socket(fileno=os.dup(self.listeners[name]))
                self.serving[name] = await asyncio.start_server(self.answer, sock=listener)
        self.generation = assign.generation
        self.report()

    def behave(self, behaviour: str) -> None:
        if behaviour == "crash":
            os._exit(EXIT_ON_ORDER)
        if behaviour == "hang":
            time.sleep(3600)
        if behaviour == "rubbish":
            self.writer.write(LENGTH.pack(5) + b"what?")

    def count(self, connection: str) -> None:
        """Ten messages come, seven are settled, three stay open."""
        labels = {"connection": connection, "source": "0"}
        self.block.counter(m.MESSAGES_RECEIVED, **labels).add(10)
        self.block.counter(m.MESSAGES_SETTLED, **labels, verdict="accept").add(7)
        self.block.gauge(m.MESSAGES_IN_FLIGHT, **labels).add(3)

    async def close(self, name: str) -> None:
        if self.behaviours[name] == "stuck":
            return
        if self.behaviours[name] == "lazy":
            await asyncio.sleep(LAZY_S)
        del self.closing[name]
        self.report()

    def report(self) -> None:
        now = time.time()

        def one(ref: ClientRef, state: str) -> ClientReport:
            links = [LinkReport("source 0/0 in", state, now), LinkReport("target", state, now)]  # type: ignore[arg-type]
            return ClientReport(ref, state, links)  # type: ignore[arg-type]

        clients = [one(ref, "open") for ref in self.clients.values()]
        clients += [one(ref, "draining") for ref in self.closing.values()]
        self.tell(Report(self.generation, clients))

    def receive(self) -> None:
        while True:
            try:
                name, fds, _, _ = socket.recv_fds(self.fds, 512, 1)
            except BlockingIOError:
                return
            if not fds:
                return
            self.listeners[name.decode()] = fds[0]

    async def answer(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{self.index} {os.getpid()}\n".encode())
        writer.close()

    async def drain(self, drain_s: float) -> None:
        if "stuck" in self.behaviours.values():
            await asyncio.sleep(drain_s + 3600)
        if "lazy" in self.behaviours.values():
            await asyncio.sleep(LAZY_S)
        left = 3 if "leave" in self.behaviours.values() else 0
        self.tell(Drained(left))
        await self.writer.drain()


def main() -> int:
    parser = argparse.ArgumentParser()
    for name in ("index", "control-fd", "fds-fd", "bus-fd"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("bus-dir", "metrics"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if os.environ.get("FAKE_REFUSE") == str(options.index):
        return EXIT_CONFIG
    bus = socket.socket(fileno=options.bus_fd)
    assert bus.getsockname() == str(options.bus_dir / f"bus-{options.index}.sock")
    fds = socket.socket(fileno=options.fds_fd)
    fds.setblocking(False)
    worker = FakeWorker(options.index, Block.open(options.metrics), fds)
    return asyncio.run(worker.run(socket.socket(fileno=options.control_fd)))


if __name__ == "__main__":
    sys.exit(main())
