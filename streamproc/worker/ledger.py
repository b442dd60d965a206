"""What became of the deliveries of one client: counted, told, parked."""

from __future__ import annotations

import time
from collections.abc import Sequence

from streamproc.config.service import Retry
from streamproc.errors import RunnerError
from streamproc.kernels.delivery import Delivery
from streamproc.store.environment import StoreError
from streamproc.telemetry import events as tell
from streamproc.telemetry import metrics
from streamproc.telemetry.slots import Block
from streamproc.worker.acks import refused
from streamproc.worker.parking import Parking, Then
from streamproc.worker.retry import longest_s
from streamproc.worker.tally import Tally


class ClientLedger:
    """Implements ``Ledger`` for the outlet of one client."""

    def __init__(
        self,
        connection_id: str,
        tally: Tally,
        parking: Parking,
        retry: Retry,
        block: Block,
    ) -> None:
        self._connection_id = connection_id
        self._retry = retry
        self._drained = {
            outcome: block.counter(metrics.SPILL_DRAINED, connection=connection_id, outcome=outcome)
            for outcome in ("delivered", "parked")
        }
        self._seconds = block.histogram(metrics.DELIVERY_SECONDS, connection=connection_id)
        self._tally = tally
        self._parking = parking

    def delivered(self, deliveries: Sequence[Delivery]) -> None:
        # One look at the clock for all receipts that came together.
        age_s = time.monotonic() - deliveries[0].born
        self._seconds.observe(age_s, len(deliveries))
        self._tally.delivered(self._connection_id, deliveries)

    def retried(self, deliveries: Sequence[Delivery], error: RunnerError) -> None:
        self._tally.retried(self._connection_id, deliveries, error.code)
        first = deliveries[0]
        tell.delivery_retried(
            self._connection_id,
            first.target,
            error.code,
            str(error),
            len(deliveries),
            longest_s(self._retry, first.attempts, error),
        )

    def spilled(self, deliveries: list[Delivery]) -> None:
        self._tally.spilled(self._connection_id, deliveries)

    def drained(self, outcome: str, count: int) -> None:
        self._drained[outcome].add(count)

    def spill_failed(self, error: StoreError) -> None:
        tell.spill_failed(str(error))

    def park(self, deliveries: Sequence[Delivery], error: RunnerError, then: Then) -> None:
        def done(count: int) -> None:
            if count:
                refused(deliveries[:count], error)
                self._tally.parked(self._connection_id, deliveries[:count], error.code)
                tell.delivery_parked(
                    self._connection_id, deliveries[0].target, error.code, str(error), count
                )
            then(count)

        self._parking.park(self._connection_id, deliveries, error, done)
