"""A million pushes through one client: memory, descriptors, tasks and timers stay where they are.

    python -m bench.http.leaks [--pushes 1000000] [--connections 16] [--tls]

It connects anew at each tenth. Prints a line there; ends with 1 if the second half grew.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import sys
import time
from pathlib import Path

import uvloop

from bench.http.push import Ours
from bench.http.receiving import receiver

MOST_GROWTH_KIB = 2048


class Counted(Ours):
    """Runs a number of pushes, and looks around at each tenth."""

    def __init__(self, uri: str, connections: int, pushes: int) -> None:
        super().__init__(uri, connections)
        self._pushes = pushes
        self.seen: list[tuple[int, int, int, int]] = []

    async def run_all(self) -> None:
        step = self._pushes // 10
        for tenth in range(1, 11):
            await self.run_until(tenth * step)
            gc.collect()
            tasks = len(asyncio.all_tasks())
            objects = len(gc.get_objects())
            self.seen.append((rss_kib(), len(os.listdir("/proc/self/fd")), tasks, objects))
            print(f"{self.done:>9} {'{:>9} {:>4} {:>4} {:>8}'.format(*self.seen[-1])}", flush=True)


def rss_kib() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise OSError("no VmRSS")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pushes", type=int, default=1_000_000)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--tls", action="store_true")
    options = parser.parse_args()
    print(f"{'pushes':>9} {'RSS KiB':>9} {'fds':>4} {'tasks':>4} {'objects':>8}")
    clock = time.perf_counter()
    with receiver(tls=options.tls) as uri:
        made = Counted(uri, options.connections, options.pushes)
        uvloop.run(made.run_all())
    took = time.perf_counter() - clock
    middle, last = made.seen[4], made.seen[-1]
    grew = last[0] - middle[0]
    print(
        f"{made.done / took:.0f}/s; second half: RSS {grew:+} KiB, objects {last[3] - middle[3]:+}"
    )
    flat = grew <= MOST_GROWTH_KIB and last[1] <= middle[1] and last[2] <= middle[2]
    return 0 if flat and last[3] - middle[3] < 1000 else 1


if __name__ == "__main__":
    sys.exit(main())
