"""Each side of the Kafka connector alone, beside plain confluent-kafka on the same broker.

    python -m bench.connectors.kafka

Messages have 256 bytes, a key and four headers. The plain consumer reads all of a message and
stores offsets by batch; the plain producer has a callback for each message.
"""

from __future__ import annotations

import asyncio
import itertools

import uvloop
from confluent_kafka import Consumer, Producer, TopicPartition

from bench.connectors.measure import Case, arguments, measure
from streamproc.config.connection import Connection, Source, Target
from streamproc.connectors.base import Identity, SourceSpec, TargetSpec, Verdict
from streamproc.connectors.kafka import settings
from streamproc.connectors.kafka.config import KafkaOptions
from streamproc.connectors.kafka.source import KafkaSource
from streamproc.connectors.kafka.target import KafkaTarget
from streamproc.kernels.delivery import Delivery
from tests.brokers.kafka import Kafka

BODY = b"x" * 256
HEADERS = {
    "content-type": "application/vnd.eclipse.ditto+json",
    "correlation-id": "8a1d2d0e-6b0e-4a6c-9a6f-1f6c1d7f3b11",
    "device_id": "org.acme:device-1",
    "tenant": "acme",
}
KEYS = 1000


class Tally:
    count = 0

    def delivered(self, deliveries):
        self.count += len(deliveries)

    def failed(self, deliveries, error):
        raise error

    def lost(self, error):
        raise error


class Bench:
    def __init__(self, kafka: Kafka, count: int) -> None:
        self.kafka = kafka
        self.count = count
        self._groups = itertools.count()
        self._filled = Connection(
            id="filled",
            connection_type="kafka",
            uri=f"tcp://{kafka.bootstrap}",
            sources=[Source(addresses=["filled"], qos=1)],
            targets=[Target(address="{{ a }}", topics=[])],
        )

    def spec(self) -> SourceSpec:
        return SourceSpec(
            identity=Identity(connection_id="filled"),
            connection=self._filled,
            options=KafkaOptions(
                bootstrap_servers=self.kafka.bootstrap,
                consumer_offset_reset="earliest",
                group_id=f"bench-{next(self._groups)}",
            ),
            source=self._filled.sources[0],
        )

    def target_spec(self, tally: Tally) -> TargetSpec:
        return TargetSpec(
            identity=Identity(connection_id="filled"),
            connection=self._filled,
            options=KafkaOptions(bootstrap_servers=self.kafka.bootstrap),
            receipts=tally,
        )

    # Consuming: measured from the first message on, as joining a group takes seconds.

    async def plain_consumer(self):
        consumer = Consumer(settings.consumer(self.spec()) | {"enable.auto.commit": True})
        consumer.subscribe(["filled"])
        return consumer, await asyncio.to_thread(consumer.consume, 1, 30)

    async def plain_consume(self, subject) -> int:
        consumer, _ = subject
        return await asyncio.to_thread(self._plain_consume, consumer)

    def _plain_consume(self, consumer: Consumer) -> int:
        seen = 1
        while seen < self.count:
            messages = consumer.consume(1, 0.2) + consumer.consume(499, 0)
            ends = {}
            for message in messages:
                message.error(), message.value(), message.key(), message.timestamp()
                for _, value in message.headers() or ():
                    value.decode()
                ends[message.topic(), message.partition()] = message.offset() + 1
            if ends:
                places = [TopicPartition(t, p, at) for (t, p), at in ends.items()]
                consumer.store_offsets(offsets=places)
            seen += len(messages)
        consumer.close()
        return seen

    async def source(self):
        source = KafkaSource(self.spec())
        await source.open()
        return source, await source.read()

    async def consume(self, subject) -> int:
        source, batch = subject
        seen = 0
        while True:
            seen += len(batch.tokens)
            source.settle(batch.origin, batch.tokens, Verdict.ACCEPT, {})
            if seen >= self.count:
                break
            batch = await source.read()
        await source.close()
        return seen

    # Producing.

    async def plain_producer(self):
        return Producer(settings.producer(self.target_spec(Tally()), 10_000))

    async def plain_produce(self, producer: Producer) -> int:
        done = 0

        def delivered(error, _) -> None:
            nonlocal done
            assert error is None
            done += 1

        fields = list(HEADERS.items())
        for at in range(self.count):
            key = f"k{at % KEYS}"
            producer.produce("written", BODY, key, headers=fields, on_delivery=delivered)
            if not at % 500:
                producer.poll(0)
                while at - done > 10_000:
                    producer.poll(0.001)
        while done < self.count:
            producer.poll(0.01)
        return self.count

    async def target(self):
        tally = Tally()
        target = KafkaTarget(self.target_spec(tally))
        await target.open()
        made = [
            Delivery(0, f"k{at % KEYS}", f"written/k{at % KEYS}", HEADERS, BODY)
            for at in range(self.count)
        ]
        return target, tally, made

    async def produce(self, subject) -> int:
        target, tally, made = subject
        at = 0
        while tally.count < len(made):
            room = min(target.capacity - (at - tally.count), 500, len(made) - at)
            if room > 0:
                target.write(made[at : at + room])
                at += room
            await asyncio.sleep(0 if room > 0 else 0.001)
        await target.close()
        return self.count


async def main() -> None:
    given = arguments(messages=100_000)
    with Kafka() as kafka:
        for topic in ("filled", "written"):
            kafka.create_topic(topic, 4)
        bench = Bench(kafka, given.messages)
        fields = [(name, value.encode()) for name, value in HEADERS.items()]
        kafka.produce(
            "filled", ((b"k%d" % (n % KEYS), BODY, fields) for n in range(given.messages))
        )
        cases = [
            Case("plain consumer", bench.plain_consumer, bench.plain_consume),
            Case("our source", bench.source, bench.consume),
        ]
        await measure("kafka consume + settle", cases, given.rounds)
        cases = [
            Case("plain producer", bench.plain_producer, bench.plain_produce),
            Case("our target", bench.target, bench.produce),
        ]
        await measure("kafka produce + report", cases, given.rounds)


if __name__ == "__main__":
    uvloop.run(main())
