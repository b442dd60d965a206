"""When what is settled is committed: soon after it changed, one request at a time.

Used by the consumer's thread alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from streamproc.connectors.kafka import finished
from streamproc.connectors.kafka.partition import Partition

EVERY_S = 0.02
"""A killed worker repeats what it settled in this time, and what is in flight."""

AT_ONCE = 500
"""So many messages settled since the last commit do not wait for the time..."""

SHARE = 4
"""... or this part of what a crash may repeat, if that is less."""

AGAIN_S = 0.5  # after a commit that failed


class Commits:
    """``skip_settled``: also say which messages above the offset are done. ``most``: what a
    crash may repeat. ``tell`` takes a sentence for the operator.

    A commit is under way until the client library says how it went: it gives each one an end.
    """

    def __init__(self, *, skip_settled: bool, most: int, tell: Callable[[str], None]) -> None:
        self._skip_settled = skip_settled
        self._tell = tell
        self._changed: dict[Partition, None] = {}
        self._at_once = min(AT_ONCE, max(most // SHARE, 1))
        self._under_way = 0
        self._next_s = 0.0
        self._settled = 0  # of the count given, what the last commit covered

    @property
    def pending(self) -> bool:
        """Whether something waits for its commit."""
        return bool(self._changed)

    @property
    def under_way(self) -> bool:
        """Whether the answer to a commit is still to come."""
        return self._under_way > 0

    def are_many(self, settled: int) -> bool:
        """Whether so much is *settled* that the next commit does not wait for its time."""
        return settled - self._settled >= self._at_once

    def changed(self, partition: Partition) -> None:
        """There is something new to commit."""
        self._changed[partition] = None

    def serve(self, consumer: Consumer, settled: int) -> bool:
        """Commit what changed, if it is time. *settled*: messages, since the beginning."""
        if not self._changed or self._under_way:
            return False
        now = time.monotonic()
        if now < self._next_s and not self.are_many(settled):
            return False
        self._next_s = now + EVERY_S
        self._settled = settled
        changed, self._changed = self._changed, {}
        self.commit(consumer, changed)
        return True

    def commit(self, consumer: Consumer, partitions: Iterable[Partition]) -> None:
        """Send what of them is settled, never past a gap, and do not wait."""
        places: list[TopicPartition] = []
        for partition in partitions:
            self._changed.pop(partition, None)
            place = self._place(partition)
            if place is not None:
                places.append(place)
        if places:
            self.send(consumer, places)

    def send(self, consumer: Consumer, places: Sequence[TopicPartition]) -> None:
        """Commit *places* as they are."""
        with suppress(KafkaException):  # not in the group any more: we are about to hear of it
            consumer.commit(offsets=list(places), asynchronous=True)
            self._under_way += 1

    def ended(
        self,
        error: KafkaError | None,
        places: Sequence[TopicPartition],
        find: Callable[[str, int], Partition | None],
    ) -> None:
        """A commit is over. What failed of it is committed again, as long as it is ours."""
        self._under_way -= 1
        for place in places:
            partition = find(place.topic, place.partition)
            why = place.error or error
            if why is None:
                if partition is not None:
                    partition.committed = partition.sent
                    partition.confirmed = place.offset
                continue
            if why.code() == KafkaError.OFFSET_METADATA_TOO_LARGE and self._skip_settled:
                self._skip_settled = False
                self._tell(
                    "the broker takes no commit metadata of up to 4096 bytes "
                    "(offset.metadata.max.bytes): settled messages beyond an open one come "
                    "again after a restart"
                )
            if partition is not None:
                partition.stored = partition.stored_bits = None
                self._changed[partition] = None
                self._next_s = time.monotonic() + AGAIN_S

    def _place(self, partition: Partition) -> TopicPartition | None:
        """What to commit of *partition*; None where that is known already."""
        settled = partition.settled  # before the snapshot: these are in it
        position, bits = partition.snapshot()
        if position is None:
            return None
        if not self._skip_settled:
            bits = b""
        if (position, bits) == (partition.stored, partition.stored_bits):
            if not self._skip_settled:  # nobody will hear of them until the offset moves
                partition.committed = settled
            return None
        partition.sent = settled
        partition.stored, partition.stored_bits = position, bits
        metadata = finished.encode(position, bits, partition.leader_epoch)
        return TopicPartition(partition.topic, partition.number, position, metadata)
