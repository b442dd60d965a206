"""The client against endpoints of every temper: each delivery has its one right receipt."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from streamproc.config.connection import Connection
from streamproc.connectors.base import Identity, TargetSpec
from streamproc.connectors.http_push.config import HttpPushOptions
from streamproc.connectors.http_push.reader import MAX_ANSWER_BYTES, MAX_HEAD_BYTES
from streamproc.connectors.http_push.target import HttpPushTarget, bodiless, deadline_s
from streamproc.errors import ConfigError, DeliveryFailed, DeliveryRefused, NotConnected
from streamproc.kernels.delivery import Delivery
from streamproc.kernels.signal import ABSENT
from streamproc.protocol.acks import Wanted
from tests.conformance.far_http import NO_CONTENT, Piece, Request, Server, Then
from tests.conformance.proxy import Proxy
from tests.conformance.runner import Tally, eventually, opened, soon

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Push:
    """A target with its endpoint."""

    def __init__(self, server: Server, target: HttpPushTarget, tally: Tally) -> None:
        self.server = server
        self.target = target
        self.tally = tally

    def write(self, count: int = 1, payload: bytes = b"hello") -> list[Delivery]:
        deliveries = [
            Delivery(0, str(n), "POST:/x", {"content-type": "a/b"}, payload) for n in range(count)
        ]
        self.tally.write(self.target, deliveries)
        return deliveries

    async def send(self, count: int = 1, payload: bytes = b"hello") -> None:
        self.write(count, payload)
        await self.tally.all_in()

    @property
    def error(self) -> Any:
        """The one failure."""
        ((_, error),) = self.tally.refused
        return error


def target(port: int, tally: Tally, **options: Any) -> HttpPushTarget:
    uri = f"http://127.0.0.1:{port}"
    return HttpPushTarget(
        TargetSpec(
            identity=Identity(connection_id="c"),
            connection=Connection(id="c", connection_type="http-push", uri=uri),
            options=HttpPushOptions(**options),
            receipts=tally,
        )
    )


@pytest.fixture
async def closing() -> AsyncIterator[contextlib.AsyncExitStack]:
    """Closes what is pushed on it, also when the test fails."""
    async with contextlib.AsyncExitStack() as stack:
        yield stack


@contextlib.asynccontextmanager
async def push(
    *answers: Piece | list[Piece],
    answer: Callable[[Request], Piece | list[Piece]] | None = None,
    **options: Any,
) -> AsyncIterator[Push]:
    """A target whose endpoint gives *answers*, one a request, the last for ever."""
    rest: Iterator[Piece | list[Piece]] = iter(answers[:-1])
    server = Server(answer or (lambda _: next(rest, answers[-1] if answers else NO_CONTENT)))
    port = await server.start()
    tally = Tally()
    end = target(port, tally, **options)
    try:
        await end.open()
        yield Push(server, end, tally)
    finally:
        await soon(end.close())
        await server.close()
    tally.check()


@pytest.mark.parametrize(
    "answer",
    [
        NO_CONTENT,
        OK,
        b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\nLocation: /x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: 1\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        b"HTTP/1.1 102 -\r\n\r\nHTTP/1.1 103 -\r\nLink: x\r\n\r\n" + OK,
        b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
    ],
)
@pytest.mark.parametrize("split", ["whole", "bytes"])
async def test_answers_that_keep_the_connection(answer: bytes, split: str) -> None:
    pieces: list[Piece] = [answer]
    if split == "bytes":
        pieces = [answer[i : i + 1] for i in range(len(answer))]
    async with push(pieces) as it:
        for _ in range(3):
            await it.send()
        assert len(it.tally.done) == 3
        assert it.server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        [b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"],
        [b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", Then.CLOSE],
        [b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", Then.CLOSE],
        [b"HTTP/1.1 200 OK\r\n\r\nuntil the end", Then.CLOSE],
        [b"HTTP/1.0 200 OK\r\n\r\n", b"until ", b"the end", Then.CLOSE],
        [OK + b"HTTP/1.1 500 nobody asked\r\nContent-Length: 0\r\n\r\n"],
        [OK + b"garbage"],
        [b"HTTP/1.1 204 -\r\nConnection: close\r\n\r\n"],
        [
            b"HTTP/1.1 102 -\r\nContent-Length: 7\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\nuntil",
            Then.CLOSE,
        ],
    ],
)
async def test_answers_after_which_a_new_connection_is_made(answer: list[Piece]) -> None:
    async with push(answer) as it:
        for _ in range(3):
            await it.send()
        assert len(it.tally.done) == 3
        assert it.server.connections == 3


async def test_bytes_nobody_asked_for_end_an_idle_connection() -> None:
    async with push([NO_CONTENT, b"HTTP/1.1 408 bored\r\nContent-Length: 0\r\n\r\n"]) as it:
        await it.send()
        await eventually(lambda: it.server.open_connections == 0, "the connection is closed")
        await it.send()
        assert len(it.tally.done) == 2


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        ([b"SSH-2.0-OpenSSH_9.2\r\n\r\n"], DeliveryFailed, "does not speak HTTP"),
        ([b"\x16\x03\x01\x00\x02\x02\x28"], DeliveryFailed, "does not speak HTTP"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"], DeliveryFailed, "not speak HTTP"),
        ([b"HTTP/1.1 101 -\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"], DeliveryFailed, ""),
        ([b"HTTP/1.1 200 OK\r\nX: " + b"y" * MAX_HEAD_BYTES], DeliveryFailed, "head of the answer"),
        (
            [b"HTTP/1.1 100 -\r\n\r\n" * (MAX_HEAD_BYTES // 10)],
            DeliveryFailed,
            "head of the answer",
        ),
        ([Then.CLOSE], DeliveryFailed, "closed before the answer"),
        ([Then.RESET], DeliveryFailed, "closed before the answer"),
        ([b"HTTP/1.1 200 OK\r\nContent-Le", Then.CLOSE], DeliveryFailed, "closed within"),
        (
            [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", Then.CLOSE],
            DeliveryFailed,
            "within",
        ),
        (
            [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", Then.RESET],
            DeliveryFailed,
            "within",
        ),
        (
            [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", Then.CLOSE],
            DeliveryFailed,
            "closed within",
        ),
        ([b"HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n"], DeliveryRefused, ""),
        (
            [b"HTTP/1.1 404 -\r\nContent-Length: 4\r\n\r\nnope"],
            DeliveryRefused,
            "404 Not Found: nope",
        ),
        ([b"HTTP/1.1 503 -\r\n\r\n", b"bu", b"sy", Then.CLOSE], DeliveryFailed, "503"),
        ([b"HTTP/1.1 304 -\r\nContent-Length: 10\r\n\r\n"], DeliveryRefused, "304"),
    ],
)
async def test_answers_that_are_failures(answer: list[Piece], kind: type, says: str) -> None:
    async with push(answer, NO_CONTENT) as it:
        await it.send()
        assert type(it.error) is kind
        assert says in str(it.error)
        await it.send()
        assert len(it.tally.done) == 1, "the client must be whole after a failure"
        assert not it.tally.losses


async def test_retry_after_is_told() -> None:
    head = b"HTTP/1.1 429 -\r\nContent-Length: 0\r\nRetry-After: %d\r\n\r\n"
    async with push(head % 7, head % 8, NO_CONTENT) as it:
        await it.send()
        assert it.error.retry_after_s == 7
        await it.send()
        assert it.tally.refused[1][1].retry_after_s == 8  # type: ignore[attr-defined]


async def test_failures_alike_are_told_together() -> None:
    calls: list[int] = []
    async with push(b"HTTP/1.1 503 -\r\nContent-Length: 0\r\n\r\n", parallelism=8) as it:
        failed = it.tally.failed
        it.tally.failed = lambda d, e: (calls.append(len(d)), failed(d, e))[1]  # type: ignore[method-assign]
        await it.send(8)
        assert sum(calls) == 8
        assert len(calls) < 8


async def test_an_endless_answer_is_judged_by_its_status() -> None:
    head = b"HTTP/1.1 %d -\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = [b"10000\r\n" + b"x" * 0x10000 + b"\r\n"] * (MAX_ANSWER_BYTES // 0x10000 + 2)
    async with push([head % 200, *body, Then.NOTHING], [head % 500, *body, Then.NOTHING]) as it:
        await it.send()
        assert len(it.tally.done) == 1
        await it.send()
        assert len(str(it.error)) < 2000


async def test_an_answer_is_recognised_by_its_head_not_by_its_body() -> None:
    def answer(request: Request) -> Piece:
        number = len(it.server.requests)
        body = b"x" * (number % 3)
        status = 200 if number < 50 else 404
        return b"HTTP/1.1 %d -\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)

    async with push(answer=answer) as it:
        for _ in range(49):
            await it.send()
        assert len(it.tally.done) == 49
        await it.send()
        assert it.error.details["status"] == 404
        assert it.server.connections == 1


async def test_a_chunked_head_says_nothing_of_its_length() -> None:
    head = b"HTTP/1.1 200 -\r\nTransfer-Encoding: chunked\r\n\r\n"
    whole = head + b"0\r\n\r\n"
    async with push(whole, [head + b"2\r\nab", b"\r\n0\r\n\r\n"], whole, OK) as it:
        for _ in range(4):
            await it.send()
        assert len(it.tally.done) == 4
        assert it.server.connections == 1


async def test_a_known_head_with_more_behind_it_ends_the_connection() -> None:
    async with push(OK, OK, OK + OK, OK) as it:
        for _ in range(4):
            await it.send()
        assert len(it.tally.done) == 4
        assert it.server.connections == 2


async def test_a_refusal_behind_an_interim_answer_is_no_success_of_before() -> None:
    interim = b"HTTP/1.1 100 -\r\n\r\n"
    refused = [interim + b"HTTP/1.1 503 -\r\n\r\n", Then.CLOSE]
    async with push(interim + b"HTTP/1.1 204 -\r\n\r\n", refused) as it:
        await it.send()
        await it.send()
        assert len(it.tally.done) == 1
        assert "503" in str(it.error)


async def test_what_is_sent_again_goes_before_what_waits() -> None:
    async with push(NO_CONTENT, [Then.CLOSE], NO_CONTENT) as it:
        await it.send(payload=b"zeroth")
        it.write(payload=b"first")
        it.write(payload=b"second")
        await it.tally.all_in()
        bodies = [request.body for request in it.server.requests]
        assert bodies == [b"zeroth", b"first", b"first", b"second"]


async def test_each_connection_has_one_request_in_flight_and_there_are_no_more_than_asked() -> None:
    hold: list[Piece] = [Then.NOTHING]
    async with push(answer=lambda _: hold, parallelism=5) as it:
        it.write(5)
        await it.server.wait(5, 30)
        assert sorted(request.connection for request in it.server.requests) == [0, 1, 2, 3, 4]
        assert it.server.most_connections == 5


async def test_parallelism_is_not_rounded() -> None:
    async with push(OK, parallelism=3) as it:
        assert it.target.capacity == 3
        for _ in range(20):
            await it.send(3)
        assert it.server.most_connections == 3


async def test_connections_are_made_when_needed_and_the_last_one_used_is_used_next() -> None:
    async with push(OK, parallelism=50) as it:
        for _ in range(20):
            await it.send()
        assert it.server.connections == 1


async def test_of_several_idle_connections_the_one_used_last_is_used() -> None:
    async with push(OK, parallelism=3) as it:
        await it.send(3)
        for _ in range(5):
            await it.send()
        assert len({request.connection for request in it.server.requests[3:]}) == 1


async def test_not_even_a_runner_that_writes_too_much_gets_more_connections() -> None:
    async with push(OK, parallelism=3) as it:
        await it.send(20)
        assert len(it.tally.done) == 20
        assert it.server.most_connections == 3


async def test_a_connection_closed_while_idle_costs_nobody_anything() -> None:
    async with push([OK, Then.CLOSE], OK) as it:
        await it.send()
        await eventually(lambda: it.server.open_connections == 0, "the server closed it")
        await it.send()
        assert len(it.tally.done) == 2


async def test_a_keep_alive_race_is_run_once_more_and_no_one_hears_of_it() -> None:
    # The second request meets a connection that is reset before a byte of its answer.
    async with push(OK, [Then.RESET], OK) as it:
        await it.send()
        await it.send()
        assert len(it.tally.done) == 2
        assert len(it.server.requests) == 3


async def test_a_race_is_not_run_twice() -> None:
    async with push(OK, [Then.RESET], [Then.RESET], OK) as it:
        await it.send()
        await it.send()
        assert "before the answer" in str(it.error)
        assert len(it.server.requests) == 3


async def test_a_race_is_not_run_on_a_connection_that_idled_as_long() -> None:
    before = 0  # connections, when the endpoint is started anew

    def answer(request: Request) -> Piece | list[Piece]:
        return [Then.RESET] if request.connection < before else OK

    async with push(answer=answer, parallelism=4) as it:
        rounds = 0
        while len({request.connection for request in it.server.requests}) < 4:
            await it.send(4)  # until each connection was used
            rounds += 1
        before = it.server.connections
        for _ in range(4):  # each meets a connection of before
            await it.send()
        await it.send(4)
        assert len(it.tally.done) == 4 * rounds + 8
        assert it.server.most_connections <= 4


async def test_a_race_is_not_run_twice_on_a_connection_that_has_just_answered(
    closing: contextlib.AsyncExitStack,
) -> None:
    both, gate = asyncio.Barrier(2), asyncio.Event()
    tries = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tries
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(4)
                if body == b"warm":
                    await both.wait()  # so that each has a connection of its own
                elif body == b"slow":
                    await gate.wait()
                elif body == b"lost":
                    tries += 1
                    writer.transport.abort()
                    return
                writer.write(OK)
                await writer.drain()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    closing.callback(server.close)
    tally = Tally()
    end = target(server.sockets[0].getsockname()[1], tally, parallelism=2)
    closing.push_async_callback(end.close)
    await end.open()
    tally.write(end, [Delivery(0, "k", "POST:/", {}, b"warm") for _ in range(2)])
    await tally.all_in()
    server.close()  # so that the second try has no new connection to go to
    tally.write(end, [Delivery(0, "k", "POST:/", {}, b) for b in (b"slow", b"lost")])
    await eventually(lambda: tries == 1, "the first try is lost")
    gate.set()
    await tally.all_in()
    assert tries == 2
    assert "before the answer" in str(tally.refused[0][1])


async def test_an_early_answer_to_a_large_request_is_an_answer(
    closing: contextlib.AsyncExitStack,
) -> None:
    early = asyncio.Event()
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 -\r\nContent-Length: 3\r\n\r\nbig")
        await writer.drain()
        await early.wait()
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1024)
    closing.callback(server.close)
    closing.callback(early.set)
    tally = Tally()
    end = target(server.sockets[0].getsockname()[1], tally)
    closing.push_async_callback(end.close)
    await end.open()
    tally.write(end, [Delivery(0, "k", "POST:/", {"content-type": "a/b"}, b"x" * (32 << 20))])
    await tally.all_in()
    assert "413" in str(tally.refused[0][1])
    # The rest of the first request is still to be sent: the connection is of no more use.
    tally.write(end, [Delivery(0, "k", "POST:/", {}, b"x")])
    await tally.all_in()
    assert connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        [Then.NOTHING],
        [b"HTTP/1.1 200 OK\r\n", Then.NOTHING],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", Then.NOTHING],
    ],
)
async def test_an_answer_that_does_not_come_in_time_is_a_failure(answer: list[Piece]) -> None:
    async with push(answer, OK, idle_timeout="200ms") as it:
        began = asyncio.get_running_loop().time()
        await it.send()
        assert asyncio.get_running_loop().time() - began >= 0.2
        assert "no answer within 0.2 s" in str(it.error)
        await it.send()
        assert len(it.tally.done) == 1
        assert not it.tally.losses


async def test_slow_bytes_do_not_extend_the_deadline() -> None:
    drip: list[Piece] = [b"HTTP/1.1 200 OK\r\n"] + [b"X: y\r\n"] * 100_000
    async with push(drip, idle_timeout="200ms") as it:
        await it.send()
        assert "no answer within" in str(it.error)


async def test_one_slow_request_does_not_hold_the_others() -> None:
    def answer(request: Request) -> Piece | list[Piece]:
        return [Then.NOTHING] if request.body == b"slow" else OK

    async with push(answer=answer, parallelism=2) as it:
        it.write(1, b"slow")
        for _ in range(20):
            before = len(it.tally.done)
            it.write()
            await eventually(lambda b=before: len(it.tally.done) > b, "the others go on")  # type: ignore[misc]
        assert len(it.tally.expected) == 1


async def test_an_unreachable_endpoint_is_lost_after_its_deliveries_failed(
    closing: contextlib.AsyncExitStack,
) -> None:
    server = Server(lambda _: OK)
    proxy = Proxy("127.0.0.1", await server.start())
    await proxy.start()
    tally = Tally()
    end = target(proxy.port, tally, parallelism=4)
    closing.push_async_callback(server.close)
    closing.push_async_callback(proxy.close)
    closing.push_async_callback(end.close)
    await end.open()
    for _ in range(3):
        tally.write(end, [Delivery(0, "k", "POST:/", {}, b"") for _ in range(4)])
        await tally.all_in()
        done = len(tally.done)
        await proxy.cut()
        await eventually(lambda: server.open_connections == 0, "all connections are gone")
        losses = len(tally.losses)
        tally.write(end, [Delivery(0, "k", "POST:/", {}, b"") for _ in range(4)])
        await eventually(lambda n=losses: len(tally.losses) > n, "the link is lost")  # type: ignore[misc]
        assert len(tally.done) == done
        assert isinstance(tally.losses[-1], NotConnected)
        assert isinstance(tally.refused[-1][1], NotConnected)
        with pytest.raises(NotConnected):
            await end.open()
        await proxy.mend()
        await opened(end)


async def test_nothing_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: refused
        with pytest.raises(NotConnected, match="cannot connect"):
            await soon(target(taken.getsockname()[1], Tally()).open())


async def test_a_name_that_is_nobodys() -> None:
    end = HttpPushTarget(
        TargetSpec(
            identity=Identity(connection_id="c"),
            connection=Connection(id="c", connection_type="http-push", uri="http://no.invalid:1"),
            options=HttpPushOptions(),
            receipts=Tally(),
        )
    )
    with pytest.raises(NotConnected, match="cannot resolve"):
        await soon(end.open())


async def test_what_cannot_be_sent_is_refused_and_the_rest_goes_on() -> None:
    async with push(OK, parallelism=3) as it:
        good = Delivery(0, "a", "POST:/x", {}, b"1")
        bad = Delivery(0, "b", "POST:/x", {"x": "a\r\nb: c"}, b"2")
        it.tally.write(it.target, [good, bad, Delivery(0, "c", "POST:/x", {}, b"3")])
        await it.tally.all_in()
        assert type(it.error) is DeliveryRefused
        assert {request.body for request in it.server.requests} == {b"1", b"3"}


async def test_close_is_quick_though_the_endpoint_is_not() -> None:
    async with push([Then.NOTHING], parallelism=4) as it:
        it.write(4)
        await it.server.wait(4, 30)
        await soon(it.target.close())
        await it.tally.all_in()
        assert all(isinstance(error, NotConnected) for _, error in it.tally.refused)
        assert not it.tally.losses
        await eventually(lambda: it.server.open_connections == 0, "all connections are closed")


async def test_no_timer_is_left_when_nothing_is_in_flight() -> None:
    async with push(OK, idle_timeout="100ms") as it:
        await it.send()
        client = it.target._client
        await eventually(lambda: client._pool._timer is None, "the clock stands still")
        await it.send()
        assert len(it.tally.done) == 2


@pytest.mark.parametrize(
    ("text", "seconds"), [("60s", 60), ("500ms", 0.5), ("1m", 60), ("7", 7), ("0s", 60)]
)
def test_durations(text: str, seconds: float) -> None:
    assert deadline_s(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1s", "61s", "2m", "1.5s", "1h", "60 000ms"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ConfigError):
        deadline_s(text)


def test_methods_without_a_body() -> None:
    assert bodiless("GET,DELETE") == {"GET", "DELETE"}
    assert bodiless(" GET , HEAD") == {"GET", "HEAD"}
    assert bodiless("") == frozenset()
    assert bodiless(["PUT"]) == {"PUT"}
    with pytest.raises(ConfigError):
        bodiless("GET,FOO")


def test_credentials_it_does_not_know_are_told_at_start() -> None:
    connection = Connection(
        id="c", connection_type="http-push", uri="http://h", credentials={"type": "magic"}
    )
    with pytest.raises(ConfigError, match="magic"):
        HttpPushTarget(
            TargetSpec(
                identity=Identity(connection_id="c"),
                connection=connection,
                options=HttpPushOptions(),
                receipts=Tally(),
            )
        )


async def test_a_connection_that_nobody_needs_is_let_go() -> None:
    """Before the endpoint does, at a moment of its own; the next request makes another."""
    async with push(NO_CONTENT, keep_alive="50ms", idle_timeout="100ms", parallelism=3) as it:
        await it.send(3)
        await eventually(lambda: it.server.open_connections == 0, "an idle connection is closed")
        assert len(it.tally.done) == 3
        await it.send(2)
        assert len(it.tally.done) == 5
        assert not it.tally.losses
        await eventually(lambda: it.server.open_connections == 0, "again")
        assert it.target._client._pool._timer is None, "nothing ticks for nothing"  # type: ignore[attr-defined]


async def test_a_connection_that_is_used_is_kept() -> None:
    async with push(NO_CONTENT, keep_alive="10s", idle_timeout="100ms") as it:
        for _ in range(10):
            await it.send()
            await asyncio.sleep(0.02)
        assert it.server.connections == 1


async def test_an_endpoint_that_went_away_while_all_was_still() -> None:
    async with push(NO_CONTENT, keep_alive="20ms", idle_timeout="1s") as it:
        await eventually(lambda: it.server.open_connections == 0, "the idle connection is closed")
        it.server._server.close()
        await it.send(2)
        assert [type(error) for _, error in it.tally.refused] == [NotConnected] * 2
        assert len(it.tally.losses) == 1


JSON = b"HTTP/1.1 %d -\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"


def answering(status: int, body: bytes) -> bytes:
    return JSON % (status, len(body), body)


async def said(it: Push, label: str = "c:done", *, most: int = 1000, payload: bytes = b"{}") -> Any:
    """What one delivery is acknowledged with."""
    delivery = Delivery(0, "k", "POST:/x", {}, payload)
    delivery.wanted = Wanted(label, most)
    it.tally.write(it.target, [delivery])
    await it.tally.all_in()
    ack = delivery.wanted.receipt()
    return ack.status, ack.payload


async def test_an_answer_is_the_acknowledgement_of_who_wants_one() -> None:
    text = b"HTTP/1.1 202 -\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi"
    known = answering(200, b"[1]"), answering(200, b"[2]"), answering(200, b"[3]")
    refusal = answering(400, b'{"no":1}')
    async with push(known[0], known[1], *known[1:], text, refusal, NO_CONTENT) as it:
        await it.send()  # so that the head of the next is known
        await it.send()  # and all of the one behind that
        assert await said(it) == (200, [2])
        assert await said(it) == (200, [3])
        assert await said(it) == (202, "hi")
        assert await said(it) == (400, {"no": 1})
        assert await said(it) == (204, ABSENT)
        assert it.server.connections == 1


async def test_the_body_of_an_acknowledgement_is_bounded() -> None:
    fits, more = b'"%b"' % (b"x" * 4998), b'"%b"' % (b"x" * 4999)
    chunked = b"HTTP/1.1 200 -\r\nTransfer-Encoding: chunked\r\nContent-Type: text/plain\r\n\r\n"
    body = [b"1000\r\n" + b"y" * 0x1000 + b"\r\n"] * 3
    async with push(
        answering(200, fits),
        answering(200, more),
        answering(422, more),
        [chunked, *body, b"0\r\n\r\n"],
    ) as it:
        assert await said(it, most=5000) == (200, "x" * 4998)
        for status in (200, 422, 200):
            found, payload = await said(it, most=5000)
            assert found == status
            assert payload == {"message": "the answer has more than 5000 bytes"}
        assert len(str(it.tally.refused[0][1])) < 2000


async def test_a_live_response_may_be_an_envelope_of_the_same_signal() -> None:
    mine, other = "ns/a/things/live/messages/ask", "ns/b/things/live/messages/ask"
    envelope = b'{"topic":"%b","path":"/","status":418,"value":"tea"}'
    answers = [answering(200, envelope % topic.encode()) for topic in (mine, mine, other)]
    payload = b'{"topic":"%b"}' % mine.encode()
    async with push(*answers) as it:
        assert await said(it, "live-response", payload=payload) == (418, "tea")
        status, whole = await said(it, payload=payload)
        assert (status, whole["status"]) == (200, 418)
        status, _ = await said(it, "live-response", payload=payload)
        assert status == 500
