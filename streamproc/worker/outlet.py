"""The target side of one client: lanes in front, the connector behind, retries between.

Order: deliveries of equal key leave one after another; a retry holds its lane and no other.
Loss: a delivery leaves the lanes only when the target has it, or it is parked.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

from streamproc.config.service import Retry
from streamproc.connectors.base import Target
from streamproc.control import ClientState
from streamproc.errors import (
    DeliveryFailed,
    DeliveryPoisonous,
    DeliveryRefused,
    Misconfigured,
    NotConnected,
    RunnerError,
)
from streamproc.kernels.delivery import Delivery
from streamproc.kernels.lanes import Lane, Lanes
from streamproc.store.environment import StoreError
from streamproc.telemetry import events as tell
from streamproc.worker.crash import watch
from streamproc.worker.gate import Rules, Standing
from streamproc.worker.link import Link
from streamproc.worker.pace import Pace
from streamproc.worker.poison import POISONOUS, Place
from streamproc.worker.retry import spent, wait_s
from streamproc.worker.spill import Spill
from streamproc.worker.waiting import until

PARKING_FULL_WAIT_S = 5.0
NO_ROOM = DeliveryFailed("no room to park it")
_HELD = {"broken": "breaker open", "waiting": "left alone"}
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


@dataclass(frozen=True)
class SpillRule:
    """When a client's deliveries go to disk, and where. ``exists``: some are there already."""

    make: Callable[[Callable[[list[Delivery]], None]], Spill]  # raises StoreError
    exists: Callable[[], bool]
    begins: bool  # False: what is there is drained, and nothing more goes there
    after_s: float
    window: int  # deliveries in the lanes that count as pressure


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
            mended=self._hurry,
        )
        self._ledger = ledger
        self._place = place or Place("target")
        self._open = False
        self._pumping = False
        self._due: list[tuple[float, int, Lane]] = []  # heap: when, tie-break, lane
        self._due_count = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._waits_for_budget = False  # lanes are due, and there are too many retries
        self._stalled: list[Lane] = []  # wait for the link
        self._spill_rule = spill
        self._spill: Spill | None = None
        # Whether sources that feed this target feed others too. If not, back-pressure is the
        # better buffer: what waits stays with its broker.
        self.shares_sources = False
        self._pressure: asyncio.TimerHandle | None = None
        self._draining = False
        self._parking = 0  # batches that are being parked; their deliveries stay in flight
        self._empty = asyncio.Event()
        self._empty.set()
        self._lost = asyncio.Event()
        self._opener = watch(self._keep_open())

    @property
    def on_disk(self) -> tuple[int, int]:
        """Deliveries on disk, and their bytes."""
        return (0, 0) if self._spill is None else (self._spill.depth, self._spill.size_bytes)

    # What the dispatcher calls.

    def offer(self, deliveries: list[Delivery]) -> None:
        """Take *deliveries* in, in this order."""
        self._empty.clear()
        if self._spill is not None and self._spill.active:
            self._spill.take(deliveries)
        else:
            self.lanes.offer(deliveries, time.monotonic())
            self._look_at_pressure()
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
        if self._timer is not None:
            self._timer.cancel()
        if self._pressure is not None:
            self._pressure.cancel()
        self.pace.close()
        left = self.lanes.clear()
        if self._spill is not None:
            left += await self._spill.close(time.monotonic() + CLOSE_S)
        return left

    # Receipts, from the connector.

    def delivered(self, deliveries: Sequence[Delivery]) -> None:
        self._flying.difference_update(deliveries)
        self._hold(self.lanes.done(deliveries))
        self._ledger.delivered(deliveries)
        self.pace.delivered(deliveries)
        if self._waits_for_budget:  # a retry that succeeded gave back what it cost
            self._release_due()
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
        self._hold(self.lanes.done(deliveries[:count]))
        if count < len(deliveries):
            self._retry_later(deliveries[count:], NO_ROOM)
        self._pump_soon()

    def lost(self, error: RunnerError) -> None:
        self._open = False
        self.link.lost(error)
        self._lost.set()

    # Lanes that were held go again: after a wait, or when the link is back.

    def _retry_later(self, deliveries: list[Delivery], error: RunnerError) -> None:
        self._ledger.retried(deliveries, error)
        self._hold(self.lanes.failed(deliveries, error))

    def _hold(self, lanes: list[Lane]) -> None:
        for lane in lanes:
            error = lane.why
            if isinstance(error, NotConnected) and not self._open:
                self._stalled.append(lane)
            elif error is NO_ROOM:
                self._release_in(lane, PARKING_FULL_WAIT_S)
            else:
                self._release_in(lane, wait_s(self._retry, lane.attempts, error, _jitter()))

    def _release_in(self, lane: Lane, seconds: float) -> None:
        self._due_count += 1
        at = self._loop.time() + seconds
        heapq.heappush(self._due, (at, self._due_count, lane))
        self._arm()

    def _arm(self, not_before: float = 0.0) -> None:
        if not self._due:
            return
        at = max(not_before, self._due[0][0])
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_at(at, self._release_due)

    def _release_due(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._loop.time()
        budget_s = 0.0
        while self._due and self._due[0][0] <= now:
            budget_s = self.pace.retry_in()
            if budget_s > 0.0:
                break
            _, _, lane = heapq.heappop(self._due)
            self.pace.retried()
            self.lanes.release(lane)
        self._waits_for_budget = budget_s > 0.0
        self._arm(now + budget_s)
        self._pump_soon()

    def _hurry(self) -> None:
        """The endpoint is well again: no lane need wait for its turn to try."""
        now = self._loop.time()
        self._due = [(min(at, now), count, lane) for at, count, lane in self._due]
        heapq.heapify(self._due)
        self._arm()

    def _say(self) -> None:
        """Let people know how the endpoint stands."""
        if self._open and not self._draining:
            self.link.become(*_told(self.pace.standing()))

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
        self._look_at_pressure()
        spill = self._spill
        if spill is not None and self._open and not self._draining:
            spill.feed(max(READ_AHEAD, 2 * self._target.capacity) - len(self.lanes))
        if not len(self.lanes) and (spill is None or not spill.unwritten):
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

    # To disk, when the target does not keep up.

    def _look_at_pressure(self) -> None:
        rule = self._spill_rule
        if rule is None or not rule.begins or not self.shares_sources:
            return
        pressed = self._is_pressed(rule)
        if pressed and self._pressure is None:
            self._pressure = self._loop.call_later(rule.after_s, self._under_pressure, rule)
        elif not pressed and self._pressure is not None:
            self._pressure.cancel()
            self._pressure = None

    def _under_pressure(self, rule: SpillRule) -> None:
        self._pressure = None
        if self._is_pressed(rule):
            self._begin_spill(rule)

    def _is_pressed(self, rule: SpillRule) -> bool:
        """Whether the target does not keep up with what comes; what came from disk is not that."""
        count = len(self.lanes) - (0 if self._spill is None else self._spill.in_lanes)
        return count >= rule.window or (count > 0 and (not self._open or self.pace.shut))

    def _begin_spill(self, rule: SpillRule) -> None:
        if self._spill is None:
            try:
                self._spill = rule.make(self._from_disk)
            except StoreError as error:
                tell.spill_failed(str(error))
                return
        if not self._spill.active:
            shed = self.lanes.shed()
            self._spill.begin(shed, [*self._flying, *self.lanes.written()])

    def _from_disk(self, deliveries: list[Delivery]) -> None:
        self._empty.clear()
        self.lanes.offer(deliveries, time.monotonic())
        self._pump_soon()

    async def _open_spill(self) -> None:
        """What an earlier process left on disk goes before all that comes."""
        rule = self._spill_rule
        while rule is not None and self._spill is None and rule.exists():
            try:
                self._spill = rule.make(self._from_disk)
            except StoreError as error:
                tell.spill_failed(str(error))
                await asyncio.sleep(1.0)
        if self._spill is not None and self._spill.active:
            self._spill.take(self.lanes.shed())

    async def _keep_open(self) -> None:
        await self._open_spill()
        again = False
        while True:
            await self.link.open()
            self._lost.clear()
            self._open = True
            if again:
                self.pace.reopened()
            again = True
            self._say()
            stalled, self._stalled = self._stalled, []
            for lane in stalled:
                self.lanes.release(lane)
            self._pump_soon()
            await self._lost.wait()


def _told(standing: Standing) -> tuple[ClientState, RunnerError | None, float | None]:
    """The state of a link whose endpoint stands so, why, and until when."""
    until = standing.until
    if standing.state == "stopped":
        return "misconfigured", Misconfigured(f"stopped until a reload: {standing.why}"), None
    if until is None or standing.state not in _HELD:
        return "open", None, None
    clock = datetime.fromtimestamp(until, UTC).isoformat(timespec="seconds")
    text = f"{_HELD[standing.state]} until {clock}, because {standing.why}"
    return "held", DeliveryFailed(text), until


def _jitter() -> float:
    return random.random()  # noqa: S311 - spreads retries, keeps no secret
