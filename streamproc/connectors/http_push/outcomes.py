"""What became of deliveries, gathered, and told once per iteration of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from streamproc.connectors.base import Receipts
from streamproc.errors import RunnerError
from streamproc.kernels.delivery import Delivery


class Outcomes:
    """Successes are told first, then failures, alike ones together, then that the link is lost."""

    def __init__(self, receipts: Receipts) -> None:
        self._receipts = receipts
        self._delivered: list[Delivery] = []
        self._failed: list[tuple[Delivery, RunnerError]] = []
        self._lost: RunnerError | None = None
        self.is_telling = False  # soon: the lanes have not heard of all of it yet

    def delivered(self, delivery: Delivery) -> None:
        """The endpoint has it."""
        self._delivered.append(delivery)
        if not self.is_telling:
            self._tell_soon()

    def failed(self, deliveries: Sequence[Delivery], error: RunnerError) -> None:
        """None of *deliveries* is known to have arrived."""
        if deliveries:
            self._failed.extend((delivery, error) for delivery in deliveries)
            self._tell_soon()

    def lost(self, error: RunnerError) -> None:
        """There is no link any more."""
        self._lost = error
        self._tell_soon()

    def tell(self) -> None:
        """All of it, now."""
        self.is_telling = False
        delivered, self._delivered = self._delivered, []
        failed, self._failed = self._failed, []
        lost, self._lost = self._lost, None
        if delivered:
            self._receipts.delivered(delivered)
        if failed:
            for deliveries, error in _alike(failed):
                self._receipts.failed(deliveries, error)
        if lost is not None:
            self._receipts.lost(lost)

    def _tell_soon(self) -> None:
        if not self.is_telling:
            self.is_telling = True
            asyncio.get_running_loop().call_soon(self.tell)


def _alike(
    failed: Sequence[tuple[Delivery, RunnerError]],
) -> list[tuple[list[Delivery], RunnerError]]:
    """Those that failed in the same way, together, in the order in which the ways came up."""
    ways: dict[tuple[object, ...], tuple[list[Delivery], RunnerError]] = {}
    for delivery, error in failed:
        way = (type(error), str(error), getattr(error, "retry_after_s", None))
        ways.setdefault(way, ([], error))[0].append(delivery)
    return list(ways.values())
