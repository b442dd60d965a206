"""HTTP ingestion, from the client's side: every request has its right answer, in order."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from streamproc.config.connection import Connection, Source
from streamproc.connectors.base import Batch, Identity, SourceSpec, Verdict
from streamproc.connectors.http_ingest import server as server_module
from streamproc.connectors.http_ingest.config import HttpIngestOptions
from streamproc.connectors.http_ingest.connection import PIPELINED
from streamproc.connectors.http_ingest.head import MAX_HEAD_BYTES, MAX_HEADERS, MAX_URL_BYTES
from streamproc.connectors.http_ingest.source import HttpIngestSource
from streamproc.errors import EndOfStream, Misconfigured, SignalError
from tests.conformance.far_http import Answer, Client
from tests.conformance.runner import eventually, soon


class Ingest:
    """A listener with sources and clients, all closed at the end."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.fd: int = self._socket.fileno()
        self._sources: list[HttpIngestSource] = []
        self._clients: list[Client] = []

    async def source(self, *paths: str, qos: int | None = None, **spec: Any) -> HttpIngestSource:
        options = {n: spec.pop(n) for n in list(spec) if n in HttpIngestOptions.__struct_fields__}
        source = Source(addresses=list(paths or ("/in",)), qos=qos)  # type: ignore[arg-type]
        place = f"127.0.0.1:{self.port}"
        made = HttpIngestSource(
            SourceSpec(
                identity=Identity(connection_id="c"),
                connection=Connection(
                    id="c", connection_type="http-ingest", uri=f"http://{place}", sources=[source]
                ),
                options=HttpIngestOptions(**options),
                source=source,
                listeners={place: self._socket.fileno()},
                **spec,
            )
        )
        await made.open()
        self._sources.append(made)
        return made

    async def client(self) -> Client:
        client = Client(self.port)
        await client.connect()
        self._clients.append(client)
        return client

    async def close(self) -> None:
        for source in self._sources:
            await source.close()
        for client in self._clients:
            await client.close()
        await asyncio.sleep(0)
        self._socket.close()


@pytest.fixture
async def ingest() -> AsyncIterator[Ingest]:
    it = Ingest()
    yield it
    await it.close()
    assert not server_module._servers


def accept(source: HttpIngestSource, batch: Batch) -> None:
    source.settle(batch.origin, batch.tokens, Verdict.ACCEPT, {})


async def answers(client: Client, count: int) -> list[Answer]:
    await eventually(lambda: len(client.answers) >= count or client.ended, f"{count} answers")
    return client.answers


def error(answer: Answer) -> str:
    value = json.loads(answer.body)
    assert value["status"] == answer.status
    assert value["message"]
    return str(value["error"])


async def test_a_message_is_answered_when_it_is_settled(ingest: Ingest) -> None:
    source = await ingest.source()
    client = await ingest.client()
    await client.post("/in?a=b&c", b"hello", {"X-Thing": "ü", "content-type": "text/plain"})
    batch = await soon(source.read())
    assert batch.payloads == [b"hello"]
    assert batch.headers == [
        {
            "host": "t",
            "x-thing": "ü",
            "content-type": "text/plain",
            "http.path": "/in",
            "http.query": "a=b&c",
            "http.method": "POST",
        }
    ]
    await asyncio.sleep(0.05)
    assert not client.answers
    accept(source, batch)
    assert await answers(client, 1) == [Answer(204, {}, b"")]


async def test_qos_0_is_answered_202(ingest: Ingest) -> None:
    source = await ingest.source(qos=0)
    client = await ingest.client()
    await client.post("/in", b"x", {})
    accept(source, await soon(source.read()))
    assert (await answers(client, 1))[0].status == 202


