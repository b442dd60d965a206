"""Drives the lanes of one client by its gate: tells it what happened, and does what it says.

Knows the clock, the timer and the deliveries that the gate does not know. Costs a batch of
receipts one look at the clock while the endpoint is well and no limit is set.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence, Set

from streamproc.errors import (
    DeliveryFailed,
    DeliveryRefused,
    EndpointGone,
    NotConnected,
    RunnerError,
)
from streamproc.kernels.delivery import Delivery
from streamproc.kernels.lanes import Lanes
from streamproc.worker.adaptive import OUTSTANDING
from streamproc.worker.gate import Gate, Rules, Standing, State, Trouble

BUSY_STATUS = 429
HOLDS: dict[State, str] = {"waiting": "retry_after", "broken": "breaker", "stopped": "gone"}
SHORTEST_WAIT_S = 0.001  # of a timer: it may fire early, by what it is coarse


class Pace:
    """*flying*: the deliveries in flight, as the outlet knows them. *wake*: take from the
    lanes soon. *changed*: the endpoint's standing has another word. *mended*: what failed may
    be tried at once.
    """

    def __init__(
        self,
        rules: Rules,
        lanes: Lanes,
        flying: Set[Delivery],
        *,
        wake: Callable[[], None],
        changed: Callable[[], None],
        mended: Callable[[], None],
    ) -> None:
        self._lanes = lanes
        self._capacity = lanes.capacity
        self._gate = Gate(rules, lanes.capacity, time.monotonic())
        self._flying = flying
        self._wake = wake
        self._changed = changed
        self._mended = mended
        self._stale: set[Delivery] = set()  # written before the endpoint was last shut
        self._samples: dict[Delivery, float] = {}  # when these were written
        self._timer: asyncio.TimerHandle | None = None
        self._said = self._gate.standing(0.0).state
        self._was_ill = False
        self._holds: Counter[str] = Counter()
        self._plain = False  # receipts of good deliveries need only be counted
        self.idle = self._gate.steady
        """Nothing restrains the lanes: ``steer`` need not be called."""

    @property
    def shut(self) -> bool:
        """Nothing goes now."""
        return not self.idle and self._gate.is_shut(time.monotonic())

    @property
    def limit(self) -> int:
        """Most deliveries in flight, as of now."""
        return self._lanes.capacity

    def standing(self) -> Standing:
        """How the endpoint stands; ``until`` in seconds since the epoch."""
        now = time.monotonic()
        found = self._gate.standing(now)
        if found.until is None:
            return found
        return found._replace(until=time.time() + found.until - now)

    def take_holds(self) -> Counter[str]:
        """How often requests were held, by cause, since this was asked last."""
        found, self._holds = self._holds, Counter()
        return found

    # What happens.

    def delivered(self, deliveries: Sequence[Delivery]) -> None:
        """The endpoint has them, or has refused them for good."""
        gate, now = self._gate, time.monotonic()
        count = len(deliveries)
        if self._plain:
            gate.answered(count, now)
            return
        if gate.has_retries:
            gate.retries_ended(sum(each.attempts > 1 for each in deliveries), 0, now)
        if self._stale:
            count = self._fresh(deliveries)
        if self._samples:
            self._take_samples(deliveries, now)
        if count:
            gate.answered(count, now)
        self._look()

    def failed(self, deliveries: Sequence[Delivery], error: RunnerError) -> None:
        """They were not taken."""
        gate, now = self._gate, time.monotonic()
        if isinstance(error, DeliveryRefused):
            if "status" in error.details:
                self.delivered(deliveries)
            elif gate.has_retries:  # it never came to the endpoint
                gate.retries_ended(sum(each.attempts > 1 for each in deliveries), 0, now)
            return
        unsent = "unsent" in error.details
        if gate.has_retries and unsent:  # that try was taken back: it costs nothing
            gate.retries_ended(sum(each.attempts >= 1 for each in deliveries), 0, now)
        elif gate.has_retries:
            gate.retries_ended(0, sum(each.attempts > 1 for each in deliveries), now)
        for each in self._samples.keys() & set(deliveries):
            del self._samples[each]
        fresh = self._fresh(deliveries) if self._stale else len(deliveries)
        jitter = random.random()  # noqa: S311 - spreads requests, keeps no secret
        if isinstance(error, EndpointGone):
            gate.stop(str(error))
        elif isinstance(error, DeliveryFailed) and error.retry_after_s is not None:
            gate.asked_to_wait(error.retry_after_s, str(error), now, jitter)
        elif fresh and not unsent:
            gate.failed(fresh, _trouble(error), str(error), now, jitter)
        if gate.is_shut(now) and not self._stale:
            self._stale = set(self._flying)
        self._look()

    def reopened(self) -> None:
        """The link was lost and is back."""
        self._stale.clear()
        self._gate.reopened()
        self._look()
        self._wake()

    def resume(self) -> None:
        """A person has acted: if it was stopped, try again."""
        if self._gate.standing(time.monotonic()).state == "stopped":
            self._gate.resume()
            self._look()
            self._mended()
            self._wake()

    # What may be done.

    def steer(self) -> None:
        """Set how many may be in flight. Call before deliveries are taken."""
        now = time.monotonic()
        allowed = self._gate.look(self._lanes.in_flight, len(self._stale), now)
        self._lanes.capacity = allowed.limit
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if allowed.again_at is not None:
            wait_s = max(SHORTEST_WAIT_S, allowed.again_at - now)
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._wake)
        self._look()

    def took(self, batch: Sequence[Delivery]) -> None:
        """*batch* is on its way. Call while not idle."""
        now = time.monotonic()
        self._plain = False
        self._gate.took(len(batch), now)
        if self._gate.is_adaptive and len(self._samples) < OUTSTANDING:
            self._samples[batch[0]] = now

    def retry_in(self) -> float:
        """Seconds until one more lane may be released for a retry; 0: now."""
        now = time.monotonic()
        return max(0.0, self._gate.retry_at(now) - now)

    def retried(self) -> None:
        """A lane is released for a retry."""
        self._plain = False
        self._gate.retried(time.monotonic())

    def close(self) -> None:
        """Forget the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        """Note what has changed, and tell those who want to know."""
        gate = self._gate
        self.idle = gate.steady and self._lanes.capacity == self._capacity
        self._plain = self.idle and not (gate.has_retries or self._stale or self._samples)
        if self._was_ill and not gate.is_ill:
            self._mended()
        self._was_ill = gate.is_ill
        state = gate.standing(time.monotonic()).state
        if state != self._said:
            self._said = state
            if state in HOLDS:
                self._holds[HOLDS[state]] += 1
            self._changed()

    def _fresh(self, deliveries: Sequence[Delivery]) -> int:
        """How many of them were written since the endpoint was last shut."""
        before = len(self._stale)
        self._stale.difference_update(deliveries)
        return len(deliveries) - (before - len(self._stale))

    def _take_samples(self, deliveries: Sequence[Delivery], now: float) -> None:
        for each in self._samples.keys() & set(deliveries):
            written = self._samples.pop(each)
            self._gate.latency(now - written, self._lanes.in_flight + len(deliveries), now)


def _trouble(error: RunnerError) -> Trouble:
    if isinstance(error, NotConnected):
        return Trouble.AWAY
    return Trouble.BUSY if error.details.get("status") == BUSY_STATUS else Trouble.ILL
