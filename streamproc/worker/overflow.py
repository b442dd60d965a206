"""What waits for one client goes to disk when its target does not keep up, and comes back.

This decides when; ``spill.py`` does it. Deliveries that come while some are on disk go behind
them. Where its sources feed no other target nothing goes to disk: what waits stays with the
broker.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from streamproc.kernels.delivery import Delivery
from streamproc.kernels.lanes import Lanes
from streamproc.store.environment import StoreError
from streamproc.telemetry import events as tell
from streamproc.worker.spill import Spill

OPEN_AGAIN_S = 1.0


@dataclass(frozen=True)
class SpillRule:
    """When a client's deliveries go to disk, and where. ``exists``: some are there already."""

    make: Callable[[Callable[[list[Delivery]], None]], Spill]  # raises StoreError
    exists: Callable[[], bool]
    begins: bool  # False: what is there is drained, and nothing more goes there
    after_s: float
    window: int  # deliveries in the lanes that count as pressure


class Overflow:
    """*flying*: the deliveries in flight. *shut*: whether nothing goes to the target now.
    *out*: takes what comes back from disk, maybe nothing, and then calls ``feed``.
    """

    def __init__(
        self,
        rule: SpillRule | None,
        lanes: Lanes,
        flying: Collection[Delivery],
        *,
        shut: Callable[[], bool],
        out: Callable[[list[Delivery]], None],
    ) -> None:
        self._rule = rule
        self._lanes = lanes
        self._flying = flying
        self._shut = shut
        self._out = out
        self._spill: Spill | None = None
        self._timer: asyncio.TimerHandle | None = None  # runs while there is pressure
        self.shares_sources = False

    @property
    def on_disk(self) -> tuple[int, int]:
        """Deliveries on disk, and their bytes."""
        return (0, 0) if self._spill is None else (self._spill.depth, self._spill.size_bytes)

    @property
    def unwritten(self) -> bool:
        """Whether something waits to be brought to disk."""
        return self._spill is not None and self._spill.unwritten

    async def open(self) -> None:
        """What an earlier process left on disk goes before all that comes."""
        rule = self._rule
        while rule is not None and self._spill is None and rule.exists():
            self._spill = self._made(rule)
            if self._spill is None:
                await asyncio.sleep(OPEN_AGAIN_S)
        if self._spill is not None and self._spill.active:
            self._spill.take(self._lanes.shed())

    def took(self, deliveries: list[Delivery]) -> bool:
        """Whether *deliveries* must go behind what is on disk; they then do."""
        if self._spill is None or not self._spill.active:
            return False
        self._spill.take(deliveries)
        return True

    def feed(self, room: int) -> None:
        """The lanes can do with *room* more."""
        if self._spill is not None:
            self._spill.feed(room)

    def look(self) -> None:
        """Note whether the target keeps up. Call when the lanes have changed."""
        rule = self._rule
        if rule is None or not rule.begins or not self.shares_sources:
            return
        pressed = self._is_pressed(rule)
        if pressed and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(rule.after_s, self._under_pressure, rule)
        elif not pressed and self._timer is not None:
            self.stop()

    def stop(self) -> None:
        """Let nothing more begin to go to disk."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def close(self, seconds: float) -> list[Delivery]:
        """Let another worker have what is on disk, within *seconds*. -> what is not, in order."""
        return [] if self._spill is None else await self._spill.close(time.monotonic() + seconds)

    def _under_pressure(self, rule: SpillRule) -> None:
        self._timer = None
        if not self._is_pressed(rule):
            return
        if self._spill is None:
            self._spill = self._made(rule)
        if self._spill is not None and not self._spill.active:
            shed = self._lanes.shed()
            self._spill.begin(shed, [*self._flying, *self._lanes.written()])

    def _is_pressed(self, rule: SpillRule) -> bool:
        """Whether the target does not keep up with what comes; what came from disk is not that."""
        count = len(self._lanes) - (0 if self._spill is None else self._spill.in_lanes)
        return count >= rule.window or (count > 0 and self._shut())

    def _made(self, rule: SpillRule) -> Spill | None:
        try:
            return rule.make(self._out)
        except StoreError as error:
            tell.spill_failed(str(error))
            return None
