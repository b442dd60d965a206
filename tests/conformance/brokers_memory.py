"""The memory broker, for the conformance tests."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

from streamproc.config.connection import Connection, Source
from streamproc.connectors.base import Identity, Receipts, SourceSpec, TargetSpec
from streamproc.connectors.memory.config import MemoryOptions
from streamproc.connectors.memory.queue import MEMORY, Item
from tests.conformance.brokers import DEADLINE_S, Adaptor, Message

_numbers = itertools.count()


class MemoryAdaptor(Adaptor):
    name = "memory"

    async def begin(self) -> None:
        self._in = f"in-{next(_numbers)}"
        self.address = f"out-{next(_numbers)}"

    async def end(self) -> None:
        MEMORY.mend()
        MEMORY.drop(self._in)
        MEMORY.drop(self.address)

    def source_spec(self, *, prefetch: int = 1000, client_index: int = 0) -> SourceSpec:
        source = Source(addresses=[self._in])
        return SourceSpec(
            identity=Identity(connection_id="c", client_index=client_index, client_count=2),
            connection=Connection(id="c", connection_type="memory", sources=[source]),
            options=MemoryOptions(),
            source=source,
            prefetch=prefetch,
        )

    def target_spec(self, receipts: Receipts) -> TargetSpec:
        return TargetSpec(
            identity=Identity(connection_id="c"),
            connection=Connection(id="c", connection_type="memory"),
            options=MemoryOptions(),
            receipts=receipts,
        )

    async def publish(self, messages: Sequence[Message]) -> list[Message]:
        MEMORY.put(self._in, [Item(m.payload, m.headers, m.key) for m in messages])
        return list(messages)

    async def unsettled(self) -> int:
        queue = MEMORY.queue(self._in)
        return len(queue.waiting) + queue.unsettled

    async def received(self, count: int) -> list[Message]:
        queue = MEMORY.queue(self.address)
        ends = asyncio.get_running_loop().time() + DEADLINE_S
        while len(queue.waiting) < count and asyncio.get_running_loop().time() < ends:
            await asyncio.sleep(0.001)
        return [Message(item.payload, item.headers, item.key) for item in queue.waiting]

    async def cut(self) -> None:
        MEMORY.cut()

    async def mend(self) -> None:
        MEMORY.mend()
