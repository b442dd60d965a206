"""Writes queues of the memory broker."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from streamproc.connectors.base import TargetSpec
from streamproc.connectors.memory.queue import MEMORY, Item
from streamproc.errors import DeliveryFailed, NotConnected
from streamproc.kernels.delivery import Delivery

CAPACITY = 1024


class MemoryTarget:
    """Puts each delivery into the queue named by its address, one loop iteration later."""

    capacity = CAPACITY

    def __init__(self, spec: TargetSpec) -> None:
        self._receipts = spec.receipts
        self._open = False
        self._written: list[Delivery] = []

    async def open(self) -> None:
        MEMORY.check()
        MEMORY.watch(self._cut)
        self._open = True

    def write(self, deliveries: Sequence[Delivery]) -> None:
        if not self._written:
            asyncio.get_running_loop().call_soon(self._flush)
        self._written.extend(deliveries)

    async def close(self) -> None:
        self._let_go()
        self._flush()

    def _flush(self) -> None:
        written, self._written = self._written, []
        if not written:
            return
        if not self._open:
            self._receipts.failed(written, NotConnected("the memory broker is not connected"))
            return
        taken: list[Delivery] = []
        refused: list[Delivery] = []
        for delivery in written:
            if MEMORY.queue(delivery.address).full:
                refused.append(delivery)
                continue
            item = Item(delivery.payload, delivery.headers, delivery.key)
            MEMORY.put(delivery.address, (item,))
            taken.append(delivery)
        if taken:
            self._receipts.delivered(taken)
        if refused:
            self._receipts.failed(refused, DeliveryFailed("the queue is full"))

    def _cut(self) -> None:
        self._let_go()
        self._flush()
        self._receipts.lost(NotConnected("the link to the memory broker was cut"))

    def _let_go(self) -> None:
        self._open = False
        MEMORY.unwatch(self._cut)
