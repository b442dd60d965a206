"""A real Kafka: one node that is broker and controller (KRaft), from the published jars."""

from __future__ import annotations

import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.brokers import jars
from tests.brokers.broker import Broker, BrokerFailed
from tests.brokers.kafka_client import KafkaClient, quiet
from tests.brokers.ports import HOST, accepts
from tests.brokers.process import Process

# Quick to start, small, and without the delays that only make sense on many nodes.
JVM = (
    "-Xms128m",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
    "-Djava.awt.headless=true",
    "-Dlog4j2.level=WARN",
)
DEFAULTS: Mapping[str, Any] = {
    "auto.create.topics.enable": "false",
    "background.threads": 2,
    "broker.heartbeat.interval.ms": 500,
    "broker.session.timeout.ms": 3000,  # a killed one must time out before it can come back
    "group.initial.rebalance.delay.ms": 0,
    "log.cleaner.dedupe.buffer.size": 4 * 1024 * 1024,
    "log.segment.delete.delay.ms": 1000,
    "num.io.threads": 4,
    "num.network.threads": 2,
    "num.recovery.threads.per.data.dir": 2,
    "offsets.topic.num.partitions": 4,
    "offsets.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    "share.coordinator.state.topic.num.partitions": 1,
    "share.coordinator.state.topic.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "transaction.state.log.num.partitions": 4,
    "transaction.state.log.replication.factor": 1,
}


class Kafka(Broker, KafkaClient):
    """``bootstrap`` is what clients connect to. *properties* override server.properties.

    With *proxied* there is a second listener, ``proxied_port``, whose clients are told to
    connect to that port: the one where a proxy listens.
    """

    name = "kafka"
    mock = False

    def __init__(
        self,
        properties: Mapping[str, Any] | None = None,
        *,
        proxied: int = 0,
        jvm: Sequence[str] = JVM,
    ) -> None:
        super().__init__()
        self.port = self._port()
        self.bootstrap = f"{HOST}:{self.port}"
        self.proxied_port = self._port()
        self._controller = self._port()
        self._jvm = jvm
        self._properties = self._settings(proxied) | dict(properties or {})

    @staticmethod
    def missing() -> str:
        return jars.missing()

    def _settings(self, proxied: int) -> dict[str, Any]:
        listeners = {"PLAINTEXT": self.port, "PROXIED": self.proxied_port}
        advertised = {"PLAINTEXT": self.port, "PROXIED": proxied or self.proxied_port}
        controller = {"CONTROLLER": self._controller}
        return {
            **DEFAULTS,
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{HOST}:{self._controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": _listed(listeners | controller),
            "advertised.listeners": _listed(advertised),
            "listener.security.protocol.map": ",".join(
                f"{name}:PLAINTEXT" for name in listeners | controller
            ),
            "log.dirs": self.directory / "data",
        }

    def _java(self, main: str, *arguments: str) -> list[str]:
        return [jars.java(), *self._jvm, "-cp", f"{jars.jars()}/*", main, *arguments]

    def _launch(self) -> Process:
        config = self.directory / "server.properties"
        if not config.exists():
            config.write_text("".join(f"{k}={v}\n" for k, v in self._properties.items()))
            self._format(str(config))
        command = self._java("kafka.Kafka", str(config))
        return Process(command, directory=self.directory, log=self.log)

    def _format(self, config: str) -> None:
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        command = self._java(
            "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "--config", config
        )
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BrokerFailed(f"kafka could not format its storage:\n{done.stdout}{done.stderr}")

    def _ready(self) -> bool:
        """A broker that is registered and not fenced lists itself."""
        if not accepts(self.port):
            return False
        try:
            return bool(AdminClient(quiet(self.bootstrap)).list_topics(timeout=5).brokers)
        except KafkaException:
            return False


def _listed(listeners: Mapping[str, int]) -> str:
    return ",".join(f"{name}://{HOST}:{port}" for name, port in listeners.items())
