"""The target side of one client: lanes in front, the connector behind, retries between.

Order: deliveries of equal key leave one after another; a retry holds its lane and no other.
Loss: a delivery leaves the lanes only when the target has it, or it is parked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol

from streamproc.config.service import Retry
from streamproc.connectors.base import Target
from streamproc.errors import (
    DeliveryFailed,
    DeliveryPoisonous,
    DeliveryRefused,
    RunnerError,
)
from streamproc.kernels.delivery import Delivery
from streamproc.kernels.lanes import Lanes
from streamproc.worker.crash import watch
from streamproc.worker.gate import Rules
from streamproc.worker.link import Link
from streamproc.worker.overflow import Overflow, SpillRule
from streamproc.worker.pace import Pace
from streamproc.worker.poison import POISONOUS, Place
from streamproc.worker.retries import NO_ROOM, Retries
from streamproc.worker.retry import spent
from streamproc.worker.standing import told
from streamproc.worker.waiting import until

READ_AHEAD = 500  # deliveries from disk that wait in the lanes
CLOSE_S = 10.0


class Ledger(Protocol):
    """Who is told what became of deliveries."""

    def delivered(self, deliveries: Sequence[Delivery]) -> None:
        """The target has them."""

    def retried(self, deliveries: Sequence[Delivery], error: RunnerError) -> None:
        """They will be written again."""

    def park(
        self, deliveries: Sequence[Delivery], error: RunnerError, then: Callable[[int], None]
    ) -> None:
        """Keep them for good, with the reason; *then* is told how many, from the first on,
        found room, and are safe.
        """


class Outlet:
    """Implements ``Receipts`` for its target.

    ``make``: builds the connector with this object as its receipts. ``rules``: those of an
    endpoint; without them it is bounded by its capacity alone.
    """

    def __init__(
        self,
        make: Callable[[Outlet], Target],
        *,
        depth: int,
        retry: Retry,
        ledger: Ledger,
        changed: Callable[[], None],
        spill: SpillRule | None = None,
        ordered: bool = True,
        place: Place | None = None,
        rules: Rules | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._target = make(self)
        self.lanes = Lanes(self._target.capacity, depth, ordered)
        self.link = Link("target", self._target.open, self._target.close, changed)
        self._retry = retry
        self._flying: set[Delivery] = set()  # written and without receipt
        self.pace = Pace(
            rules or Rules(retry=retry),
            self.lanes,
            self._flying,
            wake=self._pump_soon,
            changed=self._say,
            mended=lambda: self._retries.hurry(),
        )
        self._retries = Retries(self.lanes, retry, self.pace, self._pump_soon)
        self._ledger = ledger
        self._place = place or Place("target")
        self._open = False
        self._pumping = False
        self._overflow = Overflow(
            spill,
            self.lanes,
            self._flying,
            shut=lambda: not self._open or self.pace.shut,
            out=self._from_disk,
        )
        self._draining = False
        self._parking = 0  # batches that are being parked; their deliveries stay in flight
        self._empty = asyncio.Event()
        self._empty.set()
        self._lost = asyncio.Event()
        self._opener = watch(self._keep_open())

    @property
    def on_disk(self) -> tuple[int, int]:
        """Deliveries on disk, and their bytes."""
        return self._overflow.on_disk

    @property
    def shares_sources(self) -> bool:
        """Whether sources that feed this target feed others too: only then it may spill."""
        return self._overflow.shares_sources

    @shares_sources.setter
    def shares_sources(self, shares: bool) -> None:
        self._overflow.shares_sources = shares

    # What the dispatcher calls.

    def offer(self, deliveries: list[Delivery]) -> None:
        """Take *deliveries* in, in this order."""
        self._empty.clear()
        if not self._overflow.took(deliveries):
            self.lanes.offer(deliveries, time.monotonic())
            self._overflow.look()
        self._pump_soon()

    async def drain(self, deadline_s: float) -> None:
        """Wait until nothing is left here, at most *deadline_s*."""
        self._draining = True
        self.link.become("draining")
        with suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                await self._empty.wait()

    async def close(self) -> list[Delivery]:
        """Let go of the link. -> what was not delivered, in order."""
        self._open = False
        self._opener.cancel()
        with suppress(asyncio.CancelledError):
            await self._opener
        await self.link.let_go()
        await until(lambda: self._parking == 0, time.monotonic() + CLOSE_S)
        self._retries.close()
        self._overflow.stop()
        self.pace.close()
        left = self.lanes.clear()
        return left + await self._overflow.close(CLOSE_S)

    # Receipts, from the connector.

    def delivered(self, deliveries: Sequence[Delivery]) -> None:
        self._flying.difference_update(deliveries)
        self._done(deliveries)
        self._ledger.delivered(deliveries)
        self.pace.delivered(deliveries)
        self._retries.delivered()
        self._pump_soon()

    def failed(self, deliveries: Sequence[Delivery], error: RunnerError) -> None:
        self._flying.difference_update(deliveries)
        self.pace.failed(deliveries, error)
        now = time.monotonic()
        refused = isinstance(error, DeliveryRefused)
        final: list[Delivery] = []
        again: list[Delivery] = []
        for delivery in deliveries:
            over = refused or spent(self._retry, delivery.attempts, now - delivery.born)
            (final if over else again).append(delivery)
        if final:
            self._park(final, error)
        if again:
            self._retry_later(again, error)
        self._pump_soon()

    def _park(self, deliveries: list[Delivery], error: RunnerError) -> None:
        self._parking += 1
        self._ledger.park(deliveries, error, partial(self._parked, deliveries))

    def _parked(self, deliveries: list[Delivery], count: int) -> None:
        self._parking -= 1
        self._done(deliveries[:count])
        if count < len(deliveries):
            self._retry_later(deliveries[count:], NO_ROOM)
        self._pump_soon()

    def lost(self, error: RunnerError) -> None:
        self._open = False
        self.link.lost(error)
        self._lost.set()

    def _done(self, deliveries: Sequence[Delivery]) -> None:
        held = self.lanes.done(deliveries)
        if held:
            self._retries.hold(held, self._open)

    def _retry_later(self, deliveries: list[Delivery], error: RunnerError) -> None:
        self._ledger.retried(deliveries, error)
        self._retries.hold(self.lanes.failed(deliveries, error), self._open)

    def _say(self) -> None:
        """Let people know how the endpoint stands."""
        if self._open and not self._draining:
            self.link.become(*told(self.pace.standing()))

    # Writing.

    def _pump_soon(self) -> None:
        if not self._pumping:
            self._pumping = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pumping = False
        if self._open:
            pace = self.pace
            if not pace.idle:
                pace.steer()
            batch = self.lanes.take()
            if batch and self._retry.max_age_s is not None:
                batch = self._in_time(batch, self._retry.max_age_s)
            if batch:
                self._flying.update(batch)
                if not pace.idle:
                    pace.took(batch)
                self._write(batch)
        overflow = self._overflow
        overflow.look()
        if self._open and not self._draining:
            overflow.feed(max(READ_AHEAD, 2 * self._target.capacity) - len(self.lanes))
        if not len(self.lanes) and not overflow.unwritten:
            self._empty.set()

    def _in_time(self, batch: list[Delivery], max_age_s: float) -> list[Delivery]:
        """Those of *batch* that may still be sent; the others are parked unsent."""
        since = time.monotonic() - max_age_s
        late = [delivery for delivery in batch if delivery.born <= since]
        if late:
            for delivery in late:
                delivery.attempts -= 1
            self._park(late, DeliveryFailed(f"older than its deadline of {max_age_s:g} s"))
            batch = [delivery for delivery in batch if delivery.born > since]
            self._pump_soon()  # in their place others may go
        return batch

    def _write(self, batch: list[Delivery]) -> None:
        place = self._place
        if place.suspect is None:
            place.enter()
            self._target.write(batch)
            place.leave()
            return
        for delivery in batch:  # one of them may be what workers die of
            if place.admits(delivery.payload, {"address": delivery.address, "key": delivery.key}):
                self._target.write([delivery])
                place.went_well()
            else:
                self.failed([delivery], DeliveryPoisonous(POISONOUS))

    def _from_disk(self, deliveries: list[Delivery]) -> None:
        self._empty.clear()
        self.lanes.offer(deliveries, time.monotonic())
        self._pump_soon()

    # The link.

    async def _keep_open(self) -> None:
        await self._overflow.open()
        again = False
        while True:
            await self.link.open()
            self._lost.clear()
            self._open = True
            if again:
                self.pace.reopened()
            again = True
            self._say()
            self._retries.reopened()
            self._pump_soon()
            await self._lost.wait()
