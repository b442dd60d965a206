"""Sources and targets of one topic, for the Kafka tests: made, used, and closed at the end."""

from __future__ import annotations

import asyncio
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from streamproc.config.connection import Connection, Source, Target
from streamproc.connectors.base import Batch, Identity, SourceSpec, TargetSpec, Verdict
from streamproc.connectors.kafka.config import KafkaOptions
from streamproc.connectors.kafka.source import KafkaSource
from streamproc.connectors.kafka.target import KafkaTarget
from streamproc.kernels.delivery import Delivery
from tests.brokers.kafka_client import quiet
from tests.integration.receipts import DEADLINE_S, Receipts, until


class Bed:
    """Sources and targets of one topic; all are closed at the end."""

    def __init__(self, kafka, topic: str, bootstrap: str = "", **link: Any) -> None:
        """``link``: fields of all its connections, as ``ca``."""
        self.kafka = kafka
        self.link = link
        self.topic = topic
        self.bootstrap = bootstrap or kafka.bootstrap
        self._open: list[KafkaSource | KafkaTarget] = []

    def connection(self, uri: str = "", address: str = "", **more: Any) -> Connection:
        return Connection(
            id=f"of-{self.topic}",
            connection_type="kafka",
            uri=uri or self.link.get("uri") or f"tcp://{self.bootstrap}",
            sources=[Source(addresses=[self.topic], authorization_context=["s"])],
            targets=[Target(address=address or self.topic, topics=[], authorization_context=["s"])],
            **{name: value for name, value in (self.link | more).items() if name != "uri"},
        )

    def options(self, **more) -> KafkaOptions:
        given = {"bootstrap_servers": self.bootstrap, "consumer_offset_reset": "earliest"}
        return KafkaOptions(**(given | more))

    def make_source(
        self, *, qos=1, addresses=None, uri="", options=None, index=0, **spec
    ) -> KafkaSource:
        connection = self.connection(uri)
        made = KafkaSource(
            SourceSpec(
                identity=Identity(connection_id=connection.id),
                connection=connection,
                options=self.options(**(options or {})),
                source=Source(
                    addresses=addresses or [self.topic], authorization_context=["s"], qos=qos
                ),
                consumer_index=index,
                **spec,
            )
        )
        self._open.append(made)
        return made

    async def source(self, **more) -> KafkaSource:
        made = self.make_source(**more)
        await made.open()
        return made

    def make_target(self, receipts: Receipts, *, address="", uri="", options=None) -> KafkaTarget:
        connection = self.connection(uri, address)
        made = KafkaTarget(
            TargetSpec(
                identity=Identity(connection_id=connection.id),
                connection=connection,
                options=self.options(**(options or {})),
                receipts=receipts,
            )
        )
        self._open.append(made)
        return made

    async def target(self, receipts: Receipts, **more) -> KafkaTarget:
        made = self.make_target(receipts, **more)
        await made.open()
        return made

    async def publish(self, *values: bytes, key: bytes = b"k", headers=()) -> None:
        messages = [(key, value, list(headers)) for value in values]
        await asyncio.to_thread(self.kafka.produce, self.topic, messages)

    async def committed(self) -> dict[int, int]:
        group = f"of-{self.topic}"
        return await asyncio.to_thread(self.kafka.committed, group, self.topic)

    async def metadata(self) -> dict[int, str]:
        """What the last commit of each partition says beside its offset."""

        def ask() -> dict[int, str]:
            consumer = Consumer(quiet(self.bootstrap, group_id=f"of-{self.topic}"))
            asked = [TopicPartition(self.topic, n) for n in self.kafka.partitions(self.topic)]
            try:
                found = consumer.committed(asked, timeout=DEADLINE_S)
            finally:
                consumer.close()
            return {place.partition: place.metadata or "" for place in found}

        return await asyncio.to_thread(ask)

    async def close(self) -> None:
        await asyncio.gather(*(one.close() for one in self._open))


async def assigned(source: KafkaSource) -> None:
    """Wait until *source* has a partition."""
    await until(lambda: source._intake._partitions)


async def read(source: KafkaSource, count: int) -> list[Batch]:
    batches: list[Batch] = []
    async with asyncio.timeout(DEADLINE_S):
        while sum(len(batch.tokens) for batch in batches) < count:
            batches.append(await source.read())
    return batches


def payloads(batches: list[Batch]) -> list[bytes]:
    return [payload for batch in batches for payload in batch.payloads]


def settle(source: KafkaSource, batches: list[Batch], verdict=Verdict.ACCEPT) -> None:
    for batch in batches:
        source.settle(batch.origin, batch.tokens, verdict, {})


def numbers(count: int, start: int = 0) -> list[bytes]:
    return [b"%d" % n for n in range(start, start + count)]


def delivery(address: str, payload: bytes = b"x", headers=None, key: str = "") -> Delivery:
    return Delivery(0, key, address, headers or {}, payload)
