"""Parks what a target refuses for good, with its reason, in the dead-letter store.

When the store is full, or fails, the delivery stays in its lane: back-pressure, never a drop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from streamproc.errors import RunnerError
from streamproc.kernels.delivery import Delivery
from streamproc.store.environment import StoreError
from streamproc.store.parked import Parked, ParkedStore
from streamproc.telemetry import events as tell
from streamproc.worker.writer import Writer

Then = Callable[[int], None]


class Parking:
    """One worker's way into the store that all workers share."""

    def __init__(self, store: ParkedStore, writer: Writer) -> None:
        self._store = store
        self._writer = writer

    def park(
        self, connection_id: str, deliveries: Sequence[Delivery], error: RunnerError, then: Then
    ) -> None:
        """Keep the first of *deliveries* that fit; *then* is told how many, once they are safe."""
        now = time.time()
        entries = [
            Parked(
                now,
                connection_id,
                delivery.target,
                error.code,
                str(error),
                delivery.attempts,
                delivery.address,
                delivery.key,
                delivery.headers,
                delivery.payload,
            )
            for delivery in deliveries
        ]
        self._keep(entries, then)

    def _keep(self, entries: list[Parked], then: Then) -> None:
        def done(taken: int | StoreError) -> None:
            if isinstance(taken, StoreError):
                tell.parking_failed(str(taken))
                taken = 0
            elif taken < len(entries):
                tell.parking_full(*self._store.totals())
            then(taken)

        self._writer.submit(lambda: self._store.add(entries), done)

    def keep(self, entry: Parked, then: Then) -> None:
        """Keep what is no delivery."""
        self._keep([entry], then)

    def close(self) -> None:
        self._store.close()
