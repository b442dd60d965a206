"""Kafka's own benches beside each side of our connector, on one broker and in one run.

    python -m bench.connectors.kafka_tools

``kafka-producer-perf-test`` and ``kafka-consumer-perf-test`` are the limit of what a client can
do; they come from Maven Central the first time. Their messages have 256 bytes and neither key
nor headers. Their CPU is that of the whole Java process, its start and compiling included, so
give them enough messages.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import uvloop

from bench.connectors.kafka import BODY, HEADERS, KEYS, Bench
from bench.connectors.measure import Case, measure, parser
from bench.rig.facts import facts, line
from tests.brokers import jars
from tests.brokers.kafka import Kafka

POM = Path(__file__).with_name("kafka-tools-pom.xml")
TOOLS = "org.apache.kafka.tools"
DEADLINE_S = 300


class Done(NamedTuple):
    """Of a tool: CPU of its process, wall time, and what it printed."""

    cpu_s: float
    wall_s: float
    said: str


def tool(name: str, *arguments: str) -> Done:
    """Run one of Kafka's tools. Raises CalledProcessError."""
    command = [jars.java(), "-Xmx512m", "-cp", f"{jars.jars(POM)}/*", f"{TOOLS}.{name}", *arguments]
    before, begun = os.times(), time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=DEADLINE_S)
    after = os.times()
    cpu = after.children_user + after.children_system
    cpu -= before.children_user + before.children_system
    return Done(cpu, time.monotonic() - begun, done.stdout)


def produce(kafka: Kafka, topic: str, count: int) -> tuple[float, float]:
    """(CPU us a message, messages a second as the tool says)."""
    found = tool(
        "ProducerPerformance",
        *("--topic", topic, "--num-records", str(count), "--record-size", str(len(BODY))),
        *("--throughput", "-1", "--producer-props", f"bootstrap.servers={kafka.bootstrap}"),
        *("acks=all", "linger.ms=1"),
    )
    rates = re.findall(r"([\d.]+) records/sec", found.said)
    return found.cpu_s / count * 1e6, float(rates[-1])


def consume(kafka: Kafka, topic: str, count: int) -> tuple[float, float]:
    """(CPU us a message, messages a second of the time in which it fetched)."""
    found = tool(
        "ConsumerPerformance",
        *("--bootstrap-server", kafka.bootstrap, "--topic", topic),
        *("--messages", str(count), "--timeout", "60000", "--hide-header"),
    )
    # start, end, MB, MB/s, messages, messages/s, rebalance ms, fetch ms, MB/s, messages/s
    figures = found.said.strip().splitlines()[-1].split(",")
    return found.cpu_s / count * 1e6, float(figures[-1])


async def main() -> None:
    made = parser(messages=200_000)
    made.add_argument("--tool-messages", type=int, default=1_000_000)
    given = made.parse_args()
    if not jars.jars(POM).is_dir():
        print("fetching Kafka's tools", flush=True)
        jars.fetch(POM)
    print(line(facts()), flush=True)
    with Kafka() as kafka:
        for topic in ("filled", "written", "tool"):
            kafka.create_topic(topic, 4)
        bench = Bench(kafka, given.messages)
        fields = [(name, value.encode()) for name, value in HEADERS.items()]
        kafka.produce(
            "filled", ((b"k%d" % (n % KEYS), BODY, fields) for n in range(given.messages))
        )
        for name, work in (("producer-perf-test", produce), ("consumer-perf-test", consume)):
            cpu_us, rate = await asyncio.to_thread(work, kafka, "tool", given.tool_messages)
            print(f"  {name:28} {cpu_us:8.2f} us/message {rate:10.0f} messages/s", flush=True)
        cases = [
            Case("plain consumer", bench.plain_consumer, bench.plain_consume),
            Case("our source", bench.source, bench.consume),
            Case("plain producer", bench.plain_producer, bench.plain_produce),
            Case("our target", bench.target, bench.produce),
        ]
        await measure("each side alone", cases, given.rounds)
    print("load average", " ".join(f"{load:.2f}" for load in os.getloadavg()))


if __name__ == "__main__":
    uvloop.run(main())
