"""How fast can messages go in order, to an endpoint that takes its time?

    python -m bench.http.ordered [--delay-ms 50] [--parallelism 1000] [--seconds 5]

One worker's target side (lanes, retries, connector) before a receiver that answers after
``--delay-ms``, and checks the order of each thing. The keys' popularity is Zipf's over
``--things``, and that alone bounds the rate. Of a thing one request goes at a time: with the
loudest thing saying the share ``p`` of everything and a round trip of ``d``, no more than
``1 / (p d)`` messages a second can go on for long, whatever waits, and ``b`` times as much with
``b`` messages in a request. The parallelism bounds it to ``parallelism * b / d``. A short run
shows more than that bound: until the window is full of what the loudest thing says.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import uvloop

from bench.http.receiving import receiver
from bench.rig import facts, report
from streamproc.config.connection import Connection
from streamproc.config.service import Retry
from streamproc.connectors.base import Identity, TargetSpec
from streamproc.connectors.http_push.config import Batching, HttpPushOptions
from streamproc.connectors.http_push.target import HttpPushTarget
from streamproc.errors import RunnerError
from streamproc.kernels.delivery import Delivery
from streamproc.worker.client import PIPELINE_DEPTH
from streamproc.worker.outlet import Outlet

HEADERS = {"content-type": "application/vnd.eclipse.ditto+json"}
CASES = (  # exponent, messages in a request
    (0.0, 1),
    (0.1, 1),
    (0.5, 1),
    (1.0, 1),
    (1.0, 10),
    (1.0, 100),
)


def shares(things: int, exponent: float) -> list[float]:
    """What share of everything each thing says, the loudest first."""
    weights = [1 / rank**exponent for rank in range(1, things + 1)]
    total = sum(weights)
    return [weight / total for weight in weights]


def bound(loudest: float, round_trip_s: float, batch: int, parallelism: int) -> float:
    """Messages a second that can go on for long."""
    return batch / round_trip_s * min(1 / loudest, parallelism)


class Load:
    """Keeps *window* deliveries in the outlet. Implements its ``Ledger``."""

    def __init__(self, things: int, exponent: float, window: int, seed: int) -> None:
        self._window = window
        self._chance = random.Random(seed)
        self._weights = list(accumulate(shares(things, exponent)))
        self._things = range(things)
        self._seqs = [0] * things
        self._number = 0
        self.done = 0
        self.ends_at = float("inf")
        self.over = asyncio.Event()
        self.outlet: Outlet | None = None

    def offer(self, count: int) -> None:
        deliveries = []
        for thing in self._chance.choices(self._things, cum_weights=self._weights, k=count):
            body = (
                f'{{"topic":"org.example/{thing}/things/twin/events/modified","path":"/a","value":'
                f'{{"id":"b-{self._number}","device":"d{thing}","seq":{self._seqs[thing]}'
            )
            body += f',"pad":"{"x" * max(0, 256 - len(body) - 11)}"}}}}'
            deliveries.append(Delivery(0, f"d{thing}", "POST:/b", HEADERS, body.encode()))
            self._seqs[thing] += 1
            self._number += 1
        assert self.outlet is not None
        self.outlet.offer(deliveries)

    def delivered(self, deliveries: Sequence[Delivery]) -> None:
        self.done += len(deliveries)
        if time.monotonic() < self.ends_at:
            self.offer(len(deliveries))
        else:
            self.over.set()

    def retried(self, deliveries: Sequence[Delivery], error: RunnerError) -> None:
        if not self.over.is_set():
            raise error

    def park(
        self, deliveries: Sequence[Delivery], error: RunnerError, then: Callable[[int], None]
    ) -> None:
        raise error


async def run(uri: str, options: argparse.Namespace, exponent: float, batch: int) -> dict[str, Any]:
    """One case: warm up, then measure."""
    load = Load(options.things, exponent, options.window, options.seed)
    more = Batching(max_messages=batch, max_delay="5ms") if batch > 1 else None
    pushing = HttpPushOptions(parallelism=options.parallelism, batch=more)

    def make(outlet: Outlet) -> HttpPushTarget:
        return HttpPushTarget(
            TargetSpec(
                identity=Identity(connection_id="bench"),
                connection=Connection(id="bench", connection_type="http-push", uri=uri),
                options=pushing,
                receipts=outlet,
            )
        )

    load.outlet = outlet = Outlet(
        make,
        depth=PIPELINE_DEPTH if pushing.pipelined else 1,
        retry=Retry(),
        ledger=load,
        changed=lambda: None,
    )
    load.offer(options.window)
    await asyncio.sleep(options.warm_up)
    done, cpu, began = load.done, time.process_time(), time.monotonic()
    load.ends_at = began + options.seconds
    await asyncio.wait_for(load.over.wait(), options.seconds + 30)
    took, used, done = time.monotonic() - began, time.process_time() - cpu, load.done - done
    await outlet.close()
    loudest = max(shares(options.things, exponent))
    return {
        "zipf": exponent,
        "batch": batch,
        "loudest": loudest,
        "bound": bound(loudest, options.delay_ms / 1000, batch, options.parallelism),
        "rate": done / took,
        "cpu_us": used / done * 1e6,
    }


@contextlib.contextmanager
def slow(delay_ms: float) -> Iterator[str]:
    with receiver() as uri:
        ask(uri, "/behaviour", {"delayMs": delay_ms})
        yield uri


def ask(uri: str, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(uri + path, data), timeout=60) as answer:
        return json.loads(answer.read() or b"null")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--delay-ms", type=float, default=50.0)
    parser.add_argument("--parallelism", type=int, default=1000)
    parser.add_argument("--things", type=int, default=1000)
    parser.add_argument("--window", type=int, default=4096, help="deliveries in the worker")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--warm-up", type=float, default=2.0)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    about = facts.facts()
    print(facts.line(about))
    runs = []
    for exponent, batch in CASES * options.repeat:
        with slow(options.delay_ms) as uri:
            found = uvloop.run(run(uri, options, exponent, batch))
            ledger = ask(uri, "/ledger")
        wrong = {name: ledger[name] for name in ("out_of_order", "duplicated", "unreadable")}
        runs.append({**found, **wrong})
    rows = [_summary(list(same)) for same in zip(*_split(runs, len(CASES)), strict=True)]
    print(report.table([list(rows[0]), *(list(row.values()) for row in rows)]))
    if options.json:
        given = {name: value for name, value in vars(options).items() if name != "json"}
        load = [round(value, 2) for value in os.getloadavg()]
        written = {"bench": "http-ordered", "facts": about, "load_average_after": load}
        report.write(options.json, {**written, "options": given, "summary": rows, "runs": runs})
    return 1 if any(row["wrong"] for row in rows) else 0


def _split(runs: list[dict[str, Any]], size: int) -> list[list[dict[str, Any]]]:
    return [runs[start : start + size] for start in range(0, len(runs), size)]


def _summary(same: list[dict[str, Any]]) -> dict[str, Any]:
    """The runs of one case. *wrong*: messages out of order, doubled or spoilt."""
    rates = report.spread([found["rate"] for found in same])
    first = same[0]
    return {
        "zipf": first["zipf"],
        "messages a request": first["batch"],
        "loudest": f"{first['loudest']:.1%}",
        "bound/s": round(first["bound"]),
        "rate/s": round(rates["median"]),
        "min": round(rates["min"]),
        "max": round(rates["max"]),
        "us": report.spread([found["cpu_us"] for found in same])["median"],
        "wrong": sum(f["out_of_order"] + f["duplicated"] + f["unreadable"] for f in same),
    }


if __name__ == "__main__":
    sys.exit(main())
