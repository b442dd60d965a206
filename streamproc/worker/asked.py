"""Which acknowledgements a message waits for, and how it is settled by them.

What a label comes to is told by the delivery that brings it (``protocol.acks.Wanted``), which
keeps its message open until its end anyway. Only a label that nobody brings needs a clock.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Collection, Iterable

from streamproc.connectors.base import Verdict
from streamproc.kernels.delivery import Delivery
from streamproc.kernels.settlement import Entry, Window
from streamproc.protocol.acks import (
    MAX_PAYLOAD_BYTES,
    NO_CONTENT,
    WEAK,
    Acknowledgement,
    Aggregate,
    Answer,
    Request,
    Settlement,
    Wanted,
    aggregate,
    settlement,
)

LIVE_RESPONSE = "live-response"
PERSISTED = "twin-persisted"
TICK_S = 0.25
LEAST_WAIT_S = 1.0
"""A message that cannot have what it asks comes again no sooner: it may ask forever."""

_VERDICTS = {
    Settlement(settled=True, redeliver=False): Verdict.ACCEPT,
    Settlement(settled=False, redeliver=False): Verdict.REJECT,
    Settlement(settled=False, redeliver=True): Verdict.REDELIVER,
}
_NOT_FOR_IT = {
    "message": "Acknowledgement was issued automatically as weak ack, because the signal is not "
    "relevant for the subscriber. Possible reasons are: the subscriber was not authorized, or "
    "the signal does not match its filter."
}


class Asked:
    """What one message asked for. *implied*: a live response that it did not name."""

    __slots__ = ("_implied", "_labels", "_timeout_ms", "_wanted")

    def __init__(self, request: Request, *, implied: bool = False) -> None:
        self._labels = request.labels
        self._timeout_ms = request.timeout_ms
        self._implied = implied
        self._wanted: list[Wanted] = []

    def wants(self, label: str) -> bool:
        return label in self._labels

    def bring(self, label: str, delivery: Delivery) -> None:
        """*delivery* is to bring the acknowledgement of *label*."""
        delivery.wanted = self._want(label)

    def complete(self, issued: Collection[str]) -> bool:
        """All that is to be brought is known. *issued*: the labels that targets have.

        -> whether anything is asked.
        """
        brought = {wanted.label for wanted in self._wanted}
        if self._implied and LIVE_RESPONSE not in brought:
            return False  # nobody is there to answer, and the sender did not insist
        if PERSISTED in self._labels:
            self._want(PERSISTED).answered(NO_CONTENT)
        for label in self._labels:
            if label in issued and label not in brought and label != LIVE_RESPONSE:
                self._want(label).answered(WEAK, _NOT_FOR_IT)
        return True

    @property
    def wait_s(self) -> float | None:
        """How long to wait for labels that nobody here brings; None: there are none."""
        if len({wanted.label for wanted in self._wanted}) == len(self._labels):
            return None
        return max(LEAST_WAIT_S, self._timeout_ms / 1000)

    # Once every delivery has ended, and the wait is over.

    def result(self) -> Aggregate:
        return aggregate(self._labels, (w.receipt() for w in self._wanted), self._timeout_ms)

    def verdict(self, result: Aggregate) -> Verdict:
        """How the source is to settle the message."""
        kept = {wanted.label for wanted in self._wanted if wanted.kept}
        parts = tuple(_weight(ack, kept) for ack in result.acks)
        live = self._labels == (LIVE_RESPONSE,)
        return _VERDICTS[settlement([Answer(result.status, parts, live)], 1)]

    def _want(self, label: str) -> Wanted:
        wanted = Wanted(label, MAX_PAYLOAD_BYTES // len(self._labels))
        self._wanted.append(wanted)
        return wanted


def _weight(ack: Acknowledgement, kept: Collection[str]) -> int:
    """The status by which it is settled: what is parked is not to be sent again."""
    return 400 if ack.label in kept and ack.status >= 400 else ack.status


def spilled(deliveries: Iterable[Delivery]) -> None:
    """They are on disk, and will be delivered: accepted, and nobody knows yet how it ends."""
    for delivery in deliveries:
        if delivery.wanted is not None:
            delivery.wanted.answered(202, {"message": "kept on disk, and delivered later"})


def refused(deliveries: Iterable[Delivery], error: Exception) -> None:
    """They are parked because of *error*."""
    for delivery in deliveries:
        if delivery.wanted is not None:
            delivery.wanted.refused(error)


class Waits:
    """Messages that ask for what nobody brings, until their time is over. One clock for all."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Window, Entry]] = []
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._heap)

    def hold(self, window: Window, entry: Entry, wait_s: float) -> None:
        """Release *entry* in *wait_s*. It was told ``Window.ask`` to be held."""
        loop = asyncio.get_running_loop()
        self._count += 1
        heapq.heappush(self._heap, (loop.time() + wait_s, self._count, window, entry))
        if self._timer is None:
            self._timer = loop.call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._heap and self._heap[0][0] <= now:
            _, _, window, entry = heapq.heappop(self._heap)
            window.release([entry])
        self._timer = loop.call_later(TICK_S, self._tick) if self._heap else None
