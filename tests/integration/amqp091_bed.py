"""Sources and targets of the AMQP 0.9.1 connector on a real RabbitMQ, for tests and benchmarks."""

from __future__ import annotations

import asyncio
from typing import Any

from streamproc.config.connection import Connection, Source, Target
from streamproc.connectors.amqp091.config import Amqp091Options
from streamproc.connectors.amqp091.source import Amqp091Source
from streamproc.connectors.amqp091.target import Amqp091Target
from streamproc.connectors.base import Batch, Identity, Receipts, SourceSpec, TargetSpec, Verdict
from streamproc.kernels.delivery import Delivery
from tests.integration.receipts import DEADLINE_S


class Bed:
    """Sources and targets of one queue; all are closed at the end."""

    def __init__(self, rabbitmq, queue: str, uri: str = "", **link: Any) -> None:
        """``link``: fields of all its connections, as ``ca``."""
        self.rabbitmq = rabbitmq
        self.link = link
        self.queue = queue
        self.uri = uri or rabbitmq.uri
        self._open: list[Amqp091Source | Amqp091Target] = []

    @property
    def address(self) -> str:
        """Where the target must write so that the source reads it."""
        return f"amq.default/{self.queue}"

    def make_source(self, *, queues=None, uri="", options=None, **spec) -> Amqp091Source:
        source = Source(addresses=queues or [self.queue], authorization_context=["s"])
        made = Amqp091Source(
            SourceSpec(
                identity=Identity(connection_id="c"),
                connection=self._connection(uri, sources=[source]),
                options=Amqp091Options(**(options or {})),
                source=source,
                **spec,
            )
        )
        self._open.append(made)
        return made

    async def source(self, **more) -> Amqp091Source:
        made = self.make_source(**more)
        await made.open()
        return made

    def make_target(self, receipts: Receipts, *, address="", uri="", options=None) -> Amqp091Target:
        target = Target(address=address or self.address, topics=[], authorization_context=["s"])
        made = Amqp091Target(
            TargetSpec(
                identity=Identity(connection_id="c"),
                connection=self._connection(uri, targets=[target]),
                options=Amqp091Options(**(options or {})),
                receipts=receipts,
            )
        )
        self._open.append(made)
        return made

    async def target(self, receipts: Receipts, **more) -> Amqp091Target:
        made = self.make_target(receipts, **more)
        await made.open()
        return made

    def _connection(self, uri: str, **ends: Any) -> Connection:
        given = {"id": "c", "connection_type": "amqp-091", "uri": uri or self.uri}
        return Connection(**given, **self.link, **ends)

    async def publish(self, *bodies: bytes, headers=None) -> None:
        await asyncio.to_thread(
            self.rabbitmq.publish, self.queue, [(body, headers or {}) for body in bodies]
        )

    async def depth(self) -> int:
        return await asyncio.to_thread(self.rabbitmq.depth, self.queue)

    async def close(self) -> None:
        await asyncio.gather(*(one.close() for one in self._open))


async def read(source: Amqp091Source, count: int) -> list[Batch]:
    batches: list[Batch] = []
    async with asyncio.timeout(DEADLINE_S):
        while sum(len(batch.tokens) for batch in batches) < count:
            batches.append(await source.read())
    return batches


def payloads(batches: list[Batch]) -> list[bytes]:
    return [payload for batch in batches for payload in batch.payloads]


def tokens(batches: list[Batch]) -> list[int]:
    return [token for batch in batches for token in batch.tokens]


def settle(source: Amqp091Source, batches: list[Batch], verdict=Verdict.ACCEPT) -> None:
    for batch in batches:
        source.settle(batch.origin, batch.tokens, verdict, {})


def numbers(count: int, start: int = 0) -> list[bytes]:
    return [b"%d" % n for n in range(start, start + count)]


def delivery(address: str, payload: bytes = b"x", headers=None) -> Delivery:
    return Delivery(0, "", address, headers or {}, payload)
