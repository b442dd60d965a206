"""Metrics in shared memory: a worker adds to doubles, the master reads them.

One file a worker *index*, made by the master and mapped by whoever is that worker now, so
counters go on where a dead worker left them. Counting takes no lock and makes no call beyond
one store; a reader may see a batch half counted, never a number half written.

    header      magic, slots, directory bytes, published entries    4 x u64, 64 bytes kept
    directory   entry after entry: u32 length, u32 first slot, JSON
                [metric, label values, 1 if it is the 'other' of overflow, slots]
    slots       doubles

Entries are only ever added. One is published by raising the count, last of all, so a reader
never sees a half-written one and a worker killed in between has only wasted nothing.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
from bisect import bisect_left
from pathlib import Path
from weakref import WeakSet

from streamproc.telemetry.metrics import METRICS, METRICS_OVERFLOWED, OTHER, Kind, Metric

MAGIC = int.from_bytes(b"SPMETR01", "little")
HEADER_BYTES = 64
ENTRY = struct.Struct("<II")  # JSON bytes, first slot
DIRECTORY_BYTES_A_SLOT = 128
MAX_ENTRY_BYTES = 1024
# Kept free so that every metric can always have its 'other'.
_RESERVED_SLOTS = sum(metric.width for metric in METRICS.values()) + len(METRICS)
_RESERVED_BYTES = 2 * 160 * len(METRICS)

Labels = tuple[str, ...]


class Slot:
    """One double. Only its owner writes it, so it need not be read back."""

    __slots__ = ("__weakref__", "_at", "_value", "_view")

    def __init__(self, view: memoryview[float], at: int) -> None:
        self._view = view
        self._at = at
        self._value = view[at]

    @property
    def value(self) -> float:
        """What was counted, by former owners too."""
        return self._value

    def add(self, n: float) -> None:
        """Count *n* more."""
        self._value = value = self._value + n
        self._view[self._at] = value

    def set(self, value: float) -> None:
        """For gauges."""
        self._value = value
        self._view[self._at] = value


class _Shared(Slot):
    """A gauge beyond the limit: its own value, combined with those it shares the slot with."""

    __slots__ = ("_combine", "_members")

    def __init__(
        self, view: memoryview[float], at: int, combine: str, members: WeakSet[_Shared]
    ) -> None:
        super().__init__(view, at)
        self._value = 0.0
        self._combine = max if combine == "max" else sum
        self._members = members
        members.add(self)

    def add(self, n: float) -> None:
        self.set(self._value + n)

    def set(self, value: float) -> None:
        self._value = value
        self._view[self._at] = self._combine(member._value for member in self._members)


class Histogram:
    """How often values fell into each bucket, and their sum."""

    __slots__ = ("_at", "_bounds", "_sum_at", "_view")

    def __init__(self, view: memoryview[float], at: int, bounds: tuple[float, ...]) -> None:
        self._view = view
        self._at = at
        self._bounds = bounds
        self._sum_at = at + len(bounds) + 1

    def observe(self, value: float, count: int = 1) -> None:
        """*count* things took *value* each."""
        view = self._view
        view[self._at + bisect_left(self._bounds, value)] += count
        view[self._sum_at] += value * count

    @property
    def count(self) -> float:
        """How many were observed."""
        return sum(self._view[self._at : self._sum_at])


class Block:
    """The writer's side: turns (metric, labels) into slots. Not for the counting path itself.

    Asking twice for the same labels gives the same slot. What is beyond a metric's limit, or
    beyond the block, goes to the label value ``other``, and is counted as overflowed.
    """

    def __init__(self, path: str | Path) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            self._map = mmap.mmap(fd, 0)
        finally:
            os.close(fd)
        whole = memoryview(self._map)
        self._header = whole[:HEADER_BYTES].cast("Q")
        magic, self._capacity, self._directory_bytes, _ = self._header[:4]
        if magic != MAGIC:
            raise ValueError(f"{path} is not a block of metrics")
        start = HEADER_BYTES + self._directory_bytes
        self._directory = whole[HEADER_BYTES:start]
        self._view = whole[start : start + 8 * self._capacity].cast("d")
        self._end = 0  # of the directory, bytes
        self._next = 0  # slot
        self._places: dict[tuple[str, Labels, bool], int] = {}
        self._sets: dict[str, int] = {}  # label sets of a metric, without 'other'
        self._slots: dict[tuple[str, Labels], Slot] = {}
        self._members: dict[str, WeakSet[_Shared]] = {}
        self._load()

    @classmethod
    def create(cls, path: str | Path, capacity: int = 16384) -> Block:
        """Make the file of a worker index. *capacity* in slots, 8 bytes each."""
        if capacity < 2 * _RESERVED_SLOTS:
            raise ValueError(f"a block needs at least {2 * _RESERVED_SLOTS} slots, not {capacity}")
        directory_bytes = capacity * DIRECTORY_BYTES_A_SLOT
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            # Not sparse: a disk without room is an error here, not a signal whenever we count.
            os.posix_fallocate(fd, 0, HEADER_BYTES + directory_bytes + 8 * capacity)
            os.pwrite(fd, struct.pack("<4Q", MAGIC, capacity, directory_bytes, 0), 0)
        finally:
            os.close(fd)
        return cls(path)

    @classmethod
    def open(cls, path: str | Path) -> Block:
        """Take over a file that no other process counts into. Its gauges start from 0."""
        return cls(path)

    def counter(self, metric: Metric, /, **labels: str) -> Slot:
        """The slot of a counter; it only ever grows."""
        return self._slot("counter", metric, labels)

    def gauge(self, metric: Metric, /, **labels: str) -> Slot:
        """The slot of a gauge."""
        return self._slot("gauge", metric, labels)

    def histogram(self, metric: Metric, /, **labels: str) -> Histogram:
        """The slots of a histogram."""
        at, _ = self._place(metric, _values("histogram", metric, labels))
        return Histogram(self._view, at, metric.buckets)

    def close(self) -> None:
        """Unmap. Its slots must not be used any more."""
        for view in (self._header, self._directory, self._view):
            view.release()
        self._map.close()

    def _slot(self, kind: Kind, metric: Metric, labels: dict[str, str]) -> Slot:
        values = _values(kind, metric, labels)
        slot = self._slots.get((metric.name, values))
        if slot is not None:
            return slot
        at, shared = self._place(metric, values)
        if shared and kind == "gauge":
            members = self._members.setdefault(metric.name, WeakSet())
            return _Shared(self._view, at, metric.combine, members)
        key = (metric.name, (OTHER,) * len(metric.labels) if shared else values)
        return self._slots.setdefault(key, Slot(self._view, at))

    def _place(self, metric: Metric, values: Labels) -> tuple[int, bool]:
        """First slot of a label set, and whether it is the one that overflow shares."""
        at = self._places.get((metric.name, values, False))
        if at is not None:
            return at, False
        if self._sets.get(metric.name, 0) < metric.limit:
            at = self._append(metric, values, overflow=False)
            if at is not None:
                return at, False
        if metric is not METRICS_OVERFLOWED:
            self.counter(METRICS_OVERFLOWED, metric=metric.name).add(1)
        others = (OTHER,) * len(metric.labels)
        at = self._places.get((metric.name, others, True))
        if at is None:
            at = self._append(metric, others, overflow=True)
            assert at is not None, "room for every 'other' is reserved"
        return at, True

    def _append(self, metric: Metric, values: Labels, *, overflow: bool) -> int | None:
        """Publish an entry; None when there is no room that may be used for it."""
        text = json.dumps([metric.name, values, int(overflow), metric.width]).encode()
        end, after = self._end + ENTRY.size + len(text), self._next + metric.width
        spare = overflow or metric is METRICS_OVERFLOWED
        slots = self._capacity - (0 if spare else _RESERVED_SLOTS)
        room = self._directory_bytes - (0 if spare else _RESERVED_BYTES)
        if after > slots or end > room or len(text) > MAX_ENTRY_BYTES:
            return None
        at = self._next
        self._directory[self._end : end] = ENTRY.pack(len(text), at) + text
        self._header[3] += 1
        self._take(metric, values, overflow, at)
        self._end = end
        return at

    def _load(self) -> None:
        for _ in range(self._header[3]):
            size, at = ENTRY.unpack_from(self._directory, self._end)
            start = self._end + ENTRY.size
            name, values, shared, width = json.loads(bytes(self._directory[start : start + size]))
            self._end = start + size
            self._next = at + width
            metric = METRICS.get(name)
            if metric is None or metric.width != width:
                continue  # counted by another version of this program
            self._take(metric, tuple(values), bool(shared), at)
            if metric.kind == "gauge":
                self._view[at] = 0.0

    def _take(self, metric: Metric, values: Labels, overflow: bool, at: int) -> None:
        self._places[metric.name, values, overflow] = at
        self._next = at + metric.width
        if not overflow:
            self._sets[metric.name] = self._sets.get(metric.name, 0) + 1


def _values(kind: Kind, metric: Metric, labels: dict[str, str]) -> Labels:
    if metric.kind != kind or labels.keys() != set(metric.labels):
        raise ValueError(
            f"{metric.name} is a {metric.kind} with labels {list(metric.labels)}, "
            f"not a {kind} with {list(labels)}"
        )
    return tuple(str(labels[name]) for name in metric.labels)
