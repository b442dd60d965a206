"""What a hop between two workers costs, both sides together.

The same deliveries go to a client in this process and to one in another process, in turns; the
difference of the two is the hop. Deliveries are made, settled and counted as in a worker.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench.bus.peer import INDEX
from bench.bus.side import CLIENT, Sender, Side
from bench.rig.facts import facts, line
from bench.rig.proc import cpu_clock_s
from bench.rig.report import Progress, spread, table, write

WARM_UP_MESSAGES = 20_000
GOAL_US = 2.0


@dataclass(frozen=True)
class Turn:
    """One way of handing over, measured once. CPU microseconds a message."""

    near_us: float  # the sending process
    far_us: float
    rate: float

    @property
    def both_us(self) -> float:
        return self.near_us + self.far_us


@contextmanager
def peer(folder: Path) -> Iterator[int]:
    """The other process. -> its pid."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.bus.peer", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise RuntimeError("the other process did not start")
        yield process.pid
    finally:
        process.kill()
        process.communicate()


async def measure(options: argparse.Namespace, folder: Path, far: int) -> list[tuple[Turn, Turn]]:
    """-> a (local, over the bus) pair a round."""
    progress = Progress()
    side = Side(0, folder)
    await side.start()
    here = side.host()
    sender = Sender(side, options.batch, options.size)
    ways = {"local": ({CLIENT: 0}, {CLIENT: here}), "bus": ({CLIENT: INDEX}, {})}
    found = []
    async with asyncio.timeout(options.deadline):
        for turn in range(-1, options.rounds):
            pair = []
            for name, (locations, outlets) in ways.items():
                progress.say(f"round {turn + 1} of {options.rounds}: {name}")
                side.dispatcher.assign(locations, outlets)
                count = WARM_UP_MESSAGES if turn < 0 else options.messages
                near_s, far_s = cpu_clock_s(os.getpid()), cpu_clock_s(far)
                took_s = await sender.send(count)
                near_s, far_s = cpu_clock_s(os.getpid()) - near_s, cpu_clock_s(far) - far_s
                pair.append(Turn(near_s / count * 1e6, far_s / count * 1e6, count / took_s))
            if turn >= 0:
                found.append((pair[0], pair[1]))
    progress.over()
    await side.dispatcher.close()
    return found


def main() -> int:
    """0, or 1 where the hop costs more than the goal and ``--strict`` asks for it."""
    options = _parser().parse_args()
    about = facts()
    print(line(about), flush=True)
    with tempfile.TemporaryDirectory(prefix="sp-bus-") as folder, peer(Path(folder)) as far:
        found = uvloop.run(measure(options, Path(folder), far))
    rows: list[list[object]] = [["way", "us a message", "this side", "other side", "msg/s"]]
    for name, turns in zip(("local", "bus"), zip(*found, strict=True), strict=True):
        columns = [[turn.both_us, turn.near_us, turn.far_us, turn.rate] for turn in turns]
        rows.append([name, *(statistics.median(values) for values in zip(*columns, strict=True))])
    hops = spread([bus.both_us - local.both_us for local, bus in found])
    print(f"\nbatches of {options.batch}, {options.size} B, 3 headers; medians of {len(found)}")
    print(table(rows))
    print(
        f"a hop: {hops['median']:.2f} us CPU a message, both sides "
        f"({hops['min']:.2f}..{hops['max']:.2f}); the goal is {GOAL_US:g}"
    )
    if options.json is not None:
        report = {
            "bench": "bus",
            "facts": about,
            "load_average_after": [round(value, 2) for value in os.getloadavg()],
            "batch": options.batch,
            "size": options.size,
            "hop_us": hops,
            "rounds": [{"local": vars(local) | {}, "bus": vars(bus) | {}} for local, bus in found],
        }
        write(options.json, report)
    return int(options.strict and hops["median"] > GOAL_US)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.bus", description=__doc__)
    parser.add_argument("--messages", type=int, default=200_000, help="a round and way")
    parser.add_argument("--batch", type=int, default=100, help="deliveries handed over at once")
    parser.add_argument("--size", type=int, default=256, help="bytes of a payload")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--deadline", type=float, default=300.0, help="seconds for all")
    parser.add_argument("--strict", action="store_true", help="fail when the goal is missed")
    parser.add_argument("--json", type=Path, help="write the figures there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
