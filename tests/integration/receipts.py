"""What a target says, noted, and patience to wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from streamproc.errors import RunnerError
from streamproc.kernels.delivery import Delivery

DEADLINE_S = 120.0


async def until(condition: Callable[[], object]) -> None:
    """Poll *condition* until it holds."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.01)


class Receipts:
    """Notes what the target says, and lets a test wait for it."""

    def __init__(self) -> None:
        self.good: list[Delivery] = []
        self.bad: list[tuple[Delivery, RunnerError]] = []
        self.losses: list[RunnerError] = []

    def delivered(self, deliveries: Sequence[Delivery]) -> None:
        self.good += deliveries

    def failed(self, deliveries: Sequence[Delivery], error: RunnerError) -> None:
        self.bad += [(delivery, error) for delivery in deliveries]

    def lost(self, error: RunnerError) -> None:
        self.losses.append(error)

    @property
    def count(self) -> int:
        return len(self.good) + len(self.bad)