async def test_verdicts_become_answers(ingest: Ingest) -> None:
    source = await ingest.source(retry_after_s=7)
    client = await ingest.client()
    for _ in range(3):
        await client.post("/in", b"x", {})
    tokens: list[int] = []
    while len(tokens) < 3:
        tokens += (await soon(source.read())).tokens
    why = SignalError("connectivity:connection.id.enforcement.failed", "not yours", id="a:b")
    source.settle(None, tokens[:1], Verdict.REJECT, {tokens[0]: why})
    source.settle(None, tokens[1:2], Verdict.REJECT, {})
    source.settle(None, tokens[2:], Verdict.REDELIVER, {})
    refused, refused_too, again = await answers(client, 3)
    assert refused.status == 400
    assert json.loads(refused.body) == {
        "status": 400,
        "error": "connectivity:connection.id.enforcement.failed",
        "message": "not yours",
        "id": "a:b",
    }
    assert refused_too.status == 422
    assert (again.status, again.headers["retry-after"]) == (503, "7")


async def test_pipelined_requests_are_answered_in_order(ingest: Ingest) -> None:
    source = await ingest.source()
    client = await ingest.client()
    for n in range(10):
        await client.post("/in" if n % 3 else "/nowhere", b"%d" % n, {})
    batches: list[tuple[bytes, int]] = []
    while len(batches) < 6:
        batch = await soon(source.read())
        batches += zip(batch.payloads, batch.tokens, strict=True)
    for _, token in reversed(batches):
        await asyncio.sleep(0)
        source.settle(None, [token], Verdict.ACCEPT, {})
    found = [answer.status for answer in await answers(client, 10)]
    assert found == [404 if n % 3 == 0 else 204 for n in range(10)]


async def test_a_client_that_pipelines_without_end_is_held_back(ingest: Ingest) -> None:
    source = await ingest.source(prefetch_bytes=1 << 30)
    client = await ingest.client()
    count, body = 5 * PIPELINED, b"x" * 20_000

    async def send() -> None:
        for _ in range(count):
            await client.post("/in", body, {})

    async def settle() -> None:
        while True:
            accept(source, await source.read())

    sending = asyncio.create_task(send())
    await eventually(lambda: len(source._waiting) >= PIPELINED, "as many as may wait have come")
    await asyncio.sleep(0.1)
    assert len(source._waiting) <= PIPELINED + (1 << 18) // len(body) + 1  # one read may bring more
    settling = asyncio.create_task(settle())
    await soon(sending)
    await answers(client, count)
    assert [answer.status for answer in client.answers] == [204] * count
    settling.cancel()


async def test_a_client_that_reads_no_answers_gets_none_made(ingest: Ingest) -> None:
    """Refusals cost it nothing: they must not pile up here."""
    await ingest.source()
    count = 100_000  # their answers have 20 MB: more than sockets hold
    reader, writer = await asyncio.open_connection("127.0.0.1", ingest.port)
    reader._transport.pause_reading()  # type: ignore[attr-defined]

    async def ask() -> None:
        for _ in range(count // 1000):
            writer.write(b"GET /in HTTP/1.1\r\n\r\n" * 1000)
            await writer.drain()

    asking = asyncio.create_task(ask())
    server = server_module._servers[ingest.fd]
    await eventually(lambda: bool(server.connections), "a connection")
    (connection,) = server.connections
    await eventually(lambda: connection._paused, "it is held back")
    assert connection._transport is not None
    assert connection._transport.get_write_buffer_size() < 4 << 20

    reader._transport.resume_reading()  # type: ignore[attr-defined]
    answered, rest = 0, b""
    while answered < count:
        rest += await soon(reader.read(1 << 20))
        answered += rest.count(b"HTTP/1.1 405")
        rest = rest[-11:]
    await soon(asking)
    writer.close()


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (b"POST /other HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", 404, "path_unknown"),
        (b"GET /in HTTP/1.1\r\n\r\n", 405, "method_not_allowed"),
        (b"DELETE /in HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", 405, "method_not_allowed"),
        (b"POST /in HTTP/1.1\r\nHost: t\r\n\r\n", 411, "length_required"),
        (b"POST /in HTTP/1.1\r\nContent-Length: 1001\r\n\r\n", 413, "message_too_large"),
        (
            b"POST /in HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"x" * 1001,
            413,
            "message_too_large",
        ),
        (
            b"POST /in HTTP/1.1\r\nContent-Length: 1\r\nX: " + b"y" * MAX_HEAD_BYTES + b"\r\n\r\nx",
            431,
            "headers.too.large",
        ),
        (b"POST /in HTTP/1.1\r\nX: " + b"y" * 3 * MAX_HEAD_BYTES, 431, "headers.too.large"),
        (
            b"POST /in HTTP/1.1\r\nContent-Length: 1\r\n" + b"a: b\r\n" * MAX_HEADERS + b"\r\nx",
            431,
            "headers.too.large",
        ),
        (
            b"POST /in?" + b"y" * MAX_URL_BYTES + b" HTTP/1.1\r\nContent-Length: 1\r\n\r\nx",
            414,
            "uri_too_long",
        ),
        (b"POST /in HTTP/1.1\r\nExpect: magic\r\nContent-Length: 1\r\n\r\n", 417, "expectation"),
        (b"POST /in HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400, "malformed_request"),
        (b"POST /in HTTP/1.1\r\nbad header\r\n\r\n", 400, "malformed_request"),
        (b"hello\r\n\r\n", 400, "malformed_request"),
        (
            b"POST /in HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"1\r\nx\r\n0\r\n\r\n",
            400,
            "malformed_request",
        ),
    ],
)
async def test_what_becomes_no_message(
    ingest: Ingest, request_: bytes, status: int, code: str
) -> None:
    source = await ingest.source(max_message_bytes=1000)
    client = await ingest.client()
    await client.send(request_)
    (answer,) = await answers(client, 1)
    assert answer.status == status
    assert error(answer).startswith(code)
    assert (status == 405) == ("allow" in answer.headers)
    assert not source._waiting
    assert source._waiting_bytes == 0


