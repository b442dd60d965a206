"""Writes to topics through an idempotent producer.

Order: librdkafka keeps it within a partition through its own retries, until a message times
out. The first that does takes all others with it: the producer is given up, what was open
fails in the order it was written, and the link is lost. So a message never overtakes one of
its key that was written before it and failed.

Delivery reports are taken on the event loop, by a timer while something is in flight: a
thread of its own would have to win the interpreter from the loop for each report.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException

from streamproc.connectors.base import Receipts, TargetSpec
from streamproc.connectors.kafka import faults, settings
from streamproc.connectors.kafka.address import Place, parse
from streamproc.connectors.kafka.producer import FLUSH_S, Run, in_thread
from streamproc.errors import (
    DeliveryFailed,
    DeliveryRefused,
    Misconfigured,
    NotConnected,
    RunnerError,
)
from streamproc.kernels.delivery import Delivery

CAPACITY = 10_000
BUSY_POLL_S = 0.001
IDLE_POLL_S = 1.0  # to hear that the brokers are gone
KNOWN_PLACES = 10_000  # parsed addresses kept


class KafkaTarget:
    """The producer of one client. Adds ``ditto-connection-id`` to the headers."""

    capacity = CAPACITY

    def __init__(self, spec: TargetSpec) -> None:
        self._spec = spec
        self._receipts: Receipts = spec.receipts
        self._mark = ("ditto-connection-id", spec.identity.connection_id)
        # Addresses that stand in the configuration as they are, without placeholders.
        self._fixed = frozenset(target.address for target in spec.connection.targets)
        self._places: dict[str, Place] = {}
        self._run: Run | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_busy = False

    async def open(self) -> None:
        await self.close()
        wanted = settings.producer(self._spec, CAPACITY)
        topic, given_up = self._a_topic(), threading.Event()
        tells_place = self._spec.options.debug_enabled
        try:
            self._run = await in_thread(
                lambda: Run.begin(wanted, topic, given_up, tells_place=tells_place),
                f"{wanted['client.id']}-open",
            )
        finally:
            given_up.set()
        self._poll_in(IDLE_POLL_S)

    def write(self, deliveries: Sequence[Delivery]) -> None:
        run = self._run
        if run is None:
            asyncio.get_running_loop().call_soon(
                self._receipts.failed, list(deliveries), NotConnected("not open")
            )
            return
        run.reports.write(
            deliveries, run.producer.produce, self._places, self._place, self._mark, _why
        )
        if not self._is_busy:
            self._poll_in(BUSY_POLL_S)

    async def close(self) -> None:
        run, self._run = self._run, None
        self._rest()
        if run is None:
            return
        try:
            await in_thread(lambda: run.end(FLUSH_S), "kafka-target-close")
        finally:
            run.lost = run.lost or NotConnected("closed")
            self._tell(run)
            self._fail_open(run, run.lost)

    # On a timer.

    def _poll(self) -> None:
        run = self._run
        if run is None:
            return
        run.producer.poll(0)
        self._tell(run)
        if run.is_down and not run.reports.open and run.lost is None:
            run.lost = run.why_down()
        if run.lost is not None:
            self._lose(run, run.lost)
        else:
            self._poll_in(BUSY_POLL_S if run.reports.open else IDLE_POLL_S)

    def _poll_in(self, seconds: float) -> None:
        self._rest()
        self._is_busy = seconds == BUSY_POLL_S
        self._timer = asyncio.get_running_loop().call_later(seconds, self._poll)

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._is_busy = False

    # Receipts.

    def _tell(self, run: Run) -> None:
        """Pass on what was reported; what says that the link is lost stays open."""
        delivered = run.reports.take_delivered()
        if delivered:
            run.is_down = False
            self._receipts.delivered(delivered)
        by_error: dict[tuple[type, str], tuple[RunnerError, list[Delivery]]] = {}
        for delivery, why in run.reports.take_failed():
            error = self._error(delivery, why) if isinstance(why, KafkaError) else why
            if isinstance(error, DeliveryFailed | DeliveryRefused):
                run.reports.close(delivery)
                group = by_error.setdefault((type(error), str(error)), (error, []))
                group[1].append(delivery)
            elif run.lost is None:
                run.lost = error
        for error, deliveries in by_error.values():
            self._receipts.failed(deliveries, error)

    def _error(self, delivery: Delivery, error: KafkaError) -> RunnerError:
        return faults.delivery_error(error, lambda: delivery.address in self._fixed)

    def _lose(self, run: Run, error: RunnerError) -> None:
        self._run = None
        self._rest()
        threading.Thread(target=run.end, name="kafka-target-lost", daemon=True).start()
        self._fail_open(run, error)
        self._receipts.lost(error)

    def _fail_open(self, run: Run, error: RunnerError) -> None:
        rest = list(run.reports.open)
        run.reports.open.clear()
        if rest:
            self._receipts.failed(rest, NotConnected(str(error)))

    # Addresses.

    def _place(self, address: str) -> Place:
        place = parse(address)
        if len(self._places) >= KNOWN_PLACES:
            self._places.clear()
        self._places[address] = place
        return place

    def _a_topic(self) -> str | None:
        """A topic to ask the brokers for, so that they need not list all."""
        for address in self._fixed:
            if "{{" not in address:
                try:
                    return parse(address).topic
                except DeliveryRefused as error:
                    raise Misconfigured(str(error)) from error
        return None


def _why(failure: Exception) -> KafkaError | RunnerError:
    """What a record failed of that the producer did not take."""
    if isinstance(failure, DeliveryRefused):
        return failure
    if isinstance(failure, KafkaException):
        error: KafkaError = failure.args[0]
        return error
    if isinstance(failure, BufferError):
        return DeliveryFailed("the producer's queue is full")
    if isinstance(failure, TypeError | ValueError):  # no UTF-8 can be made of it
        return DeliveryRefused(str(failure))
    raise failure
