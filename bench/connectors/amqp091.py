"""Each side of the AMQP 0.9.1 connector alone, beside aio-pika on the same broker.

    python -m bench.connectors.amqp091

Messages have 256 bytes and four headers, persistent, in a durable classic queue. aio-pika
publishes from 200 tasks and acknowledges each message, as its guide shows.
"""

from __future__ import annotations

import asyncio

import aio_pika
import uvloop

from bench.connectors.measure import Case, arguments, measure
from streamproc.config.connection import Connection, Source, Target
from streamproc.connectors.amqp091.config import Amqp091Options
from streamproc.connectors.amqp091.source import Amqp091Source
from streamproc.connectors.amqp091.target import Amqp091Target
from streamproc.connectors.base import Identity, SourceSpec, TargetSpec, Verdict
from streamproc.kernels.delivery import Delivery
from tests.brokers.rabbitmq import RabbitMQ

BODY = b"x" * 256
HEADERS = {
    "content-type": "application/vnd.eclipse.ditto+json",
    "correlation-id": "8a1d2d0e-6b0e-4a6c-9a6f-1f6c1d7f3b11",
    "device_id": "org.acme:device-1",
    "tenant": "acme",
}
QUEUE = "bench"
TASKS = 200


class Tally:
    count = 0

    def delivered(self, deliveries):
        self.count += len(deliveries)

    def failed(self, deliveries, error):
        raise error

    def lost(self, error):
        raise error


class Bench:
    """Each publisher leaves the queue full for the consumer that follows it."""

    def __init__(self, rabbitmq: RabbitMQ, count: int) -> None:
        self.rabbitmq = rabbitmq
        self.count = count
        self._connection = Connection(
            id="bench",
            connection_type="amqp-091",
            uri=rabbitmq.uri,
            sources=[Source(addresses=[QUEUE])],
            targets=[Target(address=f"amq.default/{QUEUE}", topics=[])],
        )

    async def pika(self):
        connection = await aio_pika.connect(self.rabbitmq.uri)
        return connection, await connection.channel()

    async def pika_publish(self, subject) -> int:
        connection, channel = subject
        todo = iter(range(self.count))
        exchange = channel.default_exchange

        async def publisher() -> None:
            for _ in todo:
                message = aio_pika.Message(
                    BODY,
                    headers=dict(HEADERS),
                    content_type=HEADERS["content-type"],
                    correlation_id=HEADERS["correlation-id"],
                    delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                )
                await exchange.publish(message, QUEUE)

        await asyncio.gather(*(publisher() for _ in range(TASKS)))
        await connection.close()
        return self.count

    async def pika_consume(self, subject) -> int:
        connection, channel = subject
        await channel.set_qos(1000)
        queue = await channel.get_queue(QUEUE)
        seen, done = 0, asyncio.Event()

        async def on_message(message) -> None:
            nonlocal seen
            await message.ack()
            seen += 1
            if seen == self.count:
                done.set()

        await queue.consume(on_message)
        await done.wait()
        await connection.close()
        return seen

    async def target(self):
        tally = Tally()
        target = Amqp091Target(
            TargetSpec(
                identity=Identity(connection_id="bench"),
                connection=self._connection,
                options=Amqp091Options(),
                receipts=tally,
            )
        )
        await target.open()
        made = [Delivery(0, "", f"amq.default/{QUEUE}", HEADERS, BODY) for _ in range(self.count)]
        return target, tally, made

    async def publish(self, subject) -> int:
        target, tally, made = subject
        at = 0
        while tally.count < len(made):
            room = min(target.capacity - (at - tally.count), 200, len(made) - at)
            if room > 0:
                target.write(made[at : at + room])
                at += room
            await asyncio.sleep(0 if room > 0 else 0.001)
        await target.close()
        return self.count

    async def source(self):
        source = Amqp091Source(
            SourceSpec(
                identity=Identity(connection_id="bench"),
                connection=self._connection,
                options=Amqp091Options(),
                source=self._connection.sources[0],
            )
        )
        await source.open()
        return source

    async def consume(self, source: Amqp091Source) -> int:
        seen = 0
        while seen < self.count:
            batch = await source.read()
            source.settle(batch.origin, batch.tokens, Verdict.ACCEPT, {})
            seen += len(batch.tokens)
        await source.close()
        return seen


async def main() -> None:
    given = arguments(messages=20_000)
    with RabbitMQ() as rabbitmq:
        rabbitmq.declare_queue(QUEUE)
        bench = Bench(rabbitmq, given.messages)
        cases = [
            Case("aio-pika publish + confirm", bench.pika, bench.pika_publish),
            Case("aio-pika consume + ack", bench.pika, bench.pika_consume),
            Case("our target", bench.target, bench.publish),
            Case("our source", bench.source, bench.consume),
        ]
        await measure("rabbitmq", cases, given.rounds)


if __name__ == "__main__":
    uvloop.run(main())
