"""What each way of doing the same costs: CPU time of this process, all threads, per message."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

Work = Callable[[], Awaitable[int]]


class Sample(NamedTuple):
    cpu_us: float  # per message
    rate: float  # messages per second


class Case:
    """``prepare`` makes what ``work`` needs and is not measured; ``work`` returns a count."""

    def __init__(self, name: str, prepare: Callable[[], Awaitable[Any]], work: Any) -> None:
        self.name = name
        self.prepare = prepare
        self.work = work
        self.samples: list[Sample] = []

    async def run(self) -> None:
        subject = await self.prepare()
        cpu, wall = time.process_time(), time.perf_counter()
        count = await self.work(subject)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        self.samples.append(Sample(cpu / count * 1e6, count / wall))


async def measure(title: str, cases: list[Case], rounds: int) -> dict[str, Any]:
    """Run all cases in turn, *rounds* times, and print the medians side by side."""
    for _ in range(rounds):
        for case in cases:
            await case.run()
    print(f"{title} ({rounds} rounds, {os.cpu_count()} CPUs)")
    found: dict[str, Any] = {}
    for case in cases:
        cpu = statistics.median(sample.cpu_us for sample in case.samples)
        rate = statistics.median(sample.rate for sample in case.samples)
        spread = [round(sample.cpu_us, 2) for sample in case.samples]
        found[case.name] = {"cpu_us": round(cpu, 2), "per_s": round(rate), "all_cpu_us": spread}
        print(f"  {case.name:28} {cpu:8.2f} us/message {rate:10.0f} messages/s")
    print(json.dumps({title: found}))
    return found


def parser(messages: int) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser()
    made.add_argument("--messages", type=int, default=messages)
    made.add_argument("--rounds", type=int, default=3)
    return made


def arguments(messages: int) -> argparse.Namespace:
    return parser(messages).parse_args()
