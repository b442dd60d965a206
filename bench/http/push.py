"""HTTP push alone: our client, aiohttp's and wrk, in one run against one receiver.

    python -m bench.http.push [--seconds 2] [--connections 1,4,16,64] [--rounds 3] [--tls]

Prints requests/s and CPU microseconds a request of the client's process, all its threads; the
best and the median of the rounds, which alternate, so that a noisy neighbour hits both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import ssl
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import aiohttp
import uvloop

from bench.http.receiving import receiver
from bench.http.tls_receiver import PEM
from streamproc.config.connection import Connection
from streamproc.connectors.base import Identity, TargetSpec
from streamproc.connectors.http_push.config import HttpPushOptions
from streamproc.connectors.http_push.target import HttpPushTarget
from streamproc.errors import RunnerError
from streamproc.kernels.delivery import Delivery

DEVICES = 1000
HEADERS = {
    "content-type": "application/vnd.eclipse.ditto+json",
    "x-thing": "org.example:device-7",
    "correlation-id": "0-123456",
}


def body(number: int) -> bytes:
    """About 256 bytes."""
    device = number % DEVICES
    head = (
        f'{{"topic":"org.example/device-{device}/things/twin/events/modified","path":"/attributes'
        f'/reading","value":{{"id":"b-{number}","device":"d{device}","seq":{number // DEVICES}'
    )
    return (head + f',"pad":"{"x" * max(0, 256 - len(head) - 11)}"}}}}').encode()


BODIES = [body(number) for number in range(DEVICES)]
PATHS = [f"/bench/d{device}" for device in range(DEVICES)]
KEYS = [f"d{device}" for device in range(DEVICES)]
ADDRESSES = [f"POST:{path}" for path in PATHS]


def delivery(number: int) -> Delivery:
    device = number % DEVICES
    return Delivery(0, KEYS[device], ADDRESSES[device], HEADERS, BODIES[device])


class Ours:
    """Keeps ``capacity`` deliveries in flight."""

    def __init__(self, uri: str, connections: int) -> None:
        connection = Connection(
            id="bench",
            connection_type="http-push",
            uri=uri,
            ca=(PEM / "ca.pem").read_text() if uri.startswith("https") else None,
        )
        self._target = HttpPushTarget(
            TargetSpec(
                identity=Identity(connection_id="bench"),
                connection=connection,
                options=HttpPushOptions(parallelism=connections),
                receipts=self,
            )
        )
        self._next = 0
        self.done = 0
        self._ends = 0.0
        self._most = 1 << 60
        self._over = asyncio.Event()

    async def run(self, seconds: float) -> int:
        await self._target.open()
        self._ends = time.monotonic() + seconds
        self._send(self._target.capacity)
        await self._over.wait()
        await self._target.close()
        return self.done

    async def run_until(self, count: int) -> None:
        """Push until *count* are done, then let all connections go."""
        await self._target.open()
        self._ends = float("inf")
        self._most = count
        self._over.clear()
        self._send(self._target.capacity)
        await self._over.wait()
        await self._target.close()

    def _send(self, count: int) -> None:
        first, self._next = self._next, self._next + count
        self._target.write([delivery(number) for number in range(first, self._next)])

    def delivered(self, deliveries: Sequence[Delivery]) -> None:
        self.done += len(deliveries)
        if self.done < self._most and time.monotonic() < self._ends:
            self._send(len(deliveries))
        else:
            self._over.set()

    def failed(self, deliveries: Sequence[Delivery], error: RunnerError) -> None:
        if not self._over.is_set():
            raise error

    def lost(self, error: RunnerError) -> None:
        raise error


async def ours(uri: str, connections: int, seconds: float) -> int:
    return await Ours(uri, connections).run(seconds)


async def theirs(uri: str, connections: int, seconds: float) -> int:
    ends = time.monotonic() + seconds
    trusted: ssl.SSLContext | bool = True
    if uri.startswith("https"):
        trusted = ssl.create_default_context(cafile=str(PEM / "ca.pem"))
    connector = aiohttp.TCPConnector(limit=connections, ssl=trusted)
    numbers = iter(range(1 << 60))
    urls = [uri + path for path in PATHS]
    async with aiohttp.ClientSession(connector=connector) as session:

        async def work() -> int:
            done = 0
            while time.monotonic() < ends:
                device = next(numbers) % DEVICES
                async with session.post(
                    urls[device], data=BODIES[device], headers=HEADERS
                ) as answer:
                    await answer.read()
                    assert answer.status == 204
                done += 1
            return done

        return sum(await asyncio.gather(*(work() for _ in range(connections))))


async def wrk(uri: str, connections: int, seconds: float) -> int:
    """Stands for the program, which is a process of its own: see ``measure_wrk``."""
    raise NotImplementedError


def measure_wrk(uri: str, connections: int, seconds: float) -> tuple[float, float]:
    """As ``measure``; one thread, the same request again and again, rendered once."""
    headers = "".join(f'wrk.headers["{name}"] = "{value}"\n' for name, value in HEADERS.items())
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f'wrk.method = "POST"\nwrk.body = [[{BODIES[7].decode()}]]\n{headers}')
        script.flush()
        process = subprocess.Popen(
            [
                *("wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s"),
                *("-s", script.name, f"{uri}/bench/d7"),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        text = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    found = re.search(r"(\d+) requests in [\d.]+m?s", text)
    rate = re.search(r"Requests/sec: +([\d.]+)", text)
    if found is None or rate is None or "Non-2xx" in text:
        raise RuntimeError(text)
    return float(rate[1]), (used.ru_utime + used.ru_stime) / int(found[1]) * 1e6


Runner = Callable[[str, int, float], Coroutine[Any, Any, int]]
CLIENTS: dict[str, Runner] = {"streamproc": ours, "aiohttp": theirs}
if shutil.which("wrk"):
    CLIENTS["wrk"] = wrk


def measure(run: Runner, uri: str, connections: int, seconds: float) -> tuple[float, float]:
    """Requests a second, and CPU microseconds a request."""
    if run is wrk:
        return measure_wrk(uri, connections, seconds)
    cpu, clock = time.process_time(), time.perf_counter()
    done = uvloop.run(run(uri, connections, seconds))
    took, used = time.perf_counter() - clock, time.process_time() - cpu
    return done / took, used / done * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--connections", default="1,4,16,64")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--clients", default=",".join(CLIENTS))
    parser.add_argument("--tls", action="store_true")
    options = parser.parse_args()
    with receiver(tls=options.tls) as uri:
        rows = []
        for connections in map(int, options.connections.split(",")):
            figures: dict[str, list[tuple[float, float]]] = {}
            for _ in range(options.rounds):
                for name in options.clients.split(","):
                    figures.setdefault(name, []).append(
                        measure(CLIENTS[name], uri, connections, options.seconds)
                    )
            for name, rounds in figures.items():
                rates, costs = zip(*rounds, strict=True)
                rows.append(
                    {
                        "client": name,
                        "connections": connections,
                        "rate_best": round(max(rates)),
                        "rate_median": round(statistics.median(rates)),
                        "cpu_us_best": round(min(costs), 1),
                        "cpu_us_median": round(statistics.median(costs), 1),
                    }
                )
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    columns = "{:12}{:>12}{:>12}{:>10}{:>10}{:>8}"
    print(columns.format("client", "connections", "req/s best", "median", "us best", "median"))
    for row in rows:
        print(columns.format(*row.values()))


if __name__ == "__main__":
    main()
