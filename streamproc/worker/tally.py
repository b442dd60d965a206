"""Counts what became of deliveries, and tells whoever waits for their receipts.

A delivery is counted where its source message was read, so that the identity
``due = delivered + parked + returned + in flight`` holds in one place whatever a peer does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from streamproc.kernels.delivery import Delivery
from streamproc.kernels.settlement import receipts
from streamproc.protocol.acks import Wanted
from streamproc.telemetry import metrics
from streamproc.telemetry.slots import Block, Slot
from streamproc.worker.acks import spilled


class Tally:
    """Delivery counters of this worker, by connection and target."""

    def __init__(self, block: Block) -> None:
        self._block = block
        self._slots: dict[tuple[str, str, int, str], Slot] = {}

    def due(self, connection: str, target: int, count: int) -> None:
        """*count* deliveries were made."""
        self._slot(metrics.DELIVERIES_DUE, connection, target).add(count)
        self._slot(metrics.DELIVERIES_IN_FLIGHT, connection, target).add(count)

    def dropped(self, connection: str, target: int, cause: str, count: int) -> None:
        """*count* signals made no delivery, by rule."""
        self._slot(metrics.DELIVERIES_DROPPED, connection, target, cause).add(count)

    def retried(self, connection: str, deliveries: Sequence[Delivery], cause: str) -> None:
        """They will be written again; counted where the client lives."""
        for target, count in Counter(delivery.target for delivery in deliveries).items():
            self._slot(metrics.DELIVERIES_RETRIED, connection, target, cause).add(count)

    def delivered(self, connection: str, deliveries: Sequence[Delivery]) -> None:
        """The target has them: give the receipts."""
        own, peers = _receipts(deliveries)
        for target, count in own.items():
            self._slot(metrics.DELIVERIES_DELIVERED, connection, target).add(count)
            self._slot(metrics.DELIVERIES_IN_FLIGHT, connection, target).add(-count)
        for (inbound, client), numbers in peers.items():
            inbound.receipts(client, numbers)

    def spilled(self, connection: str, deliveries: Sequence[Delivery]) -> None:
        """They are durable on disk, which counts as a receipt."""
        spilled(deliveries)
        own, peers = _receipts(deliveries)
        for target, count in own.items():
            self._slot(metrics.DELIVERIES_SPILLED, connection, target).add(count)
            self._slot(metrics.DELIVERIES_IN_FLIGHT, connection, target).add(-count)
        for (inbound, client), numbers in peers.items():
            inbound.spilled(client, numbers)

    def spilled_again(self, connection: str, target: int) -> None:
        """A delivery that was parked is on disk. It was settled long ago: due once more."""
        self._slot(metrics.DELIVERIES_DUE, connection, target).add(1)
        self._slot(metrics.DELIVERIES_SPILLED, connection, target).add(1)

    def parked(self, connection: str, deliveries: Sequence[Delivery], cause: str) -> None:
        """They are kept with their reason, which counts as a receipt."""
        own, peers = _receipts(deliveries)
        for target, count in own.items():
            self._slot(metrics.DELIVERIES_PARKED, connection, target, cause).add(count)
            self._slot(metrics.DELIVERIES_IN_FLIGHT, connection, target).add(-count)
        for (inbound, client), numbers in peers.items():
            inbound.parked(client, numbers, cause)

    def _slot(self, metric: metrics.Metric, connection: str, target: int, cause: str = "") -> Slot:
        key = (metric.name, connection, target, cause)
        slot = self._slots.get(key)
        if slot is None:
            labels = {"connection": connection, "target": str(target)}
            if cause:
                labels["cause"] = cause
            make = self._block.gauge if metric.kind == "gauge" else self._block.counter
            slot = self._slots[key] = make(metric, **labels)
        return slot


def _receipts(
    deliveries: Sequence[Delivery],
) -> tuple[dict[int, int], dict[Any, list[int]]]:
    """Give the receipts; peers are told what they bring ahead of them."""
    acks: dict[Any, list[tuple[int, Wanted]]] = {}
    found = receipts(deliveries, acks)
    for (inbound, client), answers in acks.items():
        inbound.acknowledged(client, answers)
    return found
