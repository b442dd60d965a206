"""What the master sees of a worker's metrics: the block, read while its owner counts."""

from __future__ import annotations

import json
import mmap
import os
from pathlib import Path
from typing import NamedTuple

from streamproc.telemetry.metrics import METRICS, Metric
from streamproc.telemetry.slots import ENTRY, HEADER_BYTES, MAGIC, Labels


class Row(NamedTuple):
    """Where a label set of a metric is."""

    metric: Metric
    labels: Labels
    at: int


class Reader:
    """Reads one block. The directory only grows, so each entry is parsed once."""

    def __init__(self, path: str | Path) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._map = mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
        finally:
            os.close(fd)
        whole = memoryview(self._map)
        self._header = whole[:HEADER_BYTES].cast("Q")
        magic, capacity, directory_bytes, _ = self._header[:4]
        if magic != MAGIC:
            raise ValueError(f"{path} is not a block of metrics")
        start = HEADER_BYTES + directory_bytes
        self._directory = whole[HEADER_BYTES:start]
        self._view = whole[start : start + 8 * capacity].cast("d")
        self._seen = 0  # entries
        self._end = 0  # bytes of them
        self._used = 0  # slots
        self.rows: list[Row] = []

    def refresh(self) -> list[float]:
        """Take in new entries; return the slots as they are now."""
        try:
            while self._seen < self._header[3]:
                self._take_one()
        except (ValueError, IndexError):
            pass  # stored, but not yet visible in full to this core: next time
        return self._view[: self._used].tolist()  # type: ignore[return-value]  # of "d": floats

    def close(self) -> None:
        """Unmap."""
        for view in (self._header, self._directory, self._view):
            view.release()
        self._map.close()

    def _take_one(self) -> None:
        size, at = ENTRY.unpack_from(self._directory, self._end)
        start = self._end + ENTRY.size
        name, values, _, width = json.loads(bytes(self._directory[start : start + size]))
        self._end = start + size
        self._used = at + width
        self._seen += 1
        metric = METRICS.get(name)
        if metric is not None and metric.width == width:
            self.rows.append(Row(metric, tuple(values), at))
