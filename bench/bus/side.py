"""As much of a worker as the bus needs: the real outboxes, bus, outlets and settlement, with a
target that has everything at once.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from streamproc.config.service import Limits, Retry
from streamproc.errors import RunnerError
from streamproc.kernels.delivery import Delivery
from streamproc.kernels.settlement import Window, deliveries
from streamproc.telemetry.slots import Block
from streamproc.worker.bus import Server
from streamproc.worker.client import PIPELINE_DEPTH
from streamproc.worker.crash import install
from streamproc.worker.dispatch import Dispatcher
from streamproc.worker.outlet import Outlet
from streamproc.worker.tally import Tally

CLIENT = "bench#0"
CAPACITY = 4096
THINGS = 1_000


class AtOnce:
    """A target that gives its receipts in the next round of the loop."""

    capacity = CAPACITY

    def __init__(self, receipts: Outlet) -> None:
        self._receipts = receipts
        self._loop = asyncio.get_running_loop()

    async def open(self) -> None:
        """Nothing to connect to."""

    def write(self, written: Sequence[Delivery]) -> None:
        self._loop.call_soon(self._receipts.delivered, written)

    async def close(self) -> None:
        """Nothing to let go of."""


class Book:
    """Implements ``Ledger`` for the outlet: counts receipts and passes them on."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def delivered(self, deliveries: Sequence[Delivery]) -> None:
        self._tally.delivered("bench", deliveries)

    def retried(self, deliveries: Sequence[Delivery], error: RunnerError) -> None:
        raise error

    def park(
        self, deliveries: Sequence[Delivery], error: RunnerError, then: Callable[[int], None]
    ) -> None:
        raise error


class Side:
    """Worker *index*; hosts the client when told to. Implements ``Receiver`` for the bus."""

    def __init__(self, index: int, folder: Path) -> None:
        self._folder = folder
        self._index = index
        self._block = Block.create(folder / f"metrics-{index}")
        self._tally = Tally(self._block)
        self._server = Server(self, self._block)
        self._outlet: Outlet | None = None
        self.dispatcher = Dispatcher(
            index, folder, Limits(), self._tally, self._block, self._refuse
        )

    async def start(self) -> None:
        """Listen for peers. From now on an unexpected exception ends this process."""
        install()
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(self._folder / f"bus-{self._index}.sock"))
        listening.listen()
        listening.setblocking(False)
        await self._server.start(listening)

    def host(self) -> Outlet:
        """The client lives here from now on."""
        self._outlet = Outlet(
            AtOnce,
            depth=PIPELINE_DEPTH,
            retry=Retry(),
            ledger=Book(self._tally),
            changed=lambda: None,
        )
        return self._outlet

    def _refuse(
        self,
        client: str,
        left: list[Delivery],
        error: RunnerError,
        then: Callable[[int], None],
    ) -> None:
        raise error

    def arrived(self, client: str, arrived: list[Delivery]) -> bool:
        if self._outlet is None:
            return False
        self._outlet.offer(arrived)
        return True

    def peer_changed(self) -> None:
        """The other side ends when we do."""


class Sender:
    """A source without a broker: the intake's window, and batches made beforehand."""

    def __init__(self, side: Side, batch: int, payload_bytes: int) -> None:
        self._dispatcher = side.dispatcher
        self._loop = asyncio.get_running_loop()
        limits = Limits()
        self._window = Window(limits.source_window_messages, limits.source_window_bytes, self._done)
        self._room = asyncio.Event()
        self._batch = batch
        self._payloads = [bytes([65 + i % 26]) * payload_bytes for i in range(batch)]
        self._keys = [f"org.bench:thing-{i}" for i in range(THINGS)]
        self._next = 0

    def _done(self) -> None:
        self._loop.call_soon(self._settle)

    def _settle(self) -> None:
        self._window.take()
        if not self._window.full:
            self._room.set()

    async def send(self, count: int) -> float:
        """Send *count* messages and wait for all receipts. -> seconds it took."""
        begun = time.perf_counter()
        window = self._window
        for _ in range(0, count, self._batch):
            while window.full:
                self._room.clear()
                await self._room.wait()
            self._one_batch()
            await asyncio.sleep(0)  # as after a read
        while window.messages:
            self._room.clear()
            await self._room.wait()
        return time.perf_counter() - begun

    def _one_batch(self) -> None:
        first = self._next
        self._next += self._batch
        numbers = range(first, self._next)
        entries = self._window.admit(None, list(numbers), self._payloads, 0.0)
        keys = [self._keys[n % THINGS] for n in numbers]
        made = deliveries(
            0,
            entries,
            keys,
            [f"POST:/things/{key}" for key in keys],
            [
                {
                    "content-type": "application/vnd.eclipse.ditto+json",
                    "correlation-id": f"c-{n}",
                    "x-device": key,
                }
                for n, key in zip(numbers, keys, strict=True)
            ],
            self._payloads,
        )
        self._window.release(entries)
        self._dispatcher.send(CLIENT, made)
