"""What a dead worker leaves behind: its open messages and deliveries count as returned.

Taken from the counters, not from the gauges: a worker killed between two stores leaves a
gauge that is a batch off, and the identities of ``metrics.py`` must hold for ever after.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from streamproc.telemetry.metrics import (
    DELIVERIES_DELIVERED,
    DELIVERIES_DUE,
    DELIVERIES_PARKED,
    DELIVERIES_RETURNED,
    DELIVERIES_SPILLED,
    MESSAGES_RECEIVED,
    MESSAGES_RETURNED,
    MESSAGES_SETTLED,
    OTHER,
    Metric,
)
from streamproc.telemetry.readings import Reader
from streamproc.telemetry.slots import Block, Labels

# metric -> what its rest is returned as, and whether it opens or closes
_BOOKS: dict[Metric, tuple[Metric, int]] = {
    MESSAGES_RECEIVED: (MESSAGES_RETURNED, 1),
    MESSAGES_SETTLED: (MESSAGES_RETURNED, -1),
    MESSAGES_RETURNED: (MESSAGES_RETURNED, -1),
    DELIVERIES_DUE: (DELIVERIES_RETURNED, 1),
    DELIVERIES_DELIVERED: (DELIVERIES_RETURNED, -1),
    DELIVERIES_PARKED: (DELIVERIES_RETURNED, -1),
    DELIVERIES_SPILLED: (DELIVERIES_RETURNED, -1),
    DELIVERIES_RETURNED: (DELIVERIES_RETURNED, -1),
}


def close_books(path: str | Path) -> dict[str, float]:
    """Close the block of a worker that is dead; return what was open, by metric name.

    Its gauges become 0. Doing it twice changes nothing.
    """
    rest = _rest(path)
    block = Block.open(path)
    returned: dict[str, float] = defaultdict(float)
    for (metric, labels), count in rest.items():
        if count > 0:
            block.counter(metric, **dict(zip(metric.labels, labels, strict=True))).add(count)
            returned[metric.name] += count
    block.close()
    return dict(returned)


def _rest(path: str | Path) -> dict[tuple[Metric, Labels], float]:
    """What is open under each label set.

    Where one of a book's metrics has overflowed, its label sets cannot be told apart any
    more, and the book is closed as one sum.
    """
    reader = Reader(path)
    values = reader.refresh()
    rows = [row for row in reader.rows if row.metric in _BOOKS]
    reader.close()
    mixed = {_BOOKS[row.metric][0] for row in rows if set(row.labels) == {OTHER}}
    rest: dict[tuple[Metric, Labels], float] = defaultdict(float)
    for row in rows:
        book, sign = _BOOKS[row.metric]
        labels = (OTHER, OTHER) if book in mixed else row.labels[:2]
        rest[book, labels] += sign * values[row.at]
    return rest
