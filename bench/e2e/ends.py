"""Where the messages come out, outside the measured process: counts while they come, and checks
every id at the end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from dataclasses import asdict, dataclass
from typing import Any, Protocol, Self

from confluent_kafka import Consumer, TopicPartition

from bench.rig.proc import usage
from tests.brokers.kafka_client import KafkaClient, quiet

READ_S = 60.0  # for one batch of the collected topic


@dataclass(frozen=True)
class Verdict:
    """What arrived, held against what should have."""

    wanted: int
    missing: int
    duplicated: int
    out_of_order: int
    forbidden: int  # refused by enforcement or filter, and yet here

    @property
    def good(self) -> bool:
        """Duplicates are allowed: delivery is at least once."""
        return not (self.missing or self.out_of_order or self.forbidden)

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


class End(Protocol):
    """The outer end of the target connection."""

    def count(self) -> int:
        """Messages that have arrived, duplicates included."""

    def verdict(self, wanted: int) -> Verdict:
        """Once nothing more will come."""

    def cpu_s(self) -> float:
        """CPU that it has used itself."""


class Receiver:
    """The bundled HTTP receiver as a process of its own."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "streamproc.receiver", "--until-eof"]
        command += ["--forbidden", "/value/unwanted"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().split()[-1]

    def behave(self, behaviour: dict[str, Any]) -> None:
        """Answer as *behaviour* says (``streamproc.receiver.behaviour``)."""
        body = json.dumps(behaviour).encode()
        request = urllib.request.Request(self.url + "/behaviour", body, method="POST")
        urllib.request.urlopen(request, timeout=60).close()

    def figures(self) -> dict[str, Any]:
        with urllib.request.urlopen(self.url + "/ledger", timeout=60) as answer:
            found: dict[str, Any] = json.loads(answer.read())
        return found

    def count(self) -> int:
        return int(self.figures()["received"])

    def verdict(self, wanted: int) -> Verdict:
        found = self.figures()
        arrived = found["unique"] - found["forbidden"]
        return Verdict(
            wanted, wanted - arrived, found["duplicated"], found["out_of_order"], found["forbidden"]
        )

    def cpu_s(self) -> float:
        found = usage(self._process.pid)
        return 0.0 if found is None else found.cpu_s

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


class Collector:
    """A topic of the broker; read only when nothing more will come."""

    def __init__(self, kafka: KafkaClient, topic: str) -> None:
        self._kafka = kafka
        self._topic = topic
        self._consumer = Consumer(
            quiet(kafka.bootstrap, group_id=f"bench-{os.getpid()}", enable_auto_commit=False)
        )
        self._partitions = kafka.partitions(topic)

    def _ends(self) -> dict[int, int]:
        return {
            n: self._consumer.get_watermark_offsets(TopicPartition(self._topic, n), READ_S)[1]
            for n in self._partitions
        }

    def count(self) -> int:
        return sum(self._ends().values())

    def verdict(self, wanted: int) -> Verdict:
        ids: set[str] = set()
        last: dict[str, int] = {}
        duplicated = out_of_order = forbidden = 0
        for payload in self._payloads():
            value = json.loads(payload)["value"]
            if value["id"] in ids:
                duplicated += 1
                continue
            ids.add(value["id"])
            if "unwanted" in value:
                forbidden += 1
            elif value["seq"] <= last.get(value["device"], -1):
                out_of_order += 1
            else:
                last[value["device"]] = value["seq"]
        missing = wanted - (len(ids) - forbidden)
        return Verdict(wanted, missing, duplicated, out_of_order, forbidden)

    def _payloads(self) -> list[bytes]:
        ends = self._ends()
        left = sum(ends.values())
        self._consumer.assign([TopicPartition(self._topic, n, 0) for n in ends])
        found: list[bytes] = []
        while left > 0:
            batch = self._consumer.consume(min(10_000, left), READ_S)
            if not batch:
                raise TimeoutError(f"{left} messages of {self._topic} could not be read back")
            found += [message.value() or b"" for message in batch if message.error() is None]
            left -= len(batch)
        self._consumer.unassign()
        return found

    def cpu_s(self) -> float:
        return 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()
