"""Through an HTTP proxy: tunnels for https, absolute requests for http, and who is let through."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from streamproc.config.connection import Connection
from streamproc.config.service import Hosts, HttpProxy, Service
from streamproc.connectors.base import Identity, TargetSpec
from streamproc.connectors.http_push.config import HttpPushOptions
from streamproc.connectors.http_push.proxy import MAX_HEAD_BYTES, is_direct
from streamproc.connectors.http_push.target import HttpPushTarget
from streamproc.errors import Misconfigured, NotConnected
from streamproc.kernels.delivery import Delivery
from tests.conformance.far_http import NO_CONTENT, Server, Then, read_head
from tests.conformance.runner import Tally, soon
from tests.unit.connectors.http_push.test_oauth import Issuer, credentials
from tests.unit.connectors.http_push.test_tls import context, pem

PASSWORD = "pr0xy-p@ss"
OUR_TALLY = "Basic " + base64.b64encode(f"me:{PASSWORD}".encode()).decode()


async def gone(writer: asyncio.StreamWriter) -> None:
    """Closed, whatever the peer thinks of it."""
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


class FarProxy:
    """A small proxy. ``answer``: what it says instead of doing its work."""

    def __init__(self) -> None:
        self.answer: bytes | Then | None = None
        self.heads: list[tuple[str, dict[str, str]]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            await gone(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.append(writer)
        try:
            first, headers = await read_head(reader)
            self.heads.append((first, headers))
            if isinstance(self.answer, bytes):
                writer.write(self.answer)
                await writer.drain()
            elif self.answer is Then.NOTHING:
                await reader.read()
            elif first.startswith("CONNECT "):
                host, _, port = first.split(" ")[1].rpartition(":")
                await self._pass(reader, writer, host, int(port), b"HTTP/1.1 200 Go\r\n\r\n", b"")
            else:
                method, uri, _ = first.split(" ")
                parts = urlsplit(uri)
                assert parts.hostname is not None
                lines = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
                ahead = f"{method} {parts.path} HTTP/1.1\r\n{lines}\r\n".encode()
                await self._pass(reader, writer, parts.hostname, parts.port or 80, b"", ahead)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        host: str,
        port: int,
        back: bytes,
        ahead: bytes,
    ) -> None:
        up_reader, up_writer = await asyncio.open_connection(host, port)
        self._writers.append(up_writer)
        writer.write(back)
        up_writer.write(ahead)

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()

        both = [
            asyncio.create_task(copy(reader, up_writer)),
            asyncio.create_task(copy(up_reader, writer)),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in both:
                each.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            up_writer.transport.abort()


class Push:
    def __init__(self, target: HttpPushTarget, tally: Tally, server: Server, proxy: FarProxy):
        self.target, self.tally, self.server, self.proxy = target, tally, server, proxy

    async def send(self, count: int = 1) -> None:
        deliveries = [Delivery(0, str(n), "POST:/x", {}, b"hello") for n in range(count)]
        self.tally.write(self.target, deliveries)
        await self.tally.all_in()


@contextlib.asynccontextmanager
async def pushing(
    tls: ssl.SSLContext | None = None,
    *,
    hosts: dict[str, Any] | None = None,
    host: str = "localhost",
    given: dict[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[Push]:
    server, tally, proxy = Server(lambda _: NO_CONTENT), Tally(), FarProxy()
    port = await server.start(tls)
    options = {"host": "127.0.0.1", "port": await proxy.start(), **options}
    connection = Connection(
        id="c",
        connection_type="http-push",
        uri=f"http{'s' if tls else ''}://{host}:{port}",
        ca=pem("ca") if tls or given else None,
        credentials=given,
    )
    target = HttpPushTarget(
        TargetSpec(
            identity=Identity(connection_id="c"),
            connection=connection,
            options=HttpPushOptions(parallelism=2),
            receipts=tally,
            service=Service(http_proxy=HttpProxy(**options), hosts=Hosts(**(hosts or {}))),
        )
    )
    try:
        yield Push(target, tally, server, proxy)
    finally:
        await soon(target.close())
        await server.close()
        await proxy.close()
    tally.check()


async def test_https_goes_through_a_tunnel() -> None:
    async with pushing(context(), username="me", password=PASSWORD) as it:
        await soon(it.target.open())
        await it.send(4)
        assert len(it.tally.done) == 4
        port = it.server._server.sockets[0].getsockname()[1]
        for first, headers in it.proxy.heads:
            assert first == f"CONNECT localhost:{port} HTTP/1.1"
            assert headers == {"host": f"localhost:{port}", "proxy-authorization": OUR_TALLY}
        for request in it.server.requests:
            assert "proxy-authorization" not in request.headers
            assert request.target == "/x"


async def test_the_endpoint_behind_a_tunnel_is_verified() -> None:
    async with pushing(context("wrong-host")) as it:
        with pytest.raises(Misconfigured, match="ostname mismatch"):
            await soon(it.target.open())
        assert not it.server.requests


async def test_http_is_asked_of_the_proxy_itself() -> None:
    async with pushing(username="me", password=PASSWORD) as it:
        await soon(it.target.open())
        await it.send(4)
        assert len(it.tally.done) == 4
        port = it.server._server.sockets[0].getsockname()[1]
        for first, headers in it.proxy.heads:
            assert first == f"POST http://localhost:{port}/x HTTP/1.1"
            assert headers["host"] == f"localhost:{port}"
            assert headers["proxy-authorization"] == OUR_TALLY


async def test_a_device_cannot_speak_to_the_proxy() -> None:
    async with pushing() as it:
        await soon(it.target.open())
        headers = {"Proxy-Authorization": "mine", "proxy-connection": "x"}
        it.tally.write(it.target, [Delivery(0, "k", "POST:/x", headers, b"")])
        await it.tally.all_in()
        ((_, seen),) = it.proxy.heads
        assert not {name for name in seen if name.startswith("proxy")}


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (b"HTTP/1.1 407 Who are you\r\n\r\n", Misconfigured, "407 Proxy Auth"),
        (b"HTTP/1.1 403 No\r\n\r\n", Misconfigured, "403 Forbidden"),
        (b"HTTP/1.1 502 Away\r\n\r\n", NotConnected, "502 Bad Gateway"),
        (b"HTTP/1.1 504 Slow\r\n\r\n", NotConnected, "504 Gateway Timeout"),
        (b"", NotConnected, "closed the connection"),
        (b"HTTP/1.1 20", NotConnected, "closed the connection"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", Misconfigured, "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD_BYTES, Misconfigured, "more than"),
    ],
)
async def test_a_proxy_that_does_not_let_us_through(
    answer: bytes, kind: type[Exception], says: str
) -> None:
    async with pushing(context(), username="me", password=PASSWORD) as it:
        it.proxy.answer = answer
        with pytest.raises(kind, match=says) as told:
            await soon(it.target.open())
        assert PASSWORD not in str(told.value)
        assert OUR_TALLY.split(" ")[1] not in str(told.value)


async def test_a_proxy_that_is_away() -> None:
    async with pushing(context()) as it:
        await it.proxy.close()
        with pytest.raises(NotConnected, match=r"cannot connect to proxy 127\.0\.0\.1"):
            await soon(it.target.open())


async def test_some_hosts_are_reached_without_it() -> None:
    async with pushing(direct=["localhost"]) as it:
        await soon(it.target.open())
        await it.send()
        assert not it.proxy.heads


@pytest.mark.parametrize(
    ("host", "hosts"),
    [
        ("localhost", {"blocked": ["localhost"]}),
        ("localhost", {"blocked_regex": "local.*"}),
        ("127.0.0.1", {"blocked_subnets": ["192.0.2.0/24"]}),
        ("169.254.169.254", {}),
    ],
)
async def test_a_proxy_is_not_asked_for_what_is_forbidden(host: str, hosts: dict[str, Any]) -> None:
    async with pushing(host=host, hosts=hosts) as it:
        with pytest.raises(Misconfigured, match="may not be reached"):
            await soon(it.target.open())
        assert not it.proxy.heads


async def test_rules_for_endpoints_are_no_rules_for_the_proxy() -> None:
    async with pushing(hosts={"blocked_subnets": ["192.0.2.0/24"]}) as it:
        await soon(it.target.open())
        await it.send()
        assert len(it.proxy.heads) == 1


async def test_tokens_are_asked_for_through_it() -> None:
    issuer = Issuer()
    port = await issuer.server.start(context())
    try:
        async with pushing(
            given=credentials(port), username="me", password=PASSWORD, direct=["127.0.0.1"]
        ) as it:
            await soon(it.target.open())
            await it.send()
            first, headers = it.proxy.heads[0]
            assert first == f"CONNECT localhost:{port} HTTP/1.1"
            assert headers["proxy-authorization"] == OUR_TALLY
            assert it.server.requests[0].headers["authorization"] == "Bearer t1"
    finally:
        await issuer.server.close()


@pytest.mark.parametrize(
    ("host", "is_so"),
    [
        ("localhost", True),
        ("LocalHost.", True),
        ("a.internal", True),
        ("internal", False),
        ("notlocalhost", False),
        ("a.internal.example", False),
    ],
)
def test_who_is_reached_directly(host: str, is_so: bool) -> None:
    assert is_direct(host, ["localhost", ".internal"]) is is_so
