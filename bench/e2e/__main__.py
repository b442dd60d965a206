"""The command: preload once, then repeat; a table, JSON, and a status that can fail a build."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.e2e.ends import Collector, End, Receiver
from bench.e2e.load import Load, Message
from bench.e2e.run import Result, measure
from bench.e2e.setup import OUT_TOPIC, TOPIC, config
from bench.rig.facts import config_hash, facts, line
from bench.rig.report import Progress, spread, table, write
from tests.brokers.kafka import JVM, Kafka
from tests.e2e.service import Service

# A broker that is measured beside us is to be warm and compiled, not small.
BENCH_JVM = (
    "-Xms512m",
    "-Xmx1g",
    *(flag for flag in JVM if not flag.startswith(("-Xm", "-XX:Tiered"))),
)
BENCH_BROKER = {"log.flush.interval.messages": 1_000_000, "num.network.threads": 3}
UNITS = {
    "rate": "deliveries/s",
    "steady_rate": "deliveries/s up to the last tenth",
    "cpu_us": "us CPU a delivery",
}
WARM_UP_SHARE, MOST_WARM_UP = 0.1, 50_000


def main() -> int:
    """0: all there, in order; 1: not; 2: it could not be measured."""
    options = _parser().parse_args()
    if reason := Kafka.missing():
        print(f"bench.e2e needs a Kafka: {reason}", file=sys.stderr)
        return 2
    load = Load(options.messages, options.things, options.size, options.zipf)
    found = facts()
    print(line(found), flush=True)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_on_cores(options.cores_beside))
        kafka = stack.enter_context(Kafka(BENCH_BROKER, jvm=BENCH_JVM))
        _preload(kafka, load, options.partitions)
        results = [_repeat(options, kafka, load, number) for number in range(options.repeat)]
    report = _report(options, load, found, results)
    print(_shown(options, load, results), flush=True)
    if options.json is not None:
        write(options.json, report)
    return 0 if all(result.good for result in results) else 1


def _repeat(options: argparse.Namespace, kafka: Kafka, load: Load, number: int) -> Result:
    folder = Path(tempfile.mkdtemp(prefix="streamproc-bench-"))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        end: End
        receiver = ""
        if options.target == "http":
            end = stack.enter_context(Receiver())
            receiver = end.url
        else:
            kafka.create_topic(f"{OUT_TOPIC}-{number}", options.partitions)
            end = stack.enter_context(Collector(kafka, f"{OUT_TOPIC}-{number}"))
        settings = _config(options, number, kafka=kafka.bootstrap, receiver=receiver)
        service = Service(folder, settings)
        stack.enter_context(service)
        with _on_cores(options.cores):
            return measure(
                service,
                end,
                broker_pid=kafka.pid,
                wanted=load.wanted,
                warm_up=min(MOST_WARM_UP, int(load.wanted * WARM_UP_SHARE)),
                deadline_s=options.deadline,
                label=f"run {number + 1} of {options.repeat}",
            )


def _config(options: argparse.Namespace, number: int = 0, **addresses: str) -> dict[str, Any]:
    """Without addresses: the same for runs that can be compared."""
    return config(
        target=options.target,
        workers=options.workers,
        source_clients=options.source_clients or options.workers,
        target_clients=options.target_clients or options.workers,
        parallelism=options.parallelism,
        spill=options.spill,
        number=number,
        **addresses,
    )


def _preload(kafka: Kafka, load: Load, partitions: int) -> None:
    progress = Progress()

    def told() -> Iterator[Message]:
        for number, message in enumerate(load.said()):
            if number % 5_000 == 0:
                progress.say(f"preloading: {number:,} of {load.messages:,}")
            yield message

    kafka.create_topic(TOPIC, partitions)
    kafka.produce(TOPIC, told())
    progress.over()


@contextlib.contextmanager
def _on_cores(cores: str) -> Iterator[None]:
    """What is started within runs on *cores* ("0,2"); empty: wherever it likes."""
    before = os.sched_getaffinity(0)
    if cores:
        os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _report(
    options: argparse.Namespace, load: Load, found: dict[str, Any], results: list[Result]
) -> dict[str, Any]:
    measured = [result for result in results if result.seconds]
    summary = {}
    if measured:
        summary = {
            "rate": spread([result.rate for result in measured]),
            "steady_rate": spread([result.steady_rate for result in measured]),
            "cpu_us": spread([result.cpu_us for result in measured]),
        }
    return {
        "bench": "e2e",
        "facts": found,
        "load_average_after": [round(value, 2) for value in os.getloadavg()],
        "options": {name: value for name, value in vars(options).items() if name != "json"},
        "config_hash": config_hash(_config(options)),
        "load": asdict(load),
        "summary": summary,
        "runs": [asdict(result) for result in results],
    }


def _shown(options: argparse.Namespace, load: Load, results: list[Result]) -> str:
    head = [
        "run",
        "msg/s",
        "steady",
        "CPU us",
        "missing",
        "duplicated",
        "out of order",
        "forbidden",
    ]
    rows: list[list[object]] = [[*head, "service cores", "others' cores", "RSS MiB"]]
    for number, result in enumerate(results, 1):
        verdict = [result.verdict[name.replace(" ", "_")] for name in head[4:]]
        cores = [result.cores.get(name, 0.0) for name in ("service", "others")]
        memory = sum(result.rss_mib.values())
        rows.append(
            [number, result.rate, result.steady_rate, result.cpu_us, *verdict, *cores, memory]
        )
    lines = [
        f"\nKafka -> {options.target}: {load.messages:,} messages of {load.things:,} things, "
        f"zipf {load.zipf:g}, {load.size} B, {options.workers} workers, "
        f"parallelism {options.parallelism} a client, spill {options.spill}; "
        f"{load.wanted:,} must arrive, {load.intruders:,} be refused, {load.filtered:,} filtered",
        table(rows),
    ]
    measured = [result for result in results if result.seconds]
    if measured:
        for name, unit in UNITS.items():
            found = spread([getattr(result, name) for result in measured])
            lines.append(
                f"{unit}: median {found['median']:,.1f} ({found['min']:,.1f}..{found['max']:,.1f})"
            )
        last = measured[-1]
        lines.append("us by process, last run: " + _pairs(last.split_us))
        lines.append("cores in use, last run: " + _pairs(last.cores))
        if spilled := last.ledger.get("spilled"):
            lines.append(f"went over the disk, last run: {spilled:,}")
        lines.append("RSS MiB (peak), last run: " + _pairs(last.rss_mib, last.peak_rss_mib))
        lines.append(
            "placement, last run: "
            + ", ".join(f"{one['client']} on {one['worker']}" for one in last.placement)
        )
    lines.append("config " + config_hash(_config(options)))
    lines += [f"run {n}: {r.problem}" for n, r in enumerate(results, 1) if r.problem]
    return "\n".join(lines)


def _pairs(found: dict[str, float], beside: dict[str, float] | None = None) -> str:
    more = beside or {}
    return ", ".join(
        f"{name} {value:g}" + (f" ({more[name]:g})" if name in more else "")
        for name, value in found.items()
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.e2e", description=__doc__)
    parser.add_argument("--messages", type=int, default=200_000, help="preloaded in Kafka")
    parser.add_argument("--things", type=int, default=1_000, help="how many keys")
    parser.add_argument("--zipf", type=float, default=1.0, help="exponent of their popularity")
    parser.add_argument("--size", type=int, default=256, help="bytes of a payload")
    parser.add_argument("--partitions", type=int, default=8, help="of the topics")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--source-clients", type=int, help="default: one a worker")
    parser.add_argument("--target-clients", type=int, help="default: one a worker")
    parser.add_argument("--parallelism", type=int, default=64, help="requests at once a client")
    parser.add_argument("--target", choices=("http", "kafka"), default="http")
    parser.add_argument("--spill", choices=("auto", "off"), default="auto", help="as shipped: auto")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--cores", default="", help="the service runs on these, e.g. 1")
    parser.add_argument("--cores-beside", default="", help="broker and receiver run on these")
    parser.add_argument("--deadline", type=float, default=300.0, help="seconds a run may take")
    parser.add_argument("--json", type=Path, help="write the figures there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
