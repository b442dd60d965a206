"""The ledger: what the service counted, what the receiver counted, and whether they agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from streamproc.telemetry import metrics as m
from streamproc.telemetry.metrics import Metric
from streamproc.telemetry.readings import Reader

ENFORCEMENT = "connectivity:connection.id.enforcement.failed"


@dataclass(frozen=True)
class Service:
    """What the service has counted, over all its workers."""

    received: int
    accepted: int
    rejected: int  # by enforcement
    rejected_otherwise: int
    filtered: int
    unsettled: int
    due: int
    delivered: int
    retried: int
    parked: int
    returned: int
    in_flight: int


def service(readers: list[Reader]) -> Service:
    """Read the metrics of all workers; they may be counting, or may have ended."""
    sums: dict[Metric, float] = {}
    by_enforcement = 0.0
    for reader in readers:
        values = reader.refresh()
        for metric, labels, at in reader.rows:
            if metric.kind == "histogram" or at >= len(values):
                continue
            sums[metric] = sums.get(metric, 0.0) + values[at]
            if metric is m.MESSAGES_REJECTED and labels[-1] == ENFORCEMENT:
                by_enforcement += values[at]

    def total(metric: Metric) -> int:
        return round(sums.get(metric, 0.0))

    return Service(
        received=total(m.MESSAGES_RECEIVED),
        accepted=total(m.MESSAGES_ACCEPTED),
        rejected=round(by_enforcement),
        rejected_otherwise=total(m.MESSAGES_REJECTED) - round(by_enforcement),
        filtered=total(m.SIGNALS_FILTERED),
        unsettled=total(m.MESSAGES_IN_FLIGHT),
        due=total(m.DELIVERIES_DUE),
        delivered=total(m.DELIVERIES_DELIVERED),
        retried=total(m.DELIVERIES_RETRIED),
        parked=total(m.DELIVERIES_PARKED),
        returned=total(m.DELIVERIES_RETURNED),
        in_flight=total(m.DELIVERIES_IN_FLIGHT),
    )


@dataclass(frozen=True)
class Ledger:
    """Both books. ``lines`` to print; ``problems`` is empty when they balance."""

    service: Service
    receiver: Mapping[str, Any]  # GET /ledger

    @property
    def lost(self) -> int:
        """Due, neither parked nor in flight, and yet the receiver has not seen it."""
        s = self.service
        return s.due - s.parked - s.in_flight - int(self.receiver["unique"])

    def lines(self) -> list[tuple[str, int]]:
        s, r = self.service, self.receiver
        lines = [
            ("generated", s.received),
            ("accepted", s.accepted),
            ("rejected by enforcement", s.rejected),
        ]
        if s.rejected_otherwise:
            lines.append(("rejected otherwise", s.rejected_otherwise))
        return [
            *lines,
            ("filtered", s.filtered),
            ("due", s.due),
            ("delivered", s.delivered),
            ("parked", s.parked),
            ("in flight", s.in_flight),
            ("lost", self.lost),
            ("duplicated", int(r["duplicated"])),
            ("out of order", int(r["out_of_order"])),
        ]

    def problems(self) -> list[str]:
        """What does not add up, a sentence each."""
        s, r = self.service, self.receiver
        checks = [
            (s.received == 0, "nothing was generated"),
            (
                s.received != s.accepted + s.rejected + s.rejected_otherwise,
                "generated is not accepted + rejected",
            ),
            (s.accepted < s.filtered, "more was filtered than accepted"),
            (
                s.due != s.delivered + s.parked + s.returned + s.in_flight,
                "due is not delivered + parked + in flight",
            ),
            (s.unsettled != 0, f"{s.unsettled} messages were not settled"),
            (s.in_flight != 0, f"{s.in_flight} deliveries were still in flight"),
            (s.returned != 0, f"{s.returned} deliveries were given up by a worker"),
            (
                s.delivered != r["unique"],
                f"the service delivered {s.delivered}, the receiver has {r['unique']}",
            ),
            (self.lost != 0, f"{self.lost} deliveries were lost"),
            (r["out_of_order"] != 0, f"{r['out_of_order']} came out of order"),
            (
                r["forbidden"] != 0,
                f"{r['forbidden']} messages of intruders reached the receiver",
            ),
            (r["unreadable"] != 0, f"{r['unreadable']} requests were not what was sent"),
        ]
        return [text for failed, text in checks if failed]
