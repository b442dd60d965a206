"""Stands in for Kafka where its jars cannot be had: librdkafka's mock cluster.

It runs in a process of its own, so that it has an address that any client can use. It keeps
nothing over a restart, and has four partitions in every topic whatever one asks for; enough
for tests of the normal path, and never enough for `.ci/run`.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from confluent_kafka import Producer

from tests.brokers.broker import Broker
from tests.brokers.kafka_client import DEADLINE, KafkaClient
from tests.brokers.process import Process

ROOT = Path(__file__).parents[2]


class MockKafka(Broker, KafkaClient):
    """As Kafka, but ``bootstrap`` changes and the data goes when it starts again."""

    name = "kafka"
    mock = True

    @staticmethod
    def missing() -> str:
        return ""

    def create_topic(
        self, name: str, partitions: int = 1, config: Mapping[str, str] | None = None
    ) -> None:
        """Create it, with the mock's own number of partitions, by asking for it."""
        producer = self.producer()
        ends = time.monotonic() + DEADLINE
        while not producer.list_topics(name, timeout=DEADLINE).topics[name].partitions:
            if time.monotonic() > ends:
                raise TimeoutError(f"topic {name} has no partitions")
            time.sleep(0.05)

    def _launch(self) -> Process:
        self._address.unlink(missing_ok=True)
        command = [sys.executable, "-m", "tests.brokers.mock_kafka", str(self._address)]
        env = {"PYTHONPATH": str(ROOT)}
        return Process(command, directory=self.directory, log=self.log, env=env)

    def _ready(self) -> bool:
        if not self._address.exists():
            return False
        self.bootstrap = self._address.read_text()
        return True

    @property
    def _address(self) -> Path:
        return self.directory / "bootstrap"


def serve(address: Path) -> None:
    """Run the cluster until a signal ends the process; write where it listens."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    cluster = Producer({"test.mock.num.brokers": 1, "log_level": 0, "bootstrap.servers": "none"})
    brokers = cluster.list_topics(timeout=DEADLINE).brokers.values()
    written = address.with_suffix(".new")
    written.write_text(",".join(f"{broker.host}:{broker.port}" for broker in brokers))
    written.rename(address)
    signal.pause()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
