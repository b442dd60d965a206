"""How much later a message arrives because it goes through the service.

    python -m bench.latency

Kafka -> enforce, map, filter -> Kafka in one worker, beside the way through the broker alone
(device -> topic -> ear), at the same rates and in the same run. A message through the service
takes the broker's way twice, so what is added is its age less twice the broker's.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from bench.e2e.__main__ import BENCH_BROKER, BENCH_JVM
from bench.e2e.setup import OUT_TOPIC, TARGET, TOPIC, config
from bench.latency.ends import Ear, speak
from bench.rig.facts import facts, line
from bench.rig.report import table, write
from tests.brokers.kafka import Kafka
from tests.e2e.service import Service

DIRECT = "direct"
WARM_UP_S = 3.0
QUIET_RATE = 20.0


def main() -> int:
    """0: measured; 1: not."""
    options = _parser().parse_args()
    found = facts()
    print(line(found), flush=True)
    with tempfile.TemporaryDirectory() as folder, Kafka(BENCH_BROKER, jvm=BENCH_JVM) as kafka:
        for topic in (TOPIC, f"{OUT_TOPIC}-0", DIRECT):
            kafka.create_topic(topic, options.partitions)
        service = Service(
            Path(folder),
            config(
                target="kafka",
                workers=1,
                source_clients=1,
                target_clients=1,
                parallelism=64,
                kafka=kafka.bootstrap,
            ),
        )
        with service:
            service.start()
            rows = [_measure(kafka, service, rate, options.seconds) for rate in options.rates]
    print(_shown(rows))
    print("load average", " ".join(f"{load:.2f}" for load in os.getloadavg()))
    if options.json is not None:
        write(options.json, {"bench": "latency", "facts": found, "rates": rows})
    return 0


def _measure(kafka: Kafka, service: Service, rate: float, seconds: float) -> dict[str, Any]:
    direct = _ages(kafka, DIRECT, DIRECT, rate, seconds)
    through = _ages(kafka, TOPIC, f"{OUT_TOPIC}-0", rate, seconds)
    service.eventually(lambda: not service.metric("deliveries_in_flight", TARGET), "at rest")
    added = {name: through[name] - 2 * direct[name] for name in through}
    return {"rate": rate, "broker": direct, "service": through, "added": added}


def _ages(kafka: Kafka, into: str, out: str, rate: float, seconds: float) -> dict[str, float]:
    """Percentiles, in ms, of what was sent after the warm-up."""
    with Ear(kafka.bootstrap, out) as ear:
        count = speak(kafka.bootstrap, into, rate, WARM_UP_S + seconds)
        ages = ear.ages_us(count)
    kept = ages[int(rate * WARM_UP_S) :]
    cuts = statistics.quantiles(kept, n=1000, method="inclusive")
    return {"p50": cuts[499] / 1000, "p90": cuts[899] / 1000, "p99": cuts[989] / 1000}


def _shown(rows: list[dict[str, Any]]) -> str:
    shown: list[list[object]] = [["messages/s", "ms", "p50", "p90", "p99"]]
    shown += [
        [row["rate"], what, *(round(value, 2) for value in row[what].values())]
        for row in rows
        for what in ("broker", "service", "added")
    ]
    return table(shown)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.latency", description=__doc__)
    parser.add_argument(
        "--rates",
        type=float,
        nargs="+",
        default=[QUIET_RATE, 10_000.0],
        help="messages a second; the second should be half of what bench.e2e reaches",
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="measured, for each")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--json", type=Path, help="write the figures there")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
