"""The few things tests do with a Kafka cluster, as calls that block until they are done."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

Headers = Sequence[tuple[str, bytes]]
DEADLINE = 60.0  # seconds, for each call


class Record(NamedTuple):
    """A message read back."""

    key: bytes | None
    value: bytes
    headers: dict[str, bytes]
    partition: int
    offset: int


def quiet(bootstrap: str, **more: Any) -> dict[str, Any]:
    """Client settings: loopback, no chatter on stderr when a test kills the broker."""
    return {
        "bootstrap.servers": bootstrap,
        "broker.address.family": "v4",
        "log_level": 0,
        "error_cb": lambda _: None,
    } | {key.replace("_", "."): value for key, value in more.items()}


class KafkaClient:
    """Mixed into what has a ``bootstrap``."""

    bootstrap: str

    def admin(self) -> AdminClient:
        return AdminClient(quiet(self.bootstrap))

    def producer(self) -> Producer:
        """One that retries until a call's deadline and writes each message once."""
        settings = quiet(self.bootstrap, linger_ms=5, message_timeout_ms=int(DEADLINE * 1000))
        return Producer(settings | {"enable.idempotence": True})

    def create_topic(
        self, name: str, partitions: int = 1, config: Mapping[str, str] | None = None
    ) -> None:
        """Create it and return when every partition has a leader."""
        topic = NewTopic(name, partitions, 1, config=dict(config or {}))
        admin = self.admin()
        admin.create_topics([topic], operation_timeout=DEADLINE)[name].result(DEADLINE)
        ends = time.monotonic() + DEADLINE
        while not self._led(admin, name, partitions):
            if time.monotonic() > ends:
                raise TimeoutError(f"topic {name} has no leaders")
            time.sleep(0.05)

    def delete_topic(self, name: str) -> None:
        admin = self.admin()  # kept: its answers come only as long as it lives
        admin.delete_topics([name], operation_timeout=DEADLINE)[name].result(DEADLINE)

    def produce(
        self,
        topic: str,
        messages: Iterable[tuple[bytes | None, bytes] | tuple[bytes | None, bytes, Headers]],
    ) -> None:
        """Write (key, value) or (key, value, headers), and return when all are acknowledged."""
        failed: list[str] = []
        producer = self.producer()

        def delivered(error: object, _: object) -> None:
            if error is not None:
                failed.append(str(error))

        for key, value, *headers in messages:
            while True:
                try:
                    producer.produce(
                        topic, value, key, headers=list(*headers), on_delivery=delivered
                    )
                    break
                except BufferError:
                    producer.poll(0.1)
            producer.poll(0)
        left = producer.flush(DEADLINE * 2)
        if left or failed:
            raise OSError(f"{left} not sent, {len(failed)} failed: {failed[:1]}")

    def consume(self, topic: str, count: int, deadline: float = DEADLINE) -> list[Record]:
        """The first *count* records of all partitions; fewer if *deadline* passes."""
        consumer = Consumer(quiet(self.bootstrap, group_id="tests", enable_auto_commit=False))
        found: list[Record] = []
        ends = time.monotonic() + deadline
        try:
            consumer.assign([TopicPartition(topic, n, 0) for n in self.partitions(topic)])
            while len(found) < count and time.monotonic() < ends:
                batch = consumer.consume(min(1000, count - len(found)), timeout=0.2)
                found += [_record(message) for message in batch if message.error() is None]
        finally:
            consumer.close()
        return found

    def partitions(self, topic: str) -> list[int]:
        metadata = self.admin().list_topics(topic, timeout=DEADLINE)
        return sorted(metadata.topics[topic].partitions)

    def end_offsets(self, topic: str) -> dict[int, int]:
        """Partition -> the offset that its next message gets."""
        consumer = Consumer(quiet(self.bootstrap, group_id="tests"))
        try:
            return {
                n: consumer.get_watermark_offsets(TopicPartition(topic, n), timeout=DEADLINE)[1]
                for n in self.partitions(topic)
            }
        finally:
            consumer.close()

    def committed(self, group: str, topic: str) -> dict[int, int]:
        """Partition -> the offset that *group* has committed, where it has."""
        admin = self.admin()
        asked = [TopicPartition(topic, n) for n in self.partitions(topic)]
        request = [ConsumerGroupTopicPartitions(group, asked)]
        answers = admin.list_consumer_group_offsets(request)
        found = answers[group].result(DEADLINE).topic_partitions or []
        return {tp.partition: tp.offset for tp in found if tp.offset >= 0}

    @staticmethod
    def _led(admin: AdminClient, topic: str, partitions: int) -> bool:
        found = admin.list_topics(timeout=DEADLINE).topics.get(topic)
        return (
            found is not None
            and len(found.partitions) == partitions
            and all(one.leader >= 0 for one in found.partitions.values())
        )


def _record(message: Any) -> Record:
    headers = {name: value or b"" for name, value in message.headers() or []}
    value = message.value() or b""
    return Record(message.key(), value, headers, message.partition(), message.offset())
