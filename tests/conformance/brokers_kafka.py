"""Kafka, for the conformance tests: a broker of its own, reached through a proxy."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from streamproc.config.connection import Connection, Source, Target
from streamproc.connectors.base import Identity, Receipts, SourceSpec, TargetSpec
from streamproc.connectors.kafka.config import KafkaOptions
from tests.brokers.kafka import Kafka
from tests.conformance.brokers import DEADLINE_S, Adaptor, Message
from tests.conformance.proxy import Proxy


class KafkaAdaptor(Adaptor):
    """All messages of a test have one key, and so one partition of the two."""

    name = "kafka"

    @staticmethod
    def missing() -> str:
        return Kafka.missing()

    def start(self, shared: Callable[[str], Any]) -> None:
        # A client of Kafka goes where the broker sends it: the broker must know the proxy.
        self._proxy = Proxy("127.0.0.1", 0)
        self._kafka = Kafka(proxied=self._proxy.port)
        self._proxy._upstream = ("127.0.0.1", self._kafka.proxied_port)
        self._kafka.start()

    def close(self) -> None:
        self._kafka.close()
        self._proxy._port.release()

    async def begin(self) -> None:
        name = uuid.uuid4().hex[:10]
        self._in, self._out = f"in-{name}", f"out-{name}"
        self.address = f"{self._out}/k"
        for topic in (self._in, self._out):
            await asyncio.to_thread(self._kafka.create_topic, topic, 2)
        await self._proxy.start()

    async def end(self) -> None:
        await self._proxy.cut()

    def _connection(self) -> Connection:
        return Connection(
            id=f"of-{self._in}",
            connection_type="kafka",
            uri=f"tcp://127.0.0.1:{self._proxy.port}",
            sources=[Source(addresses=[self._in], qos=1)],
            targets=[Target(address=self.address, topics=[])],
            client_count=2,
        )

    def _options(self) -> KafkaOptions:
        return KafkaOptions(
            bootstrap_servers=f"127.0.0.1:{self._proxy.port}", consumer_offset_reset="earliest"
        )

    def source_spec(self, *, prefetch: int = 1000, client_index: int = 0) -> SourceSpec:
        connection = self._connection()
        return SourceSpec(
            identity=Identity(
                connection_id=connection.id, client_index=client_index, client_count=2
            ),
            connection=connection,
            options=self._options(),
            source=connection.sources[0],
            prefetch=prefetch,
        )

    def target_spec(self, receipts: Receipts) -> TargetSpec:
        connection = self._connection()
        return TargetSpec(
            identity=Identity(connection_id=connection.id),
            connection=connection,
            options=self._options(),
            receipts=receipts,
        )

    async def publish(self, messages: Sequence[Message]) -> list[Message]:
        records = [
            (m.key.encode(), m.payload, [(name, v.encode()) for name, v in m.headers.items()])
            for m in messages
        ]
        await asyncio.to_thread(self._kafka.produce, self._in, records)
        return list(messages)

    async def unsettled(self) -> int:
        """What the group has not committed."""
        ends = await asyncio.to_thread(self._kafka.end_offsets, self._in)
        done = await asyncio.to_thread(self._kafka.committed, f"of-{self._in}", self._in)
        return sum(ends.values()) - sum(done.values())

    async def received(self, count: int) -> list[Message]:
        ends = asyncio.get_running_loop().time() + DEADLINE_S
        while True:
            there = sum((await asyncio.to_thread(self._kafka.end_offsets, self._out)).values())
            if there >= count or asyncio.get_running_loop().time() > ends:
                break
            await asyncio.sleep(0.02)
        records = await asyncio.to_thread(self._kafka.consume, self._out, there)
        return [
            Message(r.value, {name: v.decode() for name, v in r.headers.items()}) for r in records
        ]

    async def cut(self) -> None:
        await self._proxy.cut()

    async def mend(self) -> None:
        await self._proxy.mend()
