"""The ways messages take in the end-to-end tests: each a source, a target, and their ends."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamproc.master.placement import place
from tests.brokers.ports import Port
from tests.e2e import ends
from tests.e2e.play import FILTER, Arrivals, Play
from tests.e2e.service import Service

PARTITIONS = 4
WORKERS = 2


def names() -> tuple[str, str]:
    """Ids of a source and a target connection that are placed on different workers."""
    for number in range(100):
        pair = (f"in-{number}", f"out-{number}")
        placed = place({pair[0]: 1, pair[1]: 1}, {0: 1.0, 1: 1.0}, {})
        if len(set(placed.values())) == 2:
            return pair
    raise AssertionError("rendezvous hashing puts everything on one worker")


@dataclass
class Way:
    """One route through the service."""

    play: Play
    source: dict[str, Any]
    target: dict[str, Any]
    publish: Callable[[], None]  # returns when the source has all messages, or took them
    figures: Callable[[], dict[str, int]]  # of what has come out so far
    at_the_end: bool  # whether figures may only be asked once everything is there
    held: AbstractContextManager[Any] = field(default_factory=nullcontext)

    def service(self, folder: Path) -> Service:
        return Service(
            folder,
            {
                "workers": WORKERS,
                "supervision": {"firstBackoffS": 0.1},
                **ends.policies(),
                "connections": [self.source, self.target],
            },
        )


def _kafka(connection: str, kafka: Any) -> dict[str, Any]:
    return {
        "id": connection,
        "connectionType": "kafka",
        "connectionStatus": "open",
        "uri": f"tcp://{kafka.bootstrap}",
        "specificConfig": {
            "bootstrapServers": kafka.bootstrap,
            "consumerOffsetReset": "earliest",
        },
    }


def _rabbitmq(connection: str, rabbitmq: Any) -> dict[str, Any]:
    return {
        "id": connection,
        "connectionType": "amqp-091",
        "connectionStatus": "open",
        "uri": rabbitmq.uri,
    }


def _http_push(connection: str, url: str, parallelism: int) -> dict[str, Any]:
    return {
        "id": connection,
        "connectionType": "http-push",
        "connectionStatus": "open",
        "uri": url,
        "specificConfig": {"parallelism": str(parallelism)},
        "targets": [ends.target("POST:/e2e/{{ thing:id }}", FILTER)],
    }


def kafka_to_http(kafka: Any, name: str, play: Play) -> Way:
    source_id, target_id = names()
    kafka.create_topic(name, PARTITIONS)
    receiver = ends.Receiver()
    return Way(
        play,
        {**_kafka(source_id, kafka), "sources": [ends.source(name)]},
        _http_push(target_id, receiver.url, 16),
        lambda: ends.publish_to_kafka(kafka, name, play),
        receiver.figures,
        at_the_end=False,
        held=receiver,
    )


def rabbitmq_to_kafka(rabbitmq: Any, kafka: Any, name: str, play: Play) -> Way:
    source_id, target_id = names()
    rabbitmq.declare_queue(name)
    kafka.create_topic(name, PARTITIONS)
    return Way(
        play,
        {**_rabbitmq(source_id, rabbitmq), "sources": [ends.source(name)]},
        {
            **_kafka(target_id, kafka),
            "targets": [ends.target(name + "/{{ thing:id }}", FILTER)],
        },
        lambda: ends.publish_to_rabbitmq(rabbitmq, name, play),
        lambda: ends.arrived_in_kafka(kafka, name).figures(),
        at_the_end=True,
    )


def kafka_to_rabbitmq(kafka: Any, rabbitmq: Any, name: str, play: Play) -> Way:
    source_id, target_id = names()
    kafka.create_topic(name, PARTITIONS)
    rabbitmq.declare_queue(name)
    rabbitmq.declare_exchange(name, "topic")
    rabbitmq.bind(name, name, "#")
    arrivals = Arrivals()
    return Way(
        play,
        {**_kafka(source_id, kafka), "sources": [ends.source(name)]},
        {
            **_rabbitmq(target_id, rabbitmq),
            "targets": [ends.target(name + "/{{ thing:name }}", FILTER)],
        },
        lambda: ends.publish_to_kafka(kafka, name, play),
        lambda: ends.take_from_rabbitmq(rabbitmq, name, arrivals).figures(),
        at_the_end=True,
    )


def ingest_to_http(play: Play) -> Way:
    source_id, target_id = names()
    receiver = ends.Receiver()
    port = Port()
    source = {
        "id": source_id,
        "connectionType": "http-ingest",
        "connectionStatus": "open",
        "uri": f"http://127.0.0.1:{port}",
        "sources": [ends.source("/things")],
    }
    return Way(
        play,
        source,
        _http_push(target_id, receiver.url, 16),
        lambda: ends.publish_to_http(f"http://127.0.0.1:{port}/things", play),
        receiver.figures,
        at_the_end=False,
        held=receiver,
    )
