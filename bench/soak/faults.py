"""Steady load over real brokers with a fault every so often: does anything leak or go missing?

The faults take turns: a worker killed (the source's, then the target's), a link cut on either
side, a broker restarted on either side. Memory, descriptors and threads are compared between
the first and the last quarter of the run, by process; a worker that was killed is a new
process, so what is compared are the most that it reached before its end.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.rig.facts import facts, line
from bench.rig.proc import Sample, sample
from bench.rig.report import mib, write
from tests.e2e.play import Play
from tests.faults import scenarios
from tests.faults.road import Road, brokers
from tests.faults.stage import CHUNK, PATIENCE_S, WINDOW, Stage

THINGS = 500
LOOK_EVERY_S = 2.0
FAULTS: tuple[tuple[str, Callable[[Stage], None]], ...] = (
    ("source's worker killed", lambda stage: scenarios.kill_worker("source", stage)),
    ("source's link cut", lambda stage: _cut(stage, "source")),
    ("target's worker killed", lambda stage: scenarios.kill_worker("target", stage)),
    ("target's link cut", lambda stage: _cut(stage, "target")),
    ("source's broker restarted", lambda stage: _restart(stage, "source")),
    ("target's broker restarted", lambda stage: _restart(stage, "target")),
)


def main(options: argparse.Namespace) -> int:
    """0: nothing missing, nothing grown; 1: not."""
    about = facts()
    print(line(about), flush=True)
    source, _, target = options.road.partition("-")
    play = Play(int(options.duration * options.rate), THINGS)
    folder = Path(tempfile.mkdtemp(prefix="streamproc-soak-"))
    looks: list[tuple[float, Sample]] = []
    done: list[str] = []
    try:
        with brokers() as ends, Road(ends, source, target) as road:
            stage = Stage(road, play, folder, {}, options.rate / CHUNK)
            with stage.service as service:
                service.start()
                _run(stage, options, looks, done)
                stage.publisher.end()
                service.eventually(stage.at_rest, "at rest", PATIENCE_S)
                found = road.collect()
                ledger = service.balanced(road.source_id, road.target_id)
                code = service.terminate()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    problems = [
        sentence
        for sentence, holds in {
            f"{play.wanted - found['unique']} missing": found["unique"] == play.wanted,
            f"{found['out_of_order']} out of order": not found["out_of_order"],
            f"{found['duplicated']} doubled by {len(done)} faults": (
                found["duplicated"] <= WINDOW * len(done)
            ),
            f"the service ended with status {code}": code == 0,
        }.items()
        if not holds
    ]
    rows, grown = _growth(looks, options.max_growth)
    print("\n".join(rows))
    flows = stage.recovered_s
    print(
        f"{play.wanted} to deliver, {found}; {len(done)} faults, flowing again after "
        f"{statistics.median(flows):.2f} s in the middle, {max(flows):.2f} s at most"
    )
    problems += grown
    if options.json is not None:
        write(
            options.json,
            {
                "bench": "soak with faults",
                "facts": about,
                "load_average_after": [round(value, 2) for value in os.getloadavg()],
                "options": {k: str(v) for k, v in vars(options).items() if k != "json"},
                "faults": done,
                "flowing_again_s": [round(seconds, 2) for seconds in flows],
                "found": found,
                "wanted": play.wanted,
                "ledger": ledger,
                "growth": rows,
                "problems": problems,
            },
        )
    print("\n".join(f"PROBLEM: {problem}" for problem in problems) or "flat and balanced")
    return 1 if problems else 0


def _run(
    stage: Stage, options: argparse.Namespace, looks: list[tuple[float, Sample]], done: list[str]
) -> None:
    """Until all is said: the load lasts as asked for, the pauses for faults come on top."""
    began = time.monotonic()
    stage.publisher.start()
    due = options.every
    while not stage.publisher.over:
        at = time.monotonic() - began
        looks.append((at, sample(stage.service.pid)))
        if at >= due:
            name, act = FAULTS[len(done) % len(FAULTS)]
            act(stage)
            stage.service.eventually(stage.service.ready, "whole again")
            done.append(name)
            due += options.every
            print(f"{at:6.0f} s  {name}: flows after {stage.recovered_s[-1]:.2f} s", flush=True)
        time.sleep(LOOK_EVERY_S)


def _cut(stage: Stage, side: str) -> None:
    stage.road.proxy(side).cut()
    stage.until_flowing()


def _restart(stage: Stage, side: str) -> None:
    stage.publisher.pause()
    stage.road.broker(side).restart()
    stage.publisher.resume()
    stage.until_flowing()


def _growth(looks: list[tuple[float, Sample]], most_mib: float) -> tuple[list[str], list[str]]:
    """What each process had in the first and the last quarter; what grew too much."""
    rows, problems = [], []
    quarter = max(1, len(looks) // 4)
    first, last = looks[quarter : 2 * quarter], looks[-quarter:]
    for role in sorted({role for _, look in first for role in look.processes}):
        was, now = _most(first, role), _most(last, role)
        rows.append(
            f"{role:10} RSS {mib(was['rss_bytes']):6.1f} -> {mib(now['rss_bytes']):6.1f} MiB, "
            f"{was['fds']} -> {now['fds']} fds, {was['threads']} -> {now['threads']} threads"
        )
        grown = now["rss_bytes"] - was["rss_bytes"]
        if grown > most_mib * (1 << 20):
            problems.append(f"{role} grew by {mib(grown)} MiB; the bound is {most_mib:g}")
        problems += [
            f"{role} had {was[what]} {what}, and then {now[what]}"
            for what in ("fds", "threads")
            if now[what] > was[what] + 4
        ]
    return rows, problems


def _most(looks: list[tuple[float, Sample]], role: str) -> dict[str, Any]:
    seen = [look.processes[role] for _, look in looks if role in look.processes]
    return {
        name: max((getattr(one, name) for one in seen), default=0)
        for name in ("rss_bytes", "fds", "threads")
    }
