"""The roads of the fault matrix: Kafka, RabbitMQ and HTTP, each behind a proxy that breaks."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from confluent_kafka import Producer

from tests.brokers.broker import Broker
from tests.brokers.kafka import Kafka
from tests.brokers.kafka_client import quiet
from tests.brokers.rabbitmq import RabbitMQ
from tests.e2e import ends
from tests.e2e.play import FILTER, Arrivals, Said
from tests.e2e.ways import names
from tests.faults.proxy import Proxy

PARTITIONS = 4
PATIENCE_S = 120.0


class Ends:
    """The brokers, and the proxies that the service under test meets them through."""

    def __init__(self, kafka: Kafka, rabbitmq: RabbitMQ, proxies: dict[str, Proxy]) -> None:
        self.kafka = kafka
        self.rabbitmq = rabbitmq
        self.proxies = proxies


@contextmanager
def brokers() -> Iterator[Ends]:
    """One of each, for all scenarios: they leave them as they found them."""
    with (
        Proxy() as to_kafka,
        Proxy() as to_rabbitmq,
        Proxy() as to_http,
        Kafka(proxied=to_kafka.port) as kafka,
        RabbitMQ() as rabbitmq,
    ):
        to_kafka.target = kafka.proxied_port
        to_rabbitmq.target = rabbitmq.port
        proxies = {"kafka": to_kafka, "rabbitmq": to_rabbitmq, "http": to_http}
        yield Ends(kafka, rabbitmq, proxies)


class Road:
    """From *source* to *target*, each "kafka", "rabbitmq" or "http" (a target only)."""

    def __init__(self, brokers: Ends, source: str, target: str) -> None:
        self.ends = brokers
        self.name = f"faults-{uuid.uuid4().hex[:10]}"
        self.kinds = {"source": source, "target": target}
        self.source_id, self.target_id = names()
        self.receiver: ends.Receiver | None = None
        self.arrivals = Arrivals()
        self._producer: Producer | None = None

    def __enter__(self) -> Road:
        kafka, rabbitmq = self.ends.kafka, self.ends.rabbitmq
        if self.kinds["source"] == "kafka":
            kafka.create_topic(self.name, PARTITIONS)
        else:
            rabbitmq.declare_queue(self.name)
        match self.kinds["target"]:
            case "kafka":
                kafka.create_topic(self.out, PARTITIONS)
            case "rabbitmq":
                self.declare_out()
            case _:
                self.receiver = ends.Receiver()
                self.ends.proxies["http"].target = int(self.receiver.url.rpartition(":")[2])
        return self

    def __exit__(self, *_: object) -> None:
        if self.receiver is not None:
            self.receiver.__exit__()
        for side, name in (("source", self.name), ("target", self.out)):
            match self.kinds[side]:
                case "kafka":
                    self.ends.kafka.delete_topic(name)
                case "rabbitmq":
                    self.ends.rabbitmq.delete_queue(name)

    @property
    def out(self) -> str:
        """The topic or queue that it ends in."""
        return f"{self.name}-out"

    def declare_out(self) -> None:
        """The queue at the end, and the exchange before it."""
        rabbitmq = self.ends.rabbitmq
        rabbitmq.declare_queue(self.out)
        rabbitmq.declare_exchange(self.out, "topic")
        rabbitmq.bind(self.out, self.out, "#")

    def proxy(self, side: str) -> Proxy:
        return self.ends.proxies[self.kinds[side]]

    def broker(self, side: str) -> Broker:
        return self.ends.kafka if self.kinds[side] == "kafka" else self.ends.rabbitmq

    def connections(self) -> list[dict[str, Any]]:
        match self.kinds["target"]:
            case "kafka":
                target = ends.target(self.out + "/{{ thing:id }}", FILTER)
            case "rabbitmq":
                target = ends.target(self.out + "/{{ thing:name }}", FILTER)
            case _:
                target = ends.target("POST:/faults/{{ thing:id }}", FILTER)
        return [
            {**self._connection("source", self.source_id), "sources": [ends.source(self.name)]},
            {**self._connection("target", self.target_id), "targets": [target]},
        ]

    def publish(self, said: Sequence[Said]) -> None:
        """Bring it to the source's broker, past the proxy."""
        if self.kinds["source"] == "kafka":
            self._produce(said)
        else:
            self.ends.rabbitmq.publish(self.name, ((s.body, {"device_id": s.device}) for s in said))

    def _produce(self, said: Sequence[Said]) -> None:
        """With one producer for all: each takes half a second to begin."""
        failed: list[str] = []
        if self._producer is None:
            self._producer = self.ends.kafka.producer()
        for message in said:
            device = message.device.encode()
            self._producer.produce(
                self.name,
                message.body,
                device,
                headers=[("device_id", device)],
                on_delivery=lambda error, _: failed.append(str(error)) if error else None,
            )
        if left := self._producer.flush(PATIENCE_S):
            raise OSError(f"{left} not sent")
        if failed:
            raise OSError(failed[0])

    def collect(self) -> dict[str, int]:
        """What has come out so far."""
        match self.kinds["target"]:
            case "kafka":
                self.arrivals = ends.arrived_in_kafka(self.ends.kafka, self.out)
            case "rabbitmq":
                ends.take_from_rabbitmq(self.ends.rabbitmq, self.out, self.arrivals)
            case _:
                assert self.receiver is not None
                return self.receiver.figures()
        return self.arrivals.figures()

    def _connection(self, side: str, name: str) -> dict[str, Any]:
        port = self.proxy(side).port
        common = {"id": name, "connectionStatus": "open"}
        match self.kinds[side]:
            case "kafka":
                server = f"127.0.0.1:{port}"
                options = {
                    "bootstrapServers": server,
                    "consumerOffsetReset": "earliest",
                    "groupId": self.name,
                    "groupInstanceId": f"{self.name}-member",
                }
                uri = f"tcp://{server}"
                return common | {"connectionType": "kafka", "uri": uri, "specificConfig": options}
            case "rabbitmq":
                uri = f"amqp://guest:guest@127.0.0.1:{port}/"
                return common | {"connectionType": "amqp-091", "uri": uri}
            case _:
                options = {"parallelism": "64"}
                uri = f"http://127.0.0.1:{port}"
                return common | {
                    "connectionType": "http-push",
                    "uri": uri,
                    "specificConfig": options,
                }

    def member_settings(self, **more: Any) -> dict[str, Any]:
        """For a consumer that joins the source's group, past the proxy."""
        return quiet(
            self.ends.kafka.bootstrap,
            group_id=self.name,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            partition_assignment_strategy="cooperative-sticky",
            session_timeout_ms=6000,
            **more,
        )
