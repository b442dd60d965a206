"""How much later a message arrives because it goes through the service.

    python -m bench.latency --json bench/results/latency.json

Source -> enforce, map, filter -> target in one worker, from Kafka to Kafka and from RabbitMQ to
RabbitMQ, beside the way through the broker alone (device -> broker -> ear): both at the same
time at the quiet rate, in turns of some seconds at half load. Half load is half of what went
through in a burst, in the same run, with devices and ears on the same machine.

A message through the service takes the broker's way twice. What is added is the difference of
percentiles: of the ages through the service, and of the sums of two ages through the broker
alone, drawn by chance. On a machine that others use read p10: what waits for a core is not in it.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.e2e.setup import TARGET
from bench.latency.ends import Device, Heard, shout, speak
from bench.latency.roads import ROADS, Road
from bench.rig.facts import facts, line
from bench.rig.proc import machine_busy_s
from bench.rig.report import table, write
from tests.e2e.service import Service

QUIET_RATE = 20.0
BURST = 30_000
WARM_UP_S = 3.0
SETTLE_S = 0.3  # of a turn: not measured
PERCENTS = {"p10": 10, "p50": 50, "p90": 90, "p99": 99}


@dataclass
class Phase:
    """What was sent while it lasted counts. Nanoseconds."""

    load: str
    way: str
    begun: int
    ended: int


def main() -> int:
    """0: measured; an exception: not."""
    options = _parser().parse_args()
    found = facts()
    print(line(found), flush=True)
    rows = [row for kind in options.roads for row in _measure(kind, options)]
    print(_shown(rows))
    after = [round(load, 2) for load in os.getloadavg()]
    print("load average after", *after)
    if options.json is not None:
        write(
            options.json,
            {"bench": "latency", "facts": found, "rows": rows, "load_average_after": after},
        )
    return 0


def _measure(kind: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    with ROADS[kind]() as road, tempfile.TemporaryDirectory() as folder:
        service = Service(Path(folder), road.config)
        with service, road.ears() as ears:
            service.start()
            device = road.device()
            sent = speak(device, _places(road), QUIET_RATE, WARM_UP_S)
            top = _burst(service, road, device)
            busy, began = machine_busy_s(), time.monotonic()
            phases, counts = _phases(road, device, options, options.half or top / 2)
            busy_cores = (machine_busy_s() - busy) / (time.monotonic() - began)
            counts = {way: count + sent for way, count in counts.items()}
            counts["service"] += BURST
            heard = {way: ear.heard(counts[way]) for way, ear in ears.items()}
    return [
        {"road": kind, "load": load, "rate": round(rate), "busy_cores": round(busy_cores, 2)}
        | _figures([phase for phase in phases if phase.load == load], heard)
        for load, rate in (("quiet", QUIET_RATE), ("half", options.half or top / 2))
    ]


def _burst(service: Service, road: Road, device: Device) -> float:
    """-> messages a second that went through when there were more than enough."""

    def through() -> int:
        return service.metric("deliveries_delivered_total", TARGET)

    before, began = through(), time.monotonic()
    shout(device, road.ways["service"][0], BURST)
    service.eventually(lambda: through() >= before + BURST, "all of the burst through")
    return BURST / (time.monotonic() - began)


def _places(road: Road) -> list[str]:
    return [into for into, _ in road.ways.values()]


def _phases(
    road: Road, device: Device, options: argparse.Namespace, half: float
) -> tuple[list[Phase], dict[str, int]]:
    """-> what was done when, and how many were sent each way."""
    phases: list[Phase] = []
    counts = dict.fromkeys(road.ways, 0)

    def phase(load: str, ways: Sequence[str], rate: float, seconds: float) -> None:
        begun = time.monotonic_ns()
        sent = speak(device, [road.ways[way][0] for way in ways], rate, seconds)
        for way in ways:
            counts[way] += sent
            kept = begun + int(SETTLE_S * 1e9)
            phases.append(Phase(load, way, kept, time.monotonic_ns()))

    for _ in range(options.turns):
        phase("quiet", list(road.ways), QUIET_RATE, options.seconds / options.turns)
        for way in road.ways:
            phase("half", [way], half, options.half_seconds / options.turns)
            time.sleep(SETTLE_S)
    return phases, counts


def _figures(phases: list[Phase], heard: dict[str, list[Heard]]) -> dict[str, Any]:
    """Ages in ms of all turns together, and the 99th percentile of the turn in the middle."""
    turns: dict[str, list[list[float]]] = {way: [] for way in heard}
    for phase in phases:
        turns[phase.way].append(
            [
                (came - sent) / 1e6
                for sent, came in heard[phase.way]
                if phase.begun <= sent < phase.ended
            ]
        )
    chance = random.Random(1)
    twice = [
        [one + chance.choice(turn) for one in chance.sample(turn, len(turn))]
        for turn in turns["broker"]
    ]
    own, through = _percentiles(twice), _percentiles(turns["service"])
    return {
        "samples": sum(map(len, turns["service"])),
        "broker": _percentiles(turns["broker"]),
        "twice": own,
        "service": through,
        "added": {name: through[name] - own[name] for name in own},
    }


def _percentiles(turns: list[list[float]]) -> dict[str, float]:
    def cuts(ages: list[float]) -> list[float]:
        return statistics.quantiles(ages, n=100, method="inclusive")

    together = cuts([age for turn in turns for age in turn])
    found = {name: together[percent - 1] for name, percent in PERCENTS.items()}
    return found | {"p99 of a turn": statistics.median(cuts(turn)[98] for turn in turns)}


def _shown(rows: list[dict[str, Any]]) -> str:
    shown: list[list[object]] = [
        ["road", "messages/s", "samples", "ms", *PERCENTS, "p99 of the middle turn"]
    ]
    for row in rows:
        shown += [
            [row["road"], row["rate"], row["samples"], what]
            + [round(value, 2) for value in row[what].values()]
            for what in ("broker", "twice", "service", "added")
        ]
    return table(shown)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.latency",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--roads", nargs="+", choices=list(ROADS), default=list(ROADS))
    parser.add_argument("--half", type=float, help="messages a second, in place of half a burst's")
    parser.add_argument("--seconds", type=float, default=40.0, help="at the quiet rate, each road")
    parser.add_argument("--half-seconds", type=float, default=10.0, help="at half load, each way")
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--json", type=Path, help="write the figures there")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
