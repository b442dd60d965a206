"""From librdkafka's messages to runs of messages of one partition. Runs per batch, in a thread.

What costs every message is in a kernel (``kernels.kafka_records``).
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from typing import Protocol

from streamproc.connectors.kafka.finished import Finished
from streamproc.connectors.kafka.partition import Partition
from streamproc.kernels.kafka_records import RecordReader, runs

Find = Callable[[str, int, int], Partition | None]  # topic, partition, offset to be read
OVERHEAD_BYTES = 512  # what a message costs beyond its payload


class Record(Protocol):
    """What a consumer's message without an error is, more exactly than its own types say."""

    def topic(self) -> str: ...
    def partition(self) -> int: ...
    def offset(self) -> int: ...
    def key(self) -> bytes | None: ...
    def value(self) -> bytes | None: ...
    def headers(self) -> list[tuple[str, bytes | None]] | None: ...
    def timestamp(self) -> tuple[int, int]: ...  # kind, milliseconds
    def leader_epoch(self) -> int | None: ...


class Arrival:
    """Messages of one partition, in order. ``done``: offsets of those that are not handed out,
    for they had expired, or were settled before; ``expired`` counts the first kind."""

    __slots__ = ("done", "expired", "headers", "offsets", "partition", "payloads", "size")

    def __init__(
        self,
        partition: Partition,
        payloads: list[bytes],
        headers: list[dict[str, str]],
        offsets: list[int],
    ) -> None:
        self.partition = partition
        self.payloads = payloads
        self.headers = headers
        self.offsets = offsets
        self.done: list[int] = []
        self.expired = 0
        self.size = sum(map(len, payloads)) + OVERHEAD_BYTES * len(payloads)

    def drop_expired(self, now_ms: float) -> None:
        """Keep nothing but the offsets of messages whose time is over."""
        late = [is_expired(headers, now_ms) for headers in self.headers]
        if any(late):
            keep = [not one for one in late]
            self.done += itertools.compress(self.offsets, late)
            self.expired = sum(late)
            self.payloads = list(itertools.compress(self.payloads, keep))
            self.headers = list(itertools.compress(self.headers, keep))
            self.offsets = list(itertools.compress(self.offsets, keep))
            self.size = sum(map(len, self.payloads)) + OVERHEAD_BYTES * len(self.payloads)


def correlation_ids() -> Iterator[str]:
    """Ids in the form of a UUID: 80 random bits of this source, then a count."""
    lead = os.urandom(10).hex()
    lead = f"{lead[:8]}-{lead[8:12]}-{lead[12:16]}-{lead[16:]}-"
    return (f"{lead}{number:012x}" for number in itertools.count())


def decode(
    messages: list[Record], find: Find, reader: RecordReader, now_ms: float
) -> list[Arrival]:
    """Group *messages* by partition, as they come; those of partitions not ours are left out."""
    arrivals: list[Arrival] = []
    for topic, number, start, end in runs(messages):
        run = messages[start:end]
        partition = find(topic, number, run[0].offset())
        if partition is not None:
            partition.newest = run[-1].offset()
            partition.leader_epoch = max(partition.leader_epoch, run[-1].leader_epoch() or 0)
            if partition.finished is None or partition.finished.is_read:
                arrivals.append(_arrival(partition, run, reader, now_ms))
            else:
                arrivals.append(_unfinished(partition, partition.finished, run, reader, now_ms))
    return arrivals


def _unfinished(
    partition: Partition,
    finished: Finished,
    messages: list[Record],
    reader: RecordReader,
    now_ms: float,
) -> Arrival:
    """Those of *messages* that were not settled before they were read this time."""
    if messages[0].offset() < finished.position:
        partition.finished = None
        return _arrival(partition, messages, reader, now_ms)
    wanted = finished.wanted(messages)
    left = list(itertools.compress(messages, wanted))
    arrival = _arrival(partition, left, reader, now_ms)
    arrival.done += (m.offset() for m, want in zip(messages, wanted, strict=True) if not want)
    return arrival


def _arrival(
    partition: Partition, messages: list[Record], reader: RecordReader, now_ms: float
) -> Arrival:
    payloads, headers, offsets, has_ttl = reader.read(messages, partition.topic)
    arrival = Arrival(partition, payloads, headers, offsets)
    if has_ttl:
        arrival.drop_expired(now_ms)
    return arrival


def is_expired(headers: dict[str, str], now_ms: float) -> bool:
    """Whether ``creation-time`` + ``ttl``, in milliseconds, has passed. False if not numbers."""
    try:
        return int(headers["creation-time"]) + int(headers["ttl"]) < now_ms
    except (KeyError, ValueError):
        return False
