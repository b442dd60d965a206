"""RabbitMQ, for the conformance tests, reached through a proxy."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from streamproc.config.connection import Connection, Source, Target
from streamproc.connectors.amqp091.config import Amqp091Options
from streamproc.connectors.base import Identity, Receipts, SourceSpec, TargetSpec
from tests.brokers.rabbitmq import RabbitMQ
from tests.conformance.brokers import DEADLINE_S, Adaptor, Message
from tests.conformance.proxy import Proxy

ALL = 10_000


class Amqp091Adaptor(Adaptor):
    name = "amqp-091"

    @staticmethod
    def missing() -> str:
        return RabbitMQ.missing()

    def start(self, shared: Callable[[str], Any]) -> None:
        self._rabbitmq: RabbitMQ = shared("rabbitmq")

    async def begin(self) -> None:
        name = uuid.uuid4().hex[:10]
        self._in, self._out = f"in-{name}", f"out-{name}"
        self.address = f"amq.default/{self._out}"
        self._arrived: list[Message] = []
        for queue in (self._in, self._out):
            await asyncio.to_thread(self._rabbitmq.declare_queue, queue)
        self._proxy = Proxy("127.0.0.1", self._rabbitmq.port)
        await self._proxy.start()

    async def end(self) -> None:
        await self._proxy.close()
        for queue in (self._in, self._out):
            await asyncio.to_thread(self._rabbitmq.delete_queue, queue)

    def _connection(self) -> Connection:
        return Connection(
            id="c",
            connection_type="amqp-091",
            uri=f"amqp://guest:guest@127.0.0.1:{self._proxy.port}",
            sources=[Source(addresses=[self._in])],
            targets=[Target(address=self.address, topics=[])],
            client_count=2,
        )

    def source_spec(self, *, prefetch: int = 1000, client_index: int = 0) -> SourceSpec:
        connection = self._connection()
        return SourceSpec(
            identity=Identity(connection_id="c", client_index=client_index, client_count=2),
            connection=connection,
            options=Amqp091Options(),
            source=connection.sources[0],
            prefetch=prefetch,
        )

    def target_spec(self, receipts: Receipts) -> TargetSpec:
        return TargetSpec(
            identity=Identity(connection_id="c"),
            connection=self._connection(),
            options=Amqp091Options(),
            receipts=receipts,
        )

    async def publish(self, messages: Sequence[Message]) -> list[Message]:
        made = [(message.payload, message.headers) for message in messages]
        await asyncio.to_thread(self._rabbitmq.publish, self._in, made)
        return list(messages)

    async def unsettled(self) -> int:
        held = await asyncio.to_thread(self._rabbitmq.unsettled, self._in)
        return held + await asyncio.to_thread(self._rabbitmq.depth, self._in)

    async def received(self, count: int) -> list[Message]:
        ends = asyncio.get_running_loop().time() + DEADLINE_S
        while True:
            got = await asyncio.to_thread(self._rabbitmq.get, self._out, ALL)
            self._arrived += [Message(body, _texts(headers)) for body, headers in got]
            if len(self._arrived) >= count or asyncio.get_running_loop().time() > ends:
                return list(self._arrived)
            await asyncio.sleep(0.02)

    async def cut(self) -> None:
        await self._proxy.cut()

    async def mend(self) -> None:
        await self._proxy.mend()


def _texts(headers: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in headers.items()}
