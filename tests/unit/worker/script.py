"""A target that follows a script, and a ledger that writes down what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from streamproc.connectors.base import Receipts
from streamproc.errors import NotConnected, RunnerError
from streamproc.kernels.delivery import Delivery

Answer = Callable[[Delivery], RunnerError | str | None]


class Script:
    """A target whose answers are decided by ``answer``; None means: later, by the test."""

    def __init__(self, receipts: Receipts, capacity: int, answer: Answer) -> None:
        self.capacity = capacity
        self.receipts = receipts
        self.answer = answer
        self.written: list[Delivery] = []
        self.flying: list[Delivery] = []
        self.opens = 0
        self.refuse_open: RunnerError | None = None
        self.most = 0

    async def open(self) -> None:
        self.opens += 1
        if self.refuse_open is not None:
            raise self.refuse_open

    def write(self, deliveries: Sequence[Delivery]) -> None:
        self.written += deliveries
        self.flying += deliveries
        self.most = max(self.most, len(self.flying))
        assert len(self.flying) <= self.capacity
        assert len({d.key for d in self.flying}) == len(self.flying) or self.capacity > 100
        asyncio.get_running_loop().call_soon(self._answer, list(deliveries))

    def _answer(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            if delivery not in self.flying:
                continue
            verdict = self.answer(delivery)
            if verdict == "later":
                continue
            self.flying.remove(delivery)
            if verdict is None:
                self.receipts.delivered([delivery])
            else:
                assert isinstance(verdict, RunnerError)
                self.receipts.failed([delivery], verdict)

    def cut(self) -> None:
        flying, self.flying = self.flying, []
        self.receipts.failed(flying, NotConnected("cut"))
        self.receipts.lost(NotConnected("cut"))

    async def close(self) -> None:
        flying, self.flying = self.flying, []
        if flying:
            self.receipts.failed(flying, NotConnected("closed"))


class Book:
    """A ledger that writes down what it is told."""

    def __init__(self, room: int = 1 << 30) -> None:
        self.done: list[Delivery] = []
        self.refused: list[tuple[Delivery, RunnerError]] = []
        self.again: list[Delivery] = []
        self.room = room
        self.changed = asyncio.Event()

    def delivered(self, deliveries: Sequence[Delivery]) -> None:
        self.done += deliveries
        self.changed.set()

    def retried(self, deliveries: Sequence[Delivery], error: RunnerError) -> None:
        self.again += deliveries
        self.changed.set()

    def park(
        self, deliveries: Sequence[Delivery], error: RunnerError, then: Callable[[int], None]
    ) -> None:
        count = min(self.room, len(deliveries))
        self.room -= count
        self.refused += [(delivery, error) for delivery in deliveries[:count]]
        self.changed.set()
        asyncio.get_running_loop().call_soon(then, count)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until *condition* holds."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0)


def by_key(deliveries: Sequence[Delivery]) -> dict[str, list[str]]:
    """Addresses per key, in order."""
    order: dict[str, list[str]] = {}
    for delivery in deliveries:
        order.setdefault(delivery.key, []).append(delivery.address)
    return order
