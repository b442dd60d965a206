"""Parks what a target refuses for good, with its reason, in the dead-letter store.

When the store is full, or fails, the delivery stays in its lane: back-pressure, never a drop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from streamproc.errors import RunnerError
from streamproc.kernels.delivery import Delivery
from streamproc.store.environment import StoreError, StoreFull
from streamproc.store.parked import Parked, ParkedStore, Totals
from streamproc.telemetry import events as tell
from streamproc.worker.writer import Writer

T = TypeVar("T")
Then = Callable[[int], None]


class Elsewhere(Protocol):
    """What takes refused deliveries before the store does."""

    def wants(self, connection_id: str, deliveries: Sequence[Delivery]) -> bool:
        """Whether these go there."""

    def take(self, entries: list[Parked], then: Then) -> None:
        """*then* is told how many of them, from the first on, are safe, there or in the store."""


class Parking:
    """One worker's way into the store that all workers share.

    ``open_store`` runs in the writer's thread, when the store is first used and again after it
    failed; until it can be opened nothing is parked.
    """

    def __init__(self, open_store: Callable[[], ParkedStore], writer: Writer) -> None:
        # Deliveries that were parked before, and are on their way again: their place.
        self.known: dict[Delivery, tuple[int, Parked]] = {}
        self.elsewhere: Elsewhere | None = None
        self._open_store = open_store
        self._store: ParkedStore | None = None  # of the writer's thread
        self._writer = writer

    def park(
        self, connection_id: str, deliveries: Sequence[Delivery], error: RunnerError, then: Then
    ) -> None:
        """Keep the first of *deliveries* that fit; *then* is told how many, once they are safe."""
        now = time.time()
        entries: list[Parked] = []
        numbers: list[int | None] = []
        for delivery in deliveries:
            number, before = self.known.get(delivery, (None, None))
            numbers.append(number)
            entries.append(
                Parked(
                    now if before is None else before.time,
                    connection_id,
                    delivery.target,
                    error.code,
                    str(error),
                    delivery.attempts + (0 if before is None else before.attempts),
                    delivery.address,
                    delivery.key,
                    delivery.headers,
                    delivery.payload,
                )
            )
        is_new = numbers == [None] * len(numbers)
        if (
            is_new
            and self.elsewhere is not None
            and self.elsewhere.wants(connection_id, deliveries)
        ):
            self.elsewhere.take(entries, then)
            return
        self._keep(entries, then, numbers)

    def use(self, job: Callable[[ParkedStore], T], then: Callable[[T | StoreError], None]) -> None:
        """Run *job* on the store, in the writer's thread; *then* is told how it went."""
        self._writer.submit(lambda: self._run(job), then)

    def _run(self, job: Callable[[ParkedStore], T]) -> T:
        if self._store is None:
            self._store = self._open_store()
        try:
            return job(self._store)
        except StoreFull:
            raise
        except StoreError:  # some leave it unusable until it is opened anew
            self.close()
            raise

    def _keep(self, entries: list[Parked], then: Then, numbers: Sequence[int | None] = ()) -> None:
        def add(store: ParkedStore) -> tuple[int, Totals | None]:
            taken = store.add(entries, numbers)
            return taken, store.totals() if taken < len(entries) else None

        def done(result: tuple[int, Totals | None] | StoreError) -> None:
            if isinstance(result, StoreError):
                tell.parking_failed(str(result))
                then(0)
                return
            taken, full = result
            if full is not None:
                tell.parking_full(full.messages, full.size_bytes)
            then(taken)

        self.use(add, done)

    def keep(self, entry: Parked, then: Then) -> None:
        """Keep what is no delivery."""
        self._keep([entry], then)

    def keep_all(self, entries: list[Parked], then: Then) -> None:
        """Keep them in the store, whatever else may take what is refused."""
        self._keep(entries, then)

    def close(self) -> None:
        """Let go of the store. The writer must have ended, or be the caller."""
        store, self._store = self._store, None
        if store is not None:
            store.close()
