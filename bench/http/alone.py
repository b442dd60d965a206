"""Our HTTP client without a network: what of its cost is ours to change.

    python -m bench.http.alone [--connections 16] [--rounds 60]

Transports take requests and give answers at once, so nothing of the kernel's or the event loop's
is in the figures: nanoseconds a request, the best of many short rounds, which other work on the
machine moves little. The parts are measured by themselves and overlap.
"""

from __future__ import annotations

import argparse
import asyncio
import timeit
from collections.abc import Callable, Sequence
from typing import Any

import uvloop

from bench.http.push import DEVICES, delivery
from streamproc.config.connection import Connection
from streamproc.connectors.http_push.client import Client
from streamproc.connectors.http_push.endpoint import Endpoint
from streamproc.connectors.http_push.request import Requests
from streamproc.errors import RunnerError
from streamproc.kernels.delivery import Delivery

ANSWER = (
    b"HTTP/1.1 204 No Content\r\nServer: bench\r\nDate: Sun, 22 Nov 2026 11:00:00 GMT\r\n"
    b"Content-Length: 0\r\n\r\n"
)


class Line(asyncio.Transport):
    """Takes what is written, and knows who is to have the answer."""

    protocol: asyncio.Protocol

    def write(self, data: Any) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)


class Near(Endpoint):
    """An endpoint that is here."""

    def __init__(self) -> None:
        super().__init__(Connection(id="b", connection_type="http-push", uri="http://127.0.0.1:1"))
        self.lines: list[Line] = []

    async def connect(self, make: Callable[[], Any], deadline_s: float) -> Any:
        line = Line()
        line.protocol = make()
        line.protocol.connection_made(line)
        self.lines.append(line)
        return line.protocol


class Counted:
    """Receipts: how many."""

    def __init__(self) -> None:
        self.done = 0

    def delivered(self, deliveries: Sequence[Delivery]) -> None:
        self.done += len(deliveries)

    def failed(self, deliveries: Sequence[Delivery], error: RunnerError) -> None:
        raise error

    def lost(self, error: RunnerError) -> None:
        raise error


async def figures(connections: int, rounds: int) -> dict[str, float]:
    """Nanoseconds a request, by what is done."""
    endpoint, counted = Near(), Counted()
    requests = Requests(endpoint, frozenset())
    client = Client(endpoint, requests, counted, size=connections, deadline_s=60.0)
    await client.open()
    every = [delivery(number) for number in range(DEVICES)]
    batches = [every[i : i + connections] for i in range(0, DEVICES, connections)]

    def answers() -> None:
        for line in endpoint.lines:
            if line.protocol.delivery is not None:  # type: ignore[attr-defined]
                line.protocol.data_received(ANSWER)

    def push() -> None:
        for batch in batches:
            client.write(batch)
            answers()

    client.write(every[:connections])
    while len(endpoint.lines) < connections or counted.done < connections:
        await asyncio.sleep(0)
        answers()

    def render() -> None:
        for each in every:
            requests.render(each)

    async def round_of_all() -> float:
        clock = timeit.default_timer()
        push()
        await asyncio.sleep(0)  # receipts are told
        return timeit.default_timer() - clock

    found = {
        "make a delivery": best(lambda: [delivery(n) for n in range(DEVICES)], rounds),
        "render its request": best(render, rounds),
        "all: write, render, answer, receipt": min([await round_of_all() for _ in range(rounds)]),
    }
    await client.close()
    return {name: seconds / DEVICES * 1e9 for name, seconds in found.items()}


def best(run: Callable[[], object], rounds: int) -> float:
    return min(timeit.repeat(run, number=1, repeat=rounds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    for name, ns in uvloop.run(figures(options.connections, options.rounds)).items():
        print(f"{name:40}{ns:8.0f} ns")


if __name__ == "__main__":
    main()
