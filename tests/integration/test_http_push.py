"""HTTP push against a receiver in a process of its own, that misbehaves."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from streamproc.config.connection import Connection
from streamproc.connectors.base import Identity, TargetSpec
from streamproc.connectors.http_push.config import HttpPushOptions
from streamproc.connectors.http_push.target import HttpPushTarget
from streamproc.kernels.delivery import Delivery
from tests.conformance.far_http import Client
from tests.conformance.runner import Tally, eventually, soon


class ReceiverProcess:
    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "streamproc.receiver", "--until-eof", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        self.uri = self.process.stdout.readline().decode().split()[-1]
        self.port = int(self.uri.rpartition(":")[2])

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()

    async def figures(self) -> Any:
        client = Client(self.port)
        await client.connect()
        await client.send(b"GET /ledger HTTP/1.1\r\n\r\n")
        await eventually(lambda: bool(client.answers), "the ledger")
        await client.close()
        return orjson.loads(client.answers[0].body)

    async def behave(self, **behaviour: Any) -> None:
        client = Client(self.port)
        await client.connect()
        await client.post("/behaviour", orjson.dumps(behaviour), {})
        await eventually(lambda: bool(client.answers), "an answer")
        assert client.answers[0].status == 204
        await client.close()


@pytest.fixture
def receiver() -> Iterator[ReceiverProcess]:
    it = ReceiverProcess()
    yield it
    it.close()


class Lanes(Tally):
    """A window over 20 keys: one delivery of a key in flight, failures written again."""

    def __init__(self, receiver: ReceiverProcess, count: int, **options: Any) -> None:
        super().__init__()
        self._rest = {key: [n for n in range(count) if n % 20 == key] for key in range(20)}
        self.left = count
        self.failures = 0
        self.end = HttpPushTarget(
            TargetSpec(
                identity=Identity(connection_id="c"),
                connection=Connection(id="c", connection_type="http-push", uri=receiver.uri),
                options=HttpPushOptions(**options),
                receipts=self,
            )
        )

    async def run(self) -> None:
        await soon(self.end.open())
        for key in range(20):
            self._next(key)
        await eventually(lambda: not self.left, "everything is delivered")
        await soon(self.end.close())

    def delivered(self, deliveries: Any) -> None:
        super().delivered(deliveries)
        self.left -= len(deliveries)
        for delivery in deliveries:
            self._rest[int(delivery.key)].pop(0)
            self._next(int(delivery.key))

    def failed(self, deliveries: Any, error: Any) -> None:
        super().failed(deliveries, error)
        self.failures += len(deliveries)
        for delivery in deliveries:
            self._next(int(delivery.key))

    def _next(self, key: int) -> None:
        if self._rest[key]:
            n = self._rest[key][0]
            value = {"id": f"m-{n}", "device": str(key), "seq": n}
            body = orjson.dumps({"value": value})
            self.write(self.end, [Delivery(0, str(key), "POST:/all", {}, body)])


@pytest.mark.parametrize(
    ("behaviour", "fails"),
    [
        ({}, False),
        ({"close": True}, False),
        ({"status": 200, "body": "x" * 3000}, False),
        ({"failedShare": 0.1}, True),
        ({"cutShare": 0.05, "cut": "within", "status": 200, "body": "xy"}, True),
        ({"slowShare": 0.05, "slowMs": 30, "delayMs": 1}, False),
    ],
)
async def test_all_arrive_in_order_though_the_receiver_misbehaves(
    receiver: ReceiverProcess, behaviour: dict[str, Any], fails: bool
) -> None:
    await receiver.behave(**behaviour)
    lanes = Lanes(receiver, 2000, parallelism=20)
    await lanes.run()
    found = await receiver.figures()
    assert found["unique"] == 2000
    assert found["out_of_order"] == 0
    assert bool(lanes.failures) == fails
    assert found["most_connections"] <= 21  # ours, and the one that asks


async def test_a_receiver_that_stands_still_fails_requests_in_time(
    receiver: ReceiverProcess,
) -> None:
    lanes = Lanes(receiver, 20, parallelism=20, idle_timeout="300ms")
    await soon(lanes.end.open())
    receiver.process.send_signal(signal.SIGSTOP)
    try:
        lanes.write(lanes.end, [Delivery(0, str(n), "POST:/x", {}, b"") for n in range(5)])
        await eventually(lambda: len(lanes.refused) >= 5, "all fail")
    finally:
        receiver.process.send_signal(signal.SIGCONT)
    lanes.left = 0
    await soon(lanes.end.close())