@pytest.mark.parametrize("size", [1, 60_000])
async def test_a_refused_request_leaves_the_connection_usable(ingest: Ingest, size: int) -> None:
    source = await ingest.source()
    client = await ingest.client()
    await client.post("/other", b"x" * size, {})
    await client.post("/in", b"good", {})
    batch = await soon(source.read())
    assert batch.payloads == [b"good"]
    accept(source, batch)
    assert [answer.status for answer in await answers(client, 2)] == [404, 204]


@pytest.mark.parametrize("step", [1, 7, 10_000])
async def test_a_request_may_come_in_pieces(ingest: Ingest, step: int) -> None:
    source = await ingest.source()
    client = await ingest.client()
    text = (
        b"POST /in HTTP/1.1\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n4;e=1\r\ndefg\r\n0\r\nX-Trailer: t\r\n\r\n"
        b"PUT http://h/in HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi"
    )
    for first in range(0, len(text), step):
        await client.send(text[first : first + step])
    found: list[tuple[bytes, dict[str, str]]] = []
    while len(found) < 2:
        batch = await soon(source.read())
        found += zip(batch.payloads, batch.headers, strict=True)
        accept(source, batch)
    assert found == [
        (b"abcdefg", {"x": "y", "http.path": "/in", "http.method": "POST"}),
        (b"hi", {"http.path": "/in", "http.method": "PUT"}),
    ]
    assert [answer.status for answer in await answers(client, 2)] == [204, 204]


async def test_our_own_headers_cannot_be_forged_and_repeated_ones_are_joined(
    ingest: Ingest,
) -> None:
    source = await ingest.source()
    client = await ingest.client()
    await client.send(
        b"POST /in HTTP/1.1\r\nHTTP.Path: /evil\r\nhttp.query: evil\r\nhttp.method: evil\r\n"
        b"X: 1\r\nx: 2\r\nConnection: keep-alive\r\nKeep-Alive: 5\r\nContent-Length: 0\r\n\r\n"
    )
    batch = await soon(source.read())
    assert batch.headers == [{"x": "1, 2", "http.path": "/in", "http.method": "POST"}]
    accept(source, batch)


async def test_100_continue_is_sent_where_the_body_is_wanted(ingest: Ingest) -> None:
    source = await ingest.source(max_message_bytes=1000)
    client = await ingest.client()
    head = b"POST /in HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    await client.send(head % 5)
    assert [answer.status for answer in await answers(client, 1)] == [100]
    await client.send(b"hello")
    accept(source, await soon(source.read()))
    assert [answer.status for answer in await answers(client, 2)] == [100, 204]
    await client.send(head % 5000)
    assert [answer.status for answer in await answers(client, 3)] == [100, 204, 413]
    await eventually(lambda: client.ended, "the connection is closed")


