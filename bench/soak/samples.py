"""What was seen every few seconds, by process; and whether memory grew."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from bench.rig.proc import Sample

MINUTE_S = 60.0


@dataclass(frozen=True)
class Look:
    """One look at the service, *at* seconds after the load began."""

    at: float
    sample: Sample
    delivered: int


@dataclass(frozen=True)
class Growth:
    """Resident memory of one process after the first minute."""

    first_bytes: float  # median of the second minute
    last_bytes: float  # median of the last minute
    slope_bytes: float  # a minute, least squares over all looks

    @property
    def grown_bytes(self) -> float:
        return self.last_bytes - self.first_bytes


def roles(looks: Iterable[Look]) -> list[str]:
    """Every process that was seen, the first seen first."""
    found: dict[str, None] = {}
    for look in looks:
        found |= dict.fromkeys(look.sample.processes)
    return list(found)


def growth(looks: list[Look], role: str) -> Growth | None:
    """None where there is too little to say after the first minute."""
    points = [
        (look.at, look.sample.processes[role].rss_bytes)
        for look in looks
        if look.at >= MINUTE_S and role in look.sample.processes
    ]
    if len(points) < 2:
        return None
    end = points[-1][0]
    first = [rss for at, rss in points if at < 2 * MINUTE_S]
    last = [rss for at, rss in points if at > end - MINUTE_S]
    if not first or not last:
        return None
    slope, _ = statistics.linear_regression(*zip(*points, strict=True))
    return Growth(statistics.median(first), statistics.median(last), slope * MINUTE_S)
