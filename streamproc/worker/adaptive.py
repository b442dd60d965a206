"""How many requests an endpoint bears at once, found out from how long its answers take.

The limit grows while answers take no longer than usual, shrinks in the ratio by which they take
longer, and by a part at once when the endpoint says that it is overloaded. What is usual is
measured at a low limit, anew from time to time while answers are slow: else an endpoint that
is made slow by us would look like one that is slow by nature, and the other way round.
"""

from __future__ import annotations

import math

START = 16.0
TOLERANCE = 2.0  # answers may take so many times what is usual
SMOOTHING = 0.2
OVERLOADED = 0.7  # of the limit is left
MEASURED = 5  # samples that say what is usual
MEASURE_EVERY_S = 30.0
CALM_S = 0.1  # least time between two reductions for overload
OUTSTANDING = 16  # most samples that are being taken at once


class Adaptive:
    """``limit`` is at least 1 and at most *ceiling*. A refusal is no sample of latency."""

    def __init__(self, ceiling: int, now: float) -> None:
        self._ceiling = float(ceiling)
        self._limit = min(START, self._ceiling)
        self._usual_s = math.inf
        self._left = MEASURED  # samples still to be taken of what is usual
        self._skip = 0  # samples of before the limit was lowered to measure
        self._resume = self._limit  # the limit after measuring
        self._measure_at = now + MEASURE_EVERY_S
        self._calm_at = now

    @property
    def limit(self) -> int:
        return max(1, int(self._limit))

    def sample(self, latency_s: float, in_flight: int, now: float) -> None:
        """A request was answered after *latency_s*, when *in_flight* others were open."""
        if self._left:
            self._measure(latency_s)
            return
        self._usual_s = min(self._usual_s, latency_s)
        ratio = TOLERANCE * self._usual_s / latency_s if latency_s > 0 else 1.0
        if ratio < 1.0 and now >= self._measure_at:
            self._begin_measuring(now)
            return
        gradient = max(0.5, min(1.0, ratio))
        room = math.sqrt(self._limit) if 2 * in_flight >= self.limit else 0.0
        wanted = self._limit * gradient + room
        self._set(self._limit + SMOOTHING * (wanted - self._limit))

    def overloaded(self, now: float) -> None:
        """The endpoint refused for want of room, or failed."""
        if now >= self._calm_at:
            self._calm_at = now + max(CALM_S, min(self._usual_s, 10.0))
            self._set(self._limit * OVERLOADED)
            self._resume *= OVERLOADED

    def _begin_measuring(self, now: float) -> None:
        self._measure_at = now + MEASURE_EVERY_S
        self._resume = max(1.0, self._limit / 2)
        self._skip = OUTSTANDING
        self._left = MEASURED
        self._usual_s = math.inf
        self._set(self._limit / 4)

    def _measure(self, latency_s: float) -> None:
        if self._skip:
            self._skip -= 1
            return
        self._usual_s = min(self._usual_s, latency_s)
        self._left -= 1
        if not self._left:
            self._set(max(self._limit, self._resume))

    def _set(self, limit: float) -> None:
        self._limit = max(1.0, min(self._ceiling, limit))
