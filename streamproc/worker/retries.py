"""Lanes that are held after a failure: each goes again when its wait is over, or its link back."""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Callable, Iterable

from streamproc.config.service import Retry
from streamproc.errors import DeliveryFailed, NotConnected
from streamproc.kernels.lanes import Lane, Lanes
from streamproc.worker.pace import Pace
from streamproc.worker.retry import wait_s

PARKING_FULL_WAIT_S = 5.0
NO_ROOM = DeliveryFailed("no room to park it")


class Retries:
    """*wake*: lanes were released, take from them soon."""

    def __init__(self, lanes: Lanes, retry: Retry, pace: Pace, wake: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._lanes = lanes
        self._retry = retry
        self._pace = pace
        self._wake = wake
        self._due: list[tuple[float, int, Lane]] = []  # heap: when, tie-break, lane
        self._due_count = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._waits_for_budget = False  # lanes are due, and there are too many retries
        self._stalled: list[Lane] = []  # wait for the link

    def hold(self, lanes: Iterable[Lane], is_open: bool) -> None:
        """*lanes* await their release. *is_open*: the link."""
        for lane in lanes:
            error = lane.why
            if isinstance(error, NotConnected) and not is_open:
                self._stalled.append(lane)
            elif error is NO_ROOM:
                self._release_in(lane, PARKING_FULL_WAIT_S)
            else:
                self._release_in(lane, wait_s(self._retry, lane.attempts, error, _jitter()))

    def reopened(self) -> None:
        """The link is there: what waited for it goes."""
        stalled, self._stalled = self._stalled, []
        for lane in stalled:
            self._lanes.release(lane)

    def delivered(self) -> None:
        """A retry may have succeeded, and given back what it cost."""
        if self._waits_for_budget:
            self._release_due()

    def hurry(self) -> None:
        """The endpoint is well again: no lane need wait for its turn to try."""
        now = self._loop.time()
        self._due = [(min(at, now), count, lane) for at, count, lane in self._due]
        heapq.heapify(self._due)
        self._arm()

    def close(self) -> None:
        """Forget the timer."""
        if self._timer is not None:
            self._timer.cancel()

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
            budget_s = self._pace.retry_in()
            if budget_s > 0.0:
                break
            _, _, lane = heapq.heappop(self._due)
            self._pace.retried()
            self._lanes.release(lane)
        self._waits_for_budget = budget_s > 0.0
        self._arm(now + budget_s)
        self._wake()


def _jitter() -> float:
    return random.random()  # noqa: S311 - spreads retries, keeps no secret
