"""Nanoseconds a message of the data path, in total and by stage, by the size of a batch.

Enforcement, header mapping, policies, filter, address: as in bench.e2e, without Kafka, sockets
and lanes. ``--record`` keeps the figures; without it they are compared with those kept.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import json
import os
import pstats
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop

from bench.e2e.load import Load
from bench.flow.glue import Glue, arrivals
from bench.flow.road import Messages, Road, messages
from bench.flow.stages import REST, Watch, clock_ns
from bench.rig.facts import ROOT, facts, line
from bench.rig.report import Progress, table, write
from streamproc.master.processes import MALLOC_KEEPS_BYTES
from streamproc.worker.collector import collect_seldom

RECORDED = ROOT / "bench" / "results" / "flow.json"
PROFILED_ROWS = 30


def main() -> int:
    """0, or 1 where messages did not all come through."""
    options = _parser().parse_args()
    _become_a_worker()
    sizes = [int(size) for size in options.batches.split(",")]
    about = facts()
    print(line(about), flush=True)
    load = Load(messages=options.messages)
    found = messages(load)
    with tempfile.TemporaryDirectory(prefix="streamproc-flow-") as folder:
        if options.profile:
            _profile(Path(folder), found, sizes[-1])
            return 0
        report: dict[str, Any] = {"bench": "flow", "facts": about, "messages": options.messages}
        report["totals"] = _totals(Path(folder), load, found, sizes, options.rounds)
        report["worker"] = _worker(Path(folder), load, found, sizes, options.rounds)
        report["clock_ns"] = clock_ns()
        report["stages"] = _stages(Path(folder), found, sizes, options.rounds)
    report["load_average_after"] = [round(value, 2) for value in os.getloadavg()]
    before = json.loads(RECORDED.read_text()) if RECORDED.exists() else None
    print(_shown(report, before))
    if options.record:
        write(RECORDED, report)
    if options.json is not None:
        write(options.json, report)
    return 0


def _become_a_worker() -> None:
    """Memory is given back, and cycles are looked for, as seldom as there."""
    if "MALLOC_TRIM_THRESHOLD_" not in os.environ:
        environment = os.environ | {"MALLOC_TRIM_THRESHOLD_": str(MALLOC_KEEPS_BYTES)}
        again = [sys.executable, "-m", "bench.flow", *sys.argv[1:]]
        os.execve(sys.executable, again, environment)
    collect_seldom()


def _totals(
    folder: Path, load: Load, found: Messages, sizes: list[int], rounds: int
) -> dict[str, dict[str, float]]:
    """CPU nanoseconds a message: the path as it is, nothing in between."""
    progress = Progress()
    road = Road(folder / "plain")
    totals = {}
    for size in sizes:
        batches = road.batches(found, size)
        figures = []
        road.run(batches)  # warm up
        for number in range(rounds):
            progress.say(f"batches of {size}: round {number + 1} of {rounds}")
            gc.collect()
            begun = time.process_time_ns()
            road.run(batches)
            figures.append((time.process_time_ns() - begun) / len(found[0]))
        totals[str(size)] = {"median": statistics.median(figures), "min": min(figures)}
    progress.over()
    runs = len(sizes) * (rounds + 1)
    road.check(load, runs)
    return totals


def _worker(
    folder: Path, load: Load, found: Messages, sizes: list[int], rounds: int
) -> dict[str, dict[str, float]]:
    """CPU nanoseconds a message, with all that a worker does around the path."""
    progress = Progress()
    glue = Glue(folder / "glue")
    totals = {}
    for size in sizes:
        batches = arrivals(found, size)
        figures = []
        for number in range(rounds + 1):  # the first warms up
            progress.say(f"worker, arrivals of {size}: round {number} of {rounds}")
            gc.collect()
            begun = time.process_time_ns()
            uvloop.run(glue.run(batches))
            figures.append((time.process_time_ns() - begun) / len(found[0]))
        totals[str(size)] = {"median": statistics.median(figures[1:]), "min": min(figures[1:])}
    progress.over()
    glue.check(load, len(sizes) * (rounds + 1))
    return totals


def _stages(
    folder: Path, found: Messages, sizes: list[int], rounds: int
) -> dict[str, dict[str, float]]:
    """Stage -> size of batch -> CPU nanoseconds a message, the median of the rounds."""
    progress = Progress()
    watch = Watch()
    figures: dict[str, dict[str, list[float]]] = {}
    with watch.inside():
        road = Road(folder / "watched", watch)
        run = watch.timed(REST, road.run)
        for size in sizes:
            batches = road.batches(found, size)
            run(batches)  # warm up
            for number in range(rounds):
                progress.say(f"stages, batches of {size}: round {number + 1} of {rounds}")
                gc.collect()
                watch.reset()
                run(batches)
                for stage, spent in watch.spent.items():
                    by_size = figures.setdefault(stage, {})
                    by_size.setdefault(str(size), []).append(spent / len(found[0]))
    progress.over()
    return {
        stage: {size: statistics.median(values) for size, values in by_size.items()}
        for stage, by_size in figures.items()
    }


def _profile(folder: Path, found: Messages, size: int) -> None:
    road = Road(folder / "plain")
    batches = road.batches(found, size)
    road.run(batches)
    profile = cProfile.Profile()
    profile.runcall(road.run, batches)
    pstats.Stats(profile).sort_stats("tottime").print_stats(PROFILED_ROWS)


def _shown(report: dict[str, Any], before: dict[str, Any] | None) -> str:
    sizes = list(report["totals"])
    last = sizes[-1]
    rows: list[list[object]] = [["ns a message, batches of", *sizes]]
    order = sorted(report["stages"].items(), key=lambda item: -item[1][last])
    rows += [[name, *(round(by[size]) for size in sizes)] for name, by in order]
    rows.append(["all stages, watched", *(_sum(report["stages"], size) for size in sizes)])
    totals = report["totals"]
    rows.append(["total, as it is", *(round(totals[size]["median"]) for size in sizes)])
    rows.append(["  best round", *(round(totals[size]["min"]) for size in sizes)])
    worker = report["worker"]
    rows.append(["with a worker around it", *(round(worker[size]["median"]) for size in sizes)])
    rows.append(["  best round", *(round(worker[size]["min"]) for size in sizes)])
    lines = [
        "",
        table(rows),
        f"a look at the clock costs {report['clock_ns']:,.0f} ns and each stage has one a batch: "
        "believe stages from batches of 10 on",
    ]
    if before is not None:
        ratios = ", ".join(
            f"{size}: {totals[size]['median'] / before['totals'][size]['median']:.2f}"
            for size in sizes
            if size in before["totals"]
        )
        lines.append(f"now / recorded at {before['facts']['commit']}, by size: {ratios}")
    return "\n".join(lines)


def _sum(stages: dict[str, dict[str, float]], size: str) -> int:
    return round(sum(by[size] for by in stages.values()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.flow", description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000, help="a round")
    parser.add_argument("--batches", default="1,10,100,500", help="sizes")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--profile", action="store_true", help="cProfile of the last size")
    parser.add_argument("--record", action="store_true", help=f"keep in {RECORDED.name}")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