async def test_100_continue_waits_for_the_answers_before_it(ingest: Ingest) -> None:
    source = await ingest.source()
    client = await ingest.client()
    await client.post("/in", b"first", {})
    batch = await soon(source.read())
    await client.send(b"POST /in HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
    await asyncio.sleep(0.05)
    assert not client.answers
    accept(source, batch)
    assert [answer.status for answer in await answers(client, 2)] == [204, 100]


@pytest.mark.parametrize("limit", [{"prefetch": 3}, {"prefetch_bytes": 3000}])
async def test_a_full_window_is_answered_503_and_nothing_is_dropped(
    ingest: Ingest, limit: dict[str, int]
) -> None:
    source = await ingest.source(retry_after_s=9, **limit)
    clients = [await ingest.client() for _ in range(6)]
    for client in clients:
        await client.post("/in", b"x" * 900, {})
    await eventually(lambda: sum(len(c.answers) for c in clients) >= 3, "three are refused")
    refused = [client.answers[0] for client in clients if client.answers]
    assert [(a.status, a.headers["retry-after"]) for a in refused] == [(503, "9")] * len(refused)
    batch = await soon(source.read())
    assert len(batch.tokens) == 6 - len(refused)
    accept(source, batch)
    for client in clients:
        assert (await answers(client, 1))[0].status in (204, 503)
    await clients[0].post("/in", b"more", {})
    assert (await soon(source.read())).payloads == [b"more"]


async def test_bodies_on_their_way_count_for_the_window(ingest: Ingest) -> None:
    source = await ingest.source(prefetch_bytes=10_000)
    slow = await ingest.client()
    await slow.send(b"POST /in HTTP/1.1\r\nContent-Length: 9000\r\n\r\nbegin")
    await eventually(lambda: source._waiting_bytes == 9000, "room is kept for it")
    other = await ingest.client()
    await other.post("/in", b"x" * 2000, {})
    assert (await answers(other, 1))[0].status == 503
    await slow.close()
    await eventually(lambda: source._waiting_bytes == 0, "the room is free again")
    await other.post("/in", b"x" * 2000, {})
    assert (await soon(source.read())).payloads == [b"x" * 2000]


async def test_what_is_not_settled_in_time_is_answered_504(
    ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "SWEEP_S", 0.02)
    source = await ingest.source(answer_within_s=0.1)
    client = await ingest.client()
    await client.post("/in", b"read", {})
    batch = await soon(source.read())
    await client.post("/in", b"unread", {})
    assert [answer.status for answer in await answers(client, 2)] == [504, 504]
    accept(source, batch)  # too late, and quiet
    assert source._waiting_bytes == 0
    await client.post("/in", b"next", {})
    assert (await soon(source.read())).payloads == [b"next"], "what was answered is not read"


async def test_idle_and_slow_connections_are_closed(
    ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "SWEEP_S", 0.02)
    await ingest.source(idle_s=0.1)
    idle, slow = await ingest.client(), await ingest.client()
    await slow.send(b"POST /in HTTP/1.1\r\nContent-Length: 5\r\n\r\nab")
    await eventually(lambda: idle.ended and bool(slow.answers), "both are told")
    assert slow.answers[0].status == 408
    assert not idle.answers


async def test_connections_are_bounded(ingest: Ingest) -> None:
    source = await ingest.source(max_connections=2)
    first, second = await ingest.client(), await ingest.client()
    await first.post("/in", b"1", {})
    await second.post("/in", b"2", {})
    accept(source, await soon(source.read()))
    third = await ingest.client()
    assert (await answers(third, 1))[0].status == 503
    await eventually(lambda: third.ended, "it is closed")


async def test_connection_close_and_http_1_0_are_honoured(ingest: Ingest) -> None:
    source = await ingest.source()
    for text in (
        b"POST /in HTTP/1.1\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
        b"POST /in HTTP/1.0\r\nContent-Length: 1\r\n\r\nx",
        b"POST /in HTTP/1.1\r\nUpgrade: h2c\r\nConnection: upgrade\r\nContent-Length: 1\r\n\r\nx",
    ):
        client = await ingest.client()
        await client.send(text)
        accept(source, await soon(source.read()))
        assert [answer.status for answer in await answers(client, 1)] == [204]
        await eventually(lambda c=client: c.ended, "the connection is closed")  # type: ignore[misc]


async def test_several_sources_share_a_listener(ingest: Ingest) -> None:
    things = await ingest.source("/things", "/more")
    others = await ingest.source("/others/*")
    client = await ingest.client()
    await client.post("/more?x", b"1", {})
    await client.post("/others/a/b", b"2", {})
    await client.post("/others", b"3", {})
    await client.post("/things", b"4", {})
    batch = await soon(others.read())
    assert (batch.payloads, batch.headers[0]["http.path"]) == ([b"2"], "/others/a/b")
    accept(others, batch)
    read: list[bytes] = []
    while len(read) < 2:
        batch = await soon(things.read())
        read += batch.payloads
        accept(things, batch)
    assert read == [b"1", b"4"]
    assert [answer.status for answer in await answers(client, 4)] == [204, 204, 404, 204]
    await others.close()
    await client.post("/others/a", b"5", {})
    assert (await answers(client, 5))[4].status == 404


async def test_sources_of_one_path_share_its_messages(ingest: Ingest) -> None:
    both = [await ingest.source(prefetch=4), await ingest.source(prefetch=4)]
    client = await ingest.client()
    for n in range(8):
        await client.post("/in", b"%d" % n, {})
    read = [await soon(source.read()) for source in both]
    assert [len(batch.payloads) for batch in read] == [4, 4]


async def test_a_stopped_source_gives_back_what_was_not_read(ingest: Ingest) -> None:
    source = await ingest.source()
    client, idle = await ingest.client(), await ingest.client()
    await client.post("/in", b"read", {})
    batch = await soon(source.read())
    await client.post("/in", b"waiting", {})
    await eventually(lambda: bool(source._waiting), "the second has arrived")
    await source.stop()
    with pytest.raises(EndOfStream):
        await source.read()
    accept(source, batch)
    first, second = await answers(client, 2)
    assert (first.status, second.status) == (204, 503)
    assert "connection" not in first.headers
    assert second.headers["connection"] == "close"
    await eventually(lambda: client.ended and idle.ended, "connections end")


async def test_close_answers_what_is_open(ingest: Ingest) -> None:
    source = await ingest.source()
    client = await ingest.client()
    await client.post("/in", b"x", {})
    batch = await soon(source.read())
    await source.close()
    assert (await answers(client, 1))[0].status == 503
    accept(source, batch)


async def test_new_clients_wait_while_nobody_listens(ingest: Ingest) -> None:
    """The master keeps the socket: between two sources a client is not refused."""
    first = await ingest.source()
    await first.close()
    client = await ingest.client()
    await client.post("/in", b"x", {})
    second = await ingest.source()
    accept(second, await soon(second.read()))
    assert (await answers(client, 1))[0].status == 204


async def test_a_client_that_leaves_early_harms_nobody(ingest: Ingest) -> None:
    source = await ingest.source()
    client = await ingest.client()
    await client.post("/in", b"x", {})
    batch = await soon(source.read())
    await client.close()
    (server,) = server_module._servers.values()
    await eventually(lambda: not server.connections, "its end was noticed")
    accept(source, batch)
    other = await ingest.client()
    await other.post("/in", b"y", {})
    accept(source, await soon(source.read()))
    assert (await answers(other, 1))[0].status == 204


async def test_a_worker_without_the_socket_says_so() -> None:
    source = Source(addresses=["/in"])
    made = HttpIngestSource(
        SourceSpec(
            identity=Identity(connection_id="c"),
            connection=Connection(id="c", connection_type="http-ingest", uri="http://h:1"),
            options=HttpIngestOptions(),
            source=source,
        )
    )
    with pytest.raises(Misconfigured, match="h:1"):
        await made.open()
