"""Each side of the AMQP 0.9.1 connector alone, beside aio-pika and aiormq on the same broker.

    python -m bench.connectors.amqp091 [--quorum] [--perf-test SECONDS]

Messages have 256 bytes and four headers, persistent, in a durable classic queue. aio-pika
publishes from 200 tasks and acknowledges each message, as its guide shows; aiormq does the
same, and acknowledges 500 messages at once. RabbitMQ's PerfTest, with one producer or one
consumer, gives the rate that its own client reaches on the same broker in the same run.
"""

from __future__ import annotations

import asyncio
import os
import statistics

import aio_pika
import aiormq
import uvloop

from bench.connectors import perf_test
from bench.connectors.measure import Case, measure, parser
from streamproc.connectors.base import Verdict
from tests.brokers.rabbitmq import RabbitMQ
from tests.integration.amqp091_bed import Bed, delivery

BODY = b"x" * 256
HEADERS = {
    "content-type": "application/vnd.eclipse.ditto+json",
    "correlation-id": "8a1d2d0e-6b0e-4a6c-9a6f-1f6c1d7f3b11",
    "device_id": "org.acme:device-1",
    "tenant": "acme",
}
PROPERTIES = {
    "headers": dict(HEADERS),
    "content_type": HEADERS["content-type"],
    "correlation_id": HEADERS["correlation-id"],
    "delivery_mode": 2,
}
QUEUE = "bench"
TASKS = 200
ACK_EVERY = 500
PREFETCH = 1000


class Tally:
    """Receipts; anything but good ones ends the run."""

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
        self.bed = Bed(rabbitmq, QUEUE)

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
        await channel.set_qos(PREFETCH)
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

    async def rmq(self):
        connection = await aiormq.connect(self.rabbitmq.uri)
        return connection, await connection.channel()

    async def rmq_publish(self, subject) -> int:
        connection, channel = subject
        todo = iter(range(self.count))
        properties = aiormq.spec.Basic.Properties(**PROPERTIES)

        async def publisher() -> None:
            for _ in todo:
                await channel.basic_publish(BODY, routing_key=QUEUE, properties=properties)

        await asyncio.gather(*(publisher() for _ in range(TASKS)))
        await connection.close()
        return self.count

    async def rmq_consume(self, subject) -> int:
        connection, channel = subject
        await channel.basic_qos(prefetch_count=PREFETCH)
        seen, done = 0, asyncio.Event()

        async def on_message(message) -> None:
            nonlocal seen
            seen += 1
            if seen % ACK_EVERY == 0 or seen == self.count:
                await channel.basic_ack(message.delivery.delivery_tag, multiple=True)
            if seen == self.count:
                done.set()

        await channel.basic_consume(QUEUE, on_message)
        await done.wait()
        await connection.close()
        return seen

    async def target(self):
        tally = Tally()
        target = await self.bed.target(tally)
        made = [delivery(self.bed.address, BODY, HEADERS) for _ in range(self.count)]
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
        return await self.bed.source(prefetch=PREFETCH)

    async def consume(self, source) -> int:
        seen = 0
        while seen < self.count:
            batch = await source.read()
            source.settle(batch.origin, batch.tokens, Verdict.ACCEPT, {})
            seen += len(batch.tokens)
        await source.close()
        return seen


async def beside(bench: Bench, seconds: int, rounds: int) -> None:
    """Rates of ours and of PerfTest, in turn; what its producer leaves is there to consume."""
    rates: dict[str, list[float]] = {}
    uri = bench.rabbitmq.uri
    for _ in range(rounds):
        theirs = await perf_test.publish(uri, QUEUE, len(BODY), HEADERS, seconds)
        rates.setdefault("PerfTest publish + confirm", []).append(theirs)
        for name, prepare, work in (
            ("our target", bench.target, bench.publish),
            ("our source", bench.source, bench.consume),
        ):
            case = Case(name, prepare, work)
            await case.run()
            rates.setdefault(name, []).append(case.samples[0].rate)
        theirs = await perf_test.consume(uri, QUEUE, seconds)
        rates.setdefault("PerfTest consume + multi-ack", []).append(theirs)
        await asyncio.to_thread(bench.rabbitmq.purge, QUEUE)
    for name, found in rates.items():
        middle = statistics.median(found)
        print(f"  {name:28} {middle:10.0f} messages/s  {[round(rate) for rate in found]}")


async def main() -> None:
    arguments = parser(messages=20_000)
    arguments.add_argument("--quorum", action="store_true", help="a quorum queue")
    arguments.add_argument(
        "--perf-test", type=int, default=0, metavar="SECONDS", help="run RabbitMQ's PerfTest too"
    )
    given = arguments.parse_args()
    with RabbitMQ() as rabbitmq:
        kind = {"x-queue-type": "quorum"} if given.quorum else {}
        rabbitmq.declare_queue(QUEUE, arguments=kind)
        bench = Bench(rabbitmq, given.messages)
        cases = [
            Case("aio-pika publish + confirm", bench.pika, bench.pika_publish),
            Case("aio-pika consume + ack", bench.pika, bench.pika_consume),
            Case("aiormq publish + confirm", bench.rmq, bench.rmq_publish),
            Case("aiormq consume + multi-ack", bench.rmq, bench.rmq_consume),
            Case("our target", bench.target, bench.publish),
            Case("our source", bench.source, bench.consume),
        ]
        print(f"load average before: {os.getloadavg()[0]:.1f}")
        await measure("rabbitmq quorum" if given.quorum else "rabbitmq", cases, given.rounds)
        if given.perf_test and perf_test.fetch():
            await beside(bench, given.perf_test, given.rounds)
        print(f"load average after: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    uvloop.run(main())
