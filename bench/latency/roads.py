"""The roads: a broker, the service from it to itself, and a way through the broker alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from bench.e2e.__main__ import BENCH_BROKER, BENCH_JVM
from bench.e2e.setup import OUT_TOPIC, SOURCE, TARGET, TOPIC, config, policies, source, target
from bench.latency.ends import DEVICES, Device, Ear
from tests.brokers.kafka import Kafka
from tests.brokers.rabbitmq import RabbitMQ

DIRECT, OUT = "direct", f"{OUT_TOPIC}-0"
PARTITIONS = 4


@dataclass
class Road:
    """``ways``: where a device sends to, and an ear listens."""

    kind: str
    address: str
    config: dict[str, Any]
    ways: ClassVar = {"broker": (DIRECT, DIRECT), "service": (TOPIC, OUT)}

    def device(self) -> Device:
        return DEVICES[self.kind](self.address)

    @contextmanager
    def ears(self) -> Iterator[dict[str, Ear]]:
        with ExitStack() as held:
            yield {
                way: held.enter_context(Ear(self.kind, self.address, out))
                for way, (_, out) in self.ways.items()
            }


@contextmanager
def kafka() -> Iterator[Road]:
    with Kafka(BENCH_BROKER, jvm=BENCH_JVM) as broker:
        for topic in (TOPIC, OUT, DIRECT):
            broker.create_topic(topic, PARTITIONS)
        settings = config(
            target="kafka",
            workers=1,
            source_clients=1,
            target_clients=1,
            parallelism=64,
            kafka=broker.bootstrap,
        )
        yield Road("kafka", broker.bootstrap, settings)


@contextmanager
def rabbitmq() -> Iterator[Road]:
    """Durable classic queues, persistent messages, as everybody begins."""
    with RabbitMQ() as broker:
        for queue in (TOPIC, OUT, DIRECT):
            broker.declare_queue(queue)
        broker.declare_exchange(OUT, "topic")
        broker.bind(OUT, OUT, "#")
        common = {"connectionType": "amqp-091", "uri": broker.uri}
        settings = {
            "workers": 1,
            **policies(),
            "connections": [
                {**common, "id": SOURCE, "sources": [source(TOPIC)]},
                {**common, "id": TARGET, "targets": [target(OUT + "/{{ thing:name }}")]},
            ],
        }
        yield Road("rabbitmq", str(broker.port), settings)


ROADS = {"kafka": kafka, "rabbitmq": rabbitmq}
