"""The receiver as a process: it says where it is, counts, misbehaves on request, reports."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.far_http import Client
from tests.conformance.runner import eventually


class Running:
    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "streamproc.receiver", "--until-eof", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        self.uri = self.process.stdout.readline().decode().split()[-1]
        self.port = int(self.uri.rpartition(":")[2])

    async def end(self) -> int:
        """Close its standard input; -> exit code"""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        return await asyncio.to_thread(self.process.wait, 30)


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    it = Running("--report", str(tmp_path / "report.json"), "--key", "/k", "--id", "/id")
    yield it
    if it.process.poll() is None:
        await it.end()


async def connect(running: Running) -> Client:
    client = Client(running.port)
    await client.connect()
    return client


async def ask(client: Client, request: bytes) -> Any:
    before = len(client.answers)
    await client.send(request)
    await eventually(lambda: len(client.answers) > before or client.ended, "an answer")
    return client.answers[-1] if len(client.answers) > before else None


async def figures(client: Client) -> Any:
    return json.loads((await ask(client, b"GET /ledger HTTP/1.1\r\n\r\n")).body)


def post(path: str, body: bytes) -> bytes:
    return f"POST {path} HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def test_it_counts_and_reports(running: Running, tmp_path: Path) -> None:
    client = await connect(running)
    for n in (1, 2, 2):
        answer = await ask(client, post("/a/b", b'{"id": "x-%d", "k": "d"}' % n))
        assert answer.status == 204
    found = await figures(client)
    assert (found["received"], found["unique"], found["connections"]) == (3, 2, 1)
    await client.close()
    assert await running.end() == 0
    assert json.loads((tmp_path / "report.json").read_text())["unique"] == 2


async def test_it_behaves_as_told(running: Running) -> None:
    client = await connect(running)
    behaviour = b'{"failedShare": 0.5, "failedStatus": 429, "retryAfter": "7", "status": 200}'
    assert (await ask(client, post("/behaviour", behaviour))).status == 204
    statuses = []
    for n in range(40):
        answer = await ask(client, post("/a", b'{"id": "x-%d"}' % n))
        statuses.append(answer.status)
        assert (answer.headers.get("retry-after") == "7") == (answer.status == 429)
    assert 5 < statuses.count(429) < 35
    found = await figures(client)
    assert found["refused"] == statuses.count(429)
    assert found["unique"] == statuses.count(200)
    assert (await ask(client, post("/reset", b""))).status == 204
    assert (await figures(client))["unique"] == 0
    assert (await ask(client, post("/behaviour", b'{"delay": 1}'))).status == 400
    await client.close()


async def test_it_refuses_bodies_with_a_text(running: Running) -> None:
    client = await connect(running)
    await ask(client, post("/behaviour", b'{"bad": "x-2", "badStatus": 422}'))
    statuses = [
        (await ask(client, post("/a", body))).status
        for body in (b'{"id": "x-1"}', b'[{"id": "x-2"}, {"id": "x-3"}]', b'{"id": "x-3"}')
    ]
    assert statuses == [204, 422, 204]
    assert (await figures(client))["unique"] == 2
    await client.close()


@pytest.mark.parametrize("cut", ["before", "within", "reset"])
async def test_it_cuts_connections(running: Running, cut: str) -> None:
    client = await connect(running)
    behaviour = {"cutShare": 1, "cut": cut, "status": 200, "body": "half of this"}
    await ask(client, post("/behaviour", json.dumps(behaviour).encode()))
    assert await ask(client, post("/a", b'{"id": "x-1"}')) is None
    await client.close()
    other = await connect(running)
    found = await figures(other)
    assert (found["unique"], found["unanswered"]) == (1, 1)
    await other.close()


async def test_an_answer_that_drips_is_given_or_left(running: Running) -> None:
    """Taken, and counted as not answered until its last byte is out."""
    patient, hasty = await connect(running), await connect(running)
    await ask(patient, post("/behaviour", b'{"dripShare": 1, "dripMs": 2}'))
    assert (await ask(patient, post("/a", b'{"id": "x-1"}'))).status == 204
    assert (await figures(patient))["unanswered"] == 0
    await ask(patient, post("/behaviour", b'{"dripShare": 1, "dripMs": 60000}'))
    await hasty.send(post("/a", b'{"id": "x-2"}'))
    await eventually(lambda: hasty.sent == 1, "it is sent")
    other = await connect(running)
    while (await figures(other))["unique"] < 2:
        await asyncio.sleep(0.01)
    await hasty.close()
    assert (await figures(other))["unanswered"] == 1
    await other.close()
    await patient.close()


async def test_it_records_requests_that_come_before_they_may(running: Running) -> None:
    client = await connect(running)
    await ask(client, post("/behaviour", b'{"status": 503, "retryAfter": "1"}'))
    await ask(client, post("/a", b'{"id": "x-1"}'))
    await ask(client, post("/a", b'{"id": "x-1"}'))  # may have been on its way
    assert (await figures(client))["early"] == 0
    await asyncio.sleep(0.5)
    await ask(client, post("/behaviour", b"{}"))
    await ask(client, post("/a", b'{"id": "x-1"}'))
    assert (await figures(client))["early"] == 1
    await asyncio.sleep(0.8)
    await ask(client, post("/a", b'{"id": "x-2"}'))
    assert (await figures(client))["early"] == 1
    await client.close()


async def test_a_delay_keeps_requests_open(running: Running) -> None:
    clients = [await connect(running) for _ in range(3)]
    await ask(clients[0], post("/behaviour", b'{"delayMs": 100}'))
    await asyncio.gather(
        *(ask(c, post("/a", b'{"id": "x-%d"}' % n)) for n, c in enumerate(clients))
    )
    assert (await figures(clients[0]))["most_open_requests"] == 3
    for client in clients:
        await client.close()


async def test_garbage_is_answered(running: Running) -> None:
    client = await connect(running)
    assert (await ask(client, b"hello\r\n\r\n")).status == 400
    await client.close()
