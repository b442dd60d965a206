"""The two ends of an end-to-end test: where messages are put in, and where they come out."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from typing import Any, Self

import aiohttp
import aiormq
from confluent_kafka import Consumer, TopicPartition

from tests.brokers.kafka_client import KafkaClient, quiet
from tests.brokers.rabbitmq_client import RabbitMQClient, blocking
from tests.e2e.play import NAMESPACE, Arrivals, Play

PUBLISHERS = 16


def policies() -> dict[str, Any]:
    """What the test's connections may do, and nothing else."""
    return {
        "policies": {
            "e2e": {
                "entries": {
                    "devices": {
                        "subjects": {"e2e:devices": {"type": "test"}},
                        "resources": {"thing:/": {"grant": ["WRITE"], "revoke": []}},
                    },
                    "targets": {
                        "subjects": {"e2e:targets": {"type": "test"}},
                        "resources": {"thing:/": {"grant": ["READ"], "revoke": []}},
                    },
                }
            }
        },
        "namespaces": [{"namespace": NAMESPACE, "policy": "e2e"}],
    }


def source(address: str, **more: Any) -> dict[str, Any]:
    return {
        "addresses": [address],
        "authorizationContext": ["e2e:devices"],
        "enforcement": {"input": "{{ header:device_id }}", "filters": ["{{ thing:id }}"]},
        "headerMapping": {"x-device": "{{ header:device_id }}"},
        **more,
    }


def target(address: str, filter_: str) -> dict[str, Any]:
    return {
        "address": address,
        "topics": [f"_/_/things/twin/events?namespaces={NAMESPACE}&filter={filter_}"],
        "authorizationContext": ["e2e:targets"],
        "headerMapping": {"device_id": "{{ thing:id }}", "x-device": "{{ header:x-device }}"},
    }


def generator(devices: int, count: int, **options: Any) -> dict[str, Any]:
    """A connection whose *devices* say *count* messages in all."""
    return {
        "id": "devices",
        "connectionType": "generator",
        "connectionStatus": "open",
        "specificConfig": {"namespace": NAMESPACE, "devices": devices, "count": count, **options},
        "sources": [{"addresses": ["devices"], "authorizationContext": ["e2e:devices"]}],
    }


def push(
    name: str, url: str, *, address: str = "POST:/x/{{ thing:id }}", **options: Any
) -> dict[str, Any]:
    """A connection that sends every event to *url*. *options*: of its ``specificConfig``."""
    return {
        "id": name,
        "connectionType": "http-push",
        "connectionStatus": "open",
        "uri": url,
        "specificConfig": {"parallelism": 8, **options},
        "targets": [
            {
                "address": address,
                "topics": [f"_/_/things/twin/events?namespaces={NAMESPACE}"],
                "authorizationContext": ["e2e:targets"],
            }
        ],
    }


class Receiver:
    """The bundled HTTP receiver as a process."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "streamproc.receiver", "--until-eof"]
        command += ["--forbidden", "/value/unwanted"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().split()[-1]

    def figures(self) -> dict[str, int]:
        with urllib.request.urlopen(self.url + "/ledger", timeout=20) as answer:
            found: dict[str, int] = json.loads(answer.read())
        return found

    def behave(self, **behaviour: Any) -> None:
        request = urllib.request.Request(
            self.url + "/behaviour", json.dumps(behaviour).encode(), method="POST"
        )
        urllib.request.urlopen(request, timeout=20).close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


def publish_to_kafka(kafka: KafkaClient, topic: str, play: Play) -> None:
    kafka.produce(
        topic,
        (
            (said.device.encode(), said.body, [("device_id", said.device.encode())])
            for said in play.said
        ),
    )


def publish_to_rabbitmq(rabbitmq: RabbitMQClient, queue: str, play: Play) -> None:
    rabbitmq.publish(queue, ((said.body, {"device_id": said.device}) for said in play.said))


def publish_to_http(url: str, play: Play, progress: Callable[[int], None] | None = None) -> None:
    """As devices do: one request of a device at a time, and again until it is taken."""

    async def post(session: aiohttp.ClientSession, share: int) -> None:
        for said in play.said:
            if hash_of(said.device) % PUBLISHERS != share:
                continue
            while True:
                try:
                    async with session.post(
                        url, data=said.body, headers={"device_id": said.device}
                    ) as answer:
                        if answer.status < 300 or 400 <= answer.status < 500:
                            break
                except (aiohttp.ClientError, OSError):
                    pass
                await asyncio.sleep(0.05)

    async def all_devices() -> None:
        connector = aiohttp.TCPConnector(limit=PUBLISHERS)
        timeout = aiohttp.ClientTimeout(total=90)
        session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        async with session, asyncio.TaskGroup() as group:
            for share in range(PUBLISHERS):
                group.create_task(post(session, share))

    blocking(all_devices(), 600)


def hash_of(text: str) -> int:
    """Stable over processes."""
    return sum(text.encode())


def arrived_in_kafka(kafka: KafkaClient, topic: str) -> Arrivals:
    """Everything in *topic*."""
    ends = kafka.end_offsets(topic)
    arrivals = Arrivals()
    left = sum(ends.values())
    consumer = Consumer(quiet(kafka.bootstrap, group_id="collector", enable_auto_commit=False))
    consumer.assign([TopicPartition(topic, partition, 0) for partition in ends])
    try:
        while left > 0:
            for message in consumer.consume(min(1000, left), timeout=30):
                assert message.error() is None
                arrivals.note(message.value() or b"")
                left -= 1
    finally:
        consumer.close()
    return arrivals


def take_from_rabbitmq(rabbitmq: RabbitMQClient, queue: str, arrivals: Arrivals) -> Arrivals:
    """Take what is in *queue* now, and note it beside what was there before. What comes
    meanwhile stays there: it is not acknowledged.
    """

    async def take() -> None:
        connection = await aiormq.connect(rabbitmq.uri)
        channel = await connection.channel()
        declared = await channel.queue_declare(queue, passive=True)
        left = declared.message_count or 0
        done = asyncio.Event()
        last = 0
        if left == 0:
            done.set()

        async def note(message: Any) -> None:
            nonlocal left, last
            if left > 0:
                arrivals.note(message.body)
                last = message.delivery_tag
                left -= 1
                if left == 0:
                    done.set()

        await channel.basic_consume(queue, note)
        await done.wait()
        if last:
            await channel.basic_ack(last, multiple=True)
        await connection.close()

    blocking(take(), 300)
    return arrivals
