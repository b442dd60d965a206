"""A device that speaks at a steady rate, and an ear in a process of its own.

    python -m bench.latency.ends BOOTSTRAP TOPIC

listens from the end of the topic on, says ``listening``, and when its input ends writes the
ages of all messages it has heard, in microseconds, as JSON. Both ends read one clock.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from typing import Self

from confluent_kafka import Consumer, Producer, TopicPartition

from bench.e2e.load import NAMESPACE
from tests.brokers.kafka_client import quiet

AT = re.compile(rb'"at":(\d+)')
THINGS = 200
TICK_S = 0.001  # messages that are due are sent together this often
PAD = "x" * 60


def message(number: int) -> tuple[bytes, bytes]:
    """(device, payload): an everyday modify command that says when it was sent."""
    thing = f"thing-{number % THINGS}"
    body = (
        f'{{"topic":"{NAMESPACE}/{thing}/things/twin/commands/modify","headers":'
        f'{{"correlation-id":"m-{number}"}},"path":"/attributes/reading","value":'
        f'{{"level":50,"at":{time.monotonic_ns()},"pad":"{PAD}"}}}}'
    )
    return f"{NAMESPACE}:{thing}".encode(), body.encode()


def speak(bootstrap: str, topic: str, rate: float, seconds: float) -> int:
    """Send at *rate* for *seconds*. -> how many, all acknowledged."""
    producer = Producer(quiet(bootstrap, linger_ms=0, acks="all"))
    producer.list_topics(topic, timeout=60)
    begun, sent = time.monotonic(), 0
    while (now := time.monotonic()) < begun + seconds:
        due = int((now - begun) * rate) + 1
        while sent < due:
            device, body = message(sent)
            producer.produce(topic, body, device, headers=[("device_id", device)])
            sent += 1
        producer.poll(0)
        time.sleep(max(TICK_S, begun + sent / rate - time.monotonic()))
    if producer.flush(60):
        raise TimeoutError("not all messages were taken")
    return sent


class Ear:
    """Listens to *topic* from now on, until ``ages_us``."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        command = [sys.executable, "-m", "bench.latency.ends", bootstrap, topic]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "listening\n":
            raise OSError("the ear does not listen")

    def ages_us(self, count: int) -> list[float]:
        """Of all messages heard; waits for *count* of them, and raises if they do not come."""
        heard, _ = self._process.communicate(f"{count}\n", timeout=120)
        ages: list[float] = json.loads(heard)
        if len(ages) < count:
            raise TimeoutError(f"heard {len(ages)} of {count} messages")
        return ages

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


LATE_S = 20.0  # without a message: no more will come


def main(bootstrap: str, topic: str) -> None:
    """Be the ear."""
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
    wanted: list[int] = []
    threading.Thread(
        target=lambda: wanted.append(int(sys.stdin.readline() or 0)), daemon=True
    ).start()
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    ages: list[float] = []
    last = time.monotonic()
    while not wanted or (len(ages) < wanted[0] and time.monotonic() - last < LATE_S):
        batch = consumer.consume(1, 0.05)  # comes back with the first one
        now = time.monotonic_ns()
        for heard in batch + consumer.consume(499, 0) if batch else ():
            found = AT.search(heard.value() or b"")
            if heard.error() is None and found is not None:
                ages.append((now - int(found[1])) / 1000)
                last = time.monotonic()
    sys.stdout.write(json.dumps(ages))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
