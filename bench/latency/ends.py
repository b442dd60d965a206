"""Devices that speak at a steady rate, and an ear in a process of its own.

    python -m bench.latency.ends KIND ADDRESS PLACE

listens from now on, says ``listening``, and when it has heard as many messages as its input
then asks for writes when each was sent and heard, in nanoseconds. Both ends read one clock.
"""

from __future__ import annotations

import json
import re
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Protocol, Self

from confluent_kafka import Consumer, Producer, TopicPartition

from bench.e2e.load import NAMESPACE
from bench.latency.amqp import Link, publication
from tests.brokers.kafka_client import quiet

AT = re.compile(rb'"at":(\d+),')
THINGS = 200
TICK_S = 0.001  # messages that are due are sent together this often
PAD = "x" * 60
LATE_S = 20.0  # without a message: no more will come
LOOK_S = 0.05  # at whether all are heard

Heard = tuple[int, int]  # sent, heard: nanoseconds of the monotonic clock


class Device(Protocol):
    """Sends to any place of one broker."""

    def send(self, place: str, thing: str, body: bytes) -> None:
        """Without waiting."""

    def turn(self) -> None:
        """Whatever must be done now and then."""

    def flush(self) -> None:
        """The broker has all."""


class KafkaDevice:
    """A producer that waits for nothing."""

    def __init__(self, bootstrap: str) -> None:
        self._producer = Producer(quiet(bootstrap, linger_ms=0, acks="all"))

    def send(self, place: str, thing: str, body: bytes) -> None:
        device = thing.encode()
        self._producer.produce(place, body, device, headers=[("device_id", device)])

    def turn(self) -> None:
        self._producer.poll(0)

    def flush(self) -> None:
        if self._producer.flush(60):
            raise TimeoutError("not all messages were taken")


class RabbitMQDevice:
    """Publishes to queues; the kernel holds what the broker does not take yet."""

    def __init__(self, port: str) -> None:
        self._link = Link(int(port))

    def send(self, place: str, thing: str, body: bytes) -> None:
        self._link.socket.sendall(publication(place, {"device_id": thing}, body))

    def turn(self) -> None:
        pass

    def flush(self) -> None:
        pass


DEVICES: dict[str, type[KafkaDevice] | type[RabbitMQDevice]] = {
    "kafka": KafkaDevice,
    "rabbitmq": RabbitMQDevice,
}


def speak(device: Device, places: Sequence[str], rate: float, seconds: float) -> int:
    """Send to each of *places*, at *rate* each, for *seconds*. -> how many to each."""
    begun, sent = time.monotonic(), 0
    while (now := time.monotonic()) < begun + seconds:
        due = int((now - begun) * rate) + 1
        while sent < due:
            for place in places:
                device.send(place, f"{NAMESPACE}:thing-{sent % THINGS}", message(sent))
            sent += 1
        device.turn()
        time.sleep(max(TICK_S, begun + sent / rate - time.monotonic()))
    device.flush()
    return sent


def shout(device: Device, place: str, count: int) -> None:
    """Send *count* as fast as the broker takes them."""
    for number in range(count):
        device.send(place, f"{NAMESPACE}:thing-{number % THINGS}", message(number))
        if number % THINGS == 0:
            device.turn()
    device.flush()


def message(number: int) -> bytes:
    """An everyday modify command that says when it was sent."""
    return (
        f'{{"topic":"{NAMESPACE}/thing-{number % THINGS}/things/twin/commands/modify","headers":'
        f'{{"correlation-id":"m-{number}"}},"path":"/attributes/reading","value":'
        f'{{"level":50,"at":{time.monotonic_ns()},"pad":"{PAD}"}}}}'
    ).encode()


class Ear:
    """Listens to *place* from now on, until ``heard``. A context manager."""

    def __init__(self, kind: str, address: str, place: str) -> None:
        command = [sys.executable, "-m", "bench.latency.ends", kind, address, place]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "listening\n":
            raise OSError("the ear does not listen")

    def heard(self, count: int) -> list[Heard]:
        """All messages; waits for *count* of them, and raises if they do not come."""
        said, _ = self._process.communicate(f"{count}\n", timeout=180)
        found: list[Heard] = [(sent, heard) for sent, heard in json.loads(said)]
        if len(found) < count:
            raise TimeoutError(f"heard {len(found)} of {count} messages")
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


def _of_kafka(bootstrap: str, topic: str) -> Iterator[list[Heard]]:
    consumer = Consumer(
        quiet(bootstrap, group_id="ear", enable_auto_commit=False, fetch_wait_max_ms=100)
    )
    partitions = consumer.list_topics(topic, timeout=60).topics[topic].partitions
    ends = [
        TopicPartition(topic, n, consumer.get_watermark_offsets(TopicPartition(topic, n), 60)[1])
        for n in partitions
    ]
    consumer.assign(ends)
    consumer.poll(1.0)  # takes the assignment up
    yield []
    while True:
        batch = consumer.consume(1, LOOK_S)  # comes back with the first one
        now = time.monotonic_ns()
        if batch:
            batch += consumer.consume(499, 0)
        values = (one.value() or b"" for one in batch if one.error() is None)
        yield [(int(found[1]), now) for value in values if (found := AT.search(value))]


def _of_rabbitmq(port: str, queue: str) -> Iterator[list[Heard]]:
    """Looks for times in whatever comes: frames need not be understood for that."""
    with Link(int(port)) as link:
        link.consume(queue)
        yield []
        rest = b""
        while True:
            data = b""
            if select.select((link.socket,), (), (), LOOK_S)[0]:
                data = link.socket.recv(1 << 18)
                if not data:
                    raise OSError("the broker closed the connection")
            now = time.monotonic_ns()
            rest += data
            heard, end = [], 0
            for found in AT.finditer(rest):
                heard.append((int(found[1]), now))
                end = found.end()
            rest = rest[max(end, len(rest) - 64) :]
            yield heard


EARS = {"kafka": _of_kafka, "rabbitmq": _of_rabbitmq}


def main(kind: str, address: str, place: str) -> None:
    """Be the ear."""
    batches = EARS[kind](address, place)
    next(batches)
    wanted: list[int] = []
    threading.Thread(
        target=lambda: wanted.append(int(sys.stdin.readline() or 0)), daemon=True
    ).start()
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    heard: list[Heard] = []
    last = time.monotonic()
    for batch in batches:
        heard += batch
        if batch:
            last = time.monotonic()
        if wanted and (len(heard) >= wanted[0] or time.monotonic() - last > LATE_S):
            break
    sys.stdout.write(json.dumps(heard))


if __name__ == "__main__":
    main(*sys.argv[1:])
