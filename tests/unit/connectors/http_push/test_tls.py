"""HTTP push over real TLS: who is trusted, and who is not."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from streamproc.config.connection import Connection
from streamproc.connectors.base import Identity, TargetSpec
from streamproc.connectors.http_push import safety
from streamproc.connectors.http_push.config import HttpPushOptions
from streamproc.connectors.http_push.endpoint import Endpoint
from streamproc.connectors.http_push.target import HttpPushTarget
from streamproc.errors import Misconfigured, NotConnected
from streamproc.kernels.delivery import Delivery
from tests.conformance.far_http import Server
from tests.conformance.runner import Tally, eventually, soon

PEM = Path(__file__).with_name("certificates")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def pem(name: str) -> str:
    return (PEM / f"{name}.pem").read_text()


def part(name: str, what: str) -> str:
    """The key or the certificate of *name*."""
    begin, end = f"-----BEGIN {what}", f"-----END {what}-----"
    text = pem(name)
    return text[text.index(begin) : text.index(end) + len(end)]


def context(name: str = "server") -> ssl.SSLContext:
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    made.load_cert_chain(PEM / f"{name}.pem")
    return made


def target(port: int, host: str, tally: Tally, **connection: Any) -> HttpPushTarget:
    uri = f"https://{host}:{port}"
    return HttpPushTarget(
        TargetSpec(
            identity=Identity(connection_id="c"),
            connection=Connection(id="c", connection_type="http-push", uri=uri, **connection),
            options=HttpPushOptions(parallelism=4),
            receipts=tally,
        )
    )


@contextlib.asynccontextmanager
async def pushing(
    made: ssl.SSLContext, host: str = "localhost", **connection: Any
) -> AsyncIterator[tuple[HttpPushTarget, Tally, Server]]:
    server = Server(lambda _: OK)
    tally = Tally()
    end = target(await server.start(made), host, tally, **connection)
    try:
        yield end, tally, server
    finally:
        await soon(end.close())
        await server.close()


def deliveries(count: int, size: int = 100) -> list[Delivery]:
    return [Delivery(0, str(n), f"POST:/x/{n}", {}, b"x" * size) for n in range(count)]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_trusted_server_gets_everything(host: str) -> None:
    async with pushing(context(), host, ca=pem("ca")) as (end, tally, server):
        await soon(end.open())
        for size in (100, 100_000):
            for _ in range(3):
                tally.write(end, deliveries(4, size))
                await tally.all_in()
        assert len(tally.done) == 24
        assert server.most_connections <= 4


@pytest.mark.parametrize(("certificate", "is_good"), [("wrong-host", True), ("server", False)])
async def test_the_name_that_counts_is_the_uris(
    monkeypatch: pytest.MonkeyPatch, certificate: str, is_good: bool
) -> None:
    """Not the address that the name has, nor any other name of the machine."""

    async def resolved(host: str, port: int) -> list[safety.Place]:
        assert host == "elsewhere.test"
        return [safety.Place(socket.AF_INET, ("127.0.0.1", port))]

    monkeypatch.setattr(safety, "_resolved", resolved)
    async with pushing(context(certificate), "elsewhere.test", ca=pem("ca")) as (end, _, _):
        if is_good:
            await soon(end.open())
        else:
            with pytest.raises(Misconfigured, match="ostname mismatch"):
                await soon(end.open())


async def test_the_servers_own_certificate_can_be_trusted_alone() -> None:
    async with pushing(context(), ca=part("server", "CERTIFICATE")) as (end, tally, _):
        await soon(end.open())
        tally.write(end, deliveries(1))
        await tally.all_in()
        assert len(tally.done) == 1


@pytest.mark.parametrize(
    ("certificate", "ca", "says"),
    [
        ("server", None, "certificate"),
        ("server", "other-ca", "certificate"),
        ("wrong-host", "ca", "ostname mismatch"),
        ("expired", "ca", "expired"),
    ],
)
async def test_a_server_that_cannot_be_trusted_is_a_persons_business(
    certificate: str, ca: str | None, says: str
) -> None:
    trusted = None if ca is None else pem(ca)
    async with pushing(context(certificate), ca=trusted) as (end, _, server):
        with pytest.raises(Misconfigured, match=says):
            await soon(end.open())
        assert not server.requests


@pytest.mark.parametrize("certificate", ["server", "wrong-host", "expired"])
async def test_certificates_are_not_looked_at_where_the_operator_says_so(certificate: str) -> None:
    async with pushing(context(certificate), validate_certificates=False) as (end, tally, _):
        await soon(end.open())
        tally.write(end, deliveries(1))
        await tally.all_in()
        assert len(tally.done) == 1


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_tls_below_1_2_is_not_spoken() -> None:
    old = context()
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    async with pushing(old, ca=pem("ca")) as (end, _, _):
        with pytest.raises((Misconfigured, NotConnected), match="TLS handshake"):
            await soon(end.open())


async def test_a_server_without_tls_is_noticed() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    end = target(server.sockets[0].getsockname()[1], "127.0.0.1", Tally(), ca=pem("ca"))
    try:
        with pytest.raises(Misconfigured, match="TLS handshake"):
            await soon(end.open())
    finally:
        server.close()


async def test_a_client_certificate_is_shown() -> None:
    strict = context()
    strict.verify_mode = ssl.CERT_REQUIRED
    strict.load_verify_locations(PEM / "ca.pem")
    credentials = {
        "type": "client-cert",
        "cert": part("client", "CERTIFICATE"),
        "key": part("client", "EC PRIVATE KEY"),
    }
    async with pushing(strict, ca=pem("ca"), credentials=credentials) as (end, tally, _):
        await soon(end.open())
        tally.write(end, deliveries(4))
        await tally.all_in()
        assert len(tally.done) == 4
    async with pushing(strict, ca=pem("ca")) as (end, tally, server):
        with contextlib.suppress(Misconfigured, NotConnected):
            await soon(end.open())  # with TLS 1.3 the refusal comes with the first answer
            tally.write(end, deliveries(1))
            await tally.all_in()
            assert not tally.done
        assert not server.requests


@pytest.mark.parametrize("broken", ["ca", "key"])
async def test_certificates_that_are_none_are_told(broken: str) -> None:
    credentials = {
        "type": "client-cert",
        "cert": part("client", "CERTIFICATE"),
        "key": "nonsense" if broken == "key" else part("client", "EC PRIVATE KEY"),
    }
    ca = "nonsense" if broken == "ca" else pem("ca")
    async with pushing(context(), ca=ca, credentials=credentials) as (end, _, _):
        with pytest.raises(Misconfigured, match="certificates cannot be used"):
            await soon(end.open())


async def test_a_handshake_that_does_not_end_leaves_nothing_behind() -> None:
    """Nor does one that fails: tried a hundred times a day, for years."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()

    silent = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    connection = Connection(id="c", connection_type="http-push", uri=f"https://127.0.0.1:{port}")
    end = Endpoint(connection)
    with pytest.raises(NotConnected, match="within"):
        await end.connect(asyncio.Protocol, 0.05)
    async with pushing(context("expired"), ca=pem("ca")) as (refusing, _, _):
        with pytest.raises(Misconfigured):
            await soon(refusing.open())
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(10):
            with pytest.raises(NotConnected):
                await end.connect(asyncio.Protocol, 0.02)
            with pytest.raises(Misconfigured):
                await soon(refusing.open())
        await eventually(
            lambda: len(os.listdir("/proc/self/fd")) <= before, "descriptors are given back"
        )
    silent.close()
