"""Which acknowledgements a message waits for, and how it is settled by them.

What a label comes to is told by the delivery that brings it (``protocol.acks.Wanted``), which
keeps its message open until its end anyway. A label that nobody here issues is answered at once:
to wait would let one sender fill a window, and to ask again would never end.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from streamproc.connectors.base import Verdict
from streamproc.kernels.delivery import Delivery
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
NOBODY = 404

_VERDICTS = {
    Settlement(settled=True, redeliver=False): Verdict.ACCEPT,
    Settlement(settled=False, redeliver=False): Verdict.REJECT,
    Settlement(settled=False, redeliver=True): Verdict.REDELIVER,
}
_NOBODYS = {"message": "No target here issues this acknowledgement."}
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
            if label in brought or label == PERSISTED:
                continue
            if label in issued and label != LIVE_RESPONSE:
                self._want(label).answered(WEAK, _NOT_FOR_IT)
            else:
                self._want(label).answered(NOBODY, _NOBODYS)
        return True

    # Once every delivery has ended.

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
