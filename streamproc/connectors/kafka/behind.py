"""How far a consumer is behind its brokers. Looked at by its thread, read by the event loop."""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka import Consumer, KafkaException, TopicPartition

from streamproc.connectors.kafka.partition import Partition

EVERY_S = 1.0
ASK_S = 0.2  # one question to a broker


class Behind:
    """``messages`` are all that are there and not settled, ``most`` those of one partition;
    ``held_back``: settled, and beyond one that is not."""

    def __init__(self) -> None:
        self.messages = self.most = self.held_back = 0
        self.rebalances = 0
        self._ends: dict[tuple[str, int], int] = {}  # as told by a broker when asked
        self._next_s = 0.0
        self._asked = 0

    def look(
        self, consumer: Consumer, partitions: Sequence[Partition], now: float, *, ask: bool
    ) -> None:
        """Count anew if it is time.

        What was fetched tells where a log ends. *ask*: nothing is fetched now, so one
        partition's end is asked for, another one each time.
        """
        if now < self._next_s:
            return
        self._next_s = now + EVERY_S
        if not ask:
            self._ends.clear()
        elif partitions:
            self._asked += 1
            self._ask(consumer, partitions[self._asked % len(partitions)])
        counts = [self._count(consumer, partition) for partition in partitions]
        self.messages, self.most = sum(counts), max(counts, default=0)
        marks = [partition.watermark for partition in partitions]
        self.held_back = sum(mark.gap for mark in marks if mark is not None)

    def _ask(self, consumer: Consumer, partition: Partition) -> None:
        place = TopicPartition(partition.topic, partition.number)
        try:
            found = consumer.get_watermark_offsets(place, timeout=ASK_S)
        except KafkaException:
            return  # it does not answer now; the next one may
        if found is not None:
            self._ends[partition.topic, partition.number] = found[1]

    def _count(self, consumer: Consumer, partition: Partition) -> int:
        place = TopicPartition(partition.topic, partition.number)
        try:
            found = consumer.get_watermark_offsets(place, cached=True)
        except KafkaException:
            return 0  # it was taken from us
        low, high = found or (0, 0)
        end = max(high, self._ends.get((partition.topic, partition.number), 0))
        at = partition.position
        if at is None:
            at = partition.start if partition.start >= 0 else max(low, 0)
        return max(end - at - (0 if partition.watermark is None else partition.watermark.gap), 0)
