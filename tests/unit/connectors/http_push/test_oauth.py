"""Tokens: asked for once, renewed in time, never in a storm, and seen by nobody."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from streamproc.config.connection import Connection
from streamproc.config.service import Hosts, Service
from streamproc.connectors.base import Identity, TargetSpec
from streamproc.connectors.http_push.auth import oauth, tokens
from streamproc.connectors.http_push.auth.echo import without_proof
from streamproc.connectors.http_push.auth.token import Token, form_of, token_of
from streamproc.connectors.http_push.auth.tokens import Tokens
from streamproc.connectors.http_push.config import HttpPushOptions
from streamproc.connectors.http_push.target import HttpPushTarget
from streamproc.errors import (
    ConfigError,
    DeliveryFailed,
    DeliveryRefused,
    Misconfigured,
    NotConnected,
    RunnerError,
)
from streamproc.kernels.delivery import Delivery
from tests.conformance.far_http import NO_CONTENT, Piece, Request, Server, Then
from tests.conformance.runner import Tally, eventually, soon
from tests.unit.connectors.http_push.test_tls import context

PEM = Path(__file__).with_name("certificates")
ALL = Hosts()
SECRET = "s3cr3t-of-the-client"
DENIED = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"


def answer(body: Any, status: int = 200, kind: str = "application/json", more: str = "") -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status} -\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n{more}"
    return head.encode() + b"\r\n" + data


class Issuer:
    """A token endpoint over TLS. ``answer``: what it does; else tokens t1, t2, ..."""

    def __init__(self) -> None:
        self.answer: Callable[[Request], Piece | list[Piece]] | None = None
        self.lifetime_s: object = 3600
        self.issued = 0
        self.server = Server(self._answer)

    @property
    def asked(self) -> int:
        return len(self.server.requests)

    def _answer(self, request: Request) -> Piece | list[Piece]:
        if self.answer is not None:
            return self.answer(request)
        self.issued += 1
        return answer({"access_token": f"t{self.issued}", "expires_in": self.lifetime_s})


class Push:
    def __init__(self, target: HttpPushTarget, tally: Tally, server: Server, issuer: Issuer):
        self.target, self.tally, self.server, self.issuer = target, tally, server, issuer

    async def send(self, count: int = 1) -> None:
        self.write(count)
        await self.tally.all_in()

    def write(self, count: int = 1) -> None:
        self.tally.write(
            self.target, [Delivery(0, str(n), "POST:/x", {}, b"hello") for n in range(count)]
        )

    @property
    def used(self) -> list[str]:
        return [each.headers.get("authorization", "") for each in self.server.requests]


def credentials(port: int, **more: Any) -> dict[str, Any]:
    return {
        "type": "oauth-client-credentials",
        "tokenEndpoint": f"https://localhost:{port}/token",
        "clientId": "me",
        "clientSecret": SECRET,
        "requestedScopes": "a b",
        **more,
    }


@contextlib.asynccontextmanager
async def pushing(
    serve: Callable[[Request], Piece | list[Piece]] = lambda _: NO_CONTENT,
    *,
    is_open: bool = True,
    hosts: Hosts = ALL,
    certificate: str = "server",
    **more: Any,
) -> AsyncIterator[Push]:
    issuer, server, tally = Issuer(), Server(serve), Tally()
    tokens_at = await issuer.server.start(context(certificate))
    uri = f"http://127.0.0.1:{await server.start()}"
    connection = Connection(
        id="c",
        connection_type="http-push",
        uri=uri,
        ca=(PEM / "ca.pem").read_text(),
        credentials=credentials(tokens_at, **more),
    )
    target = HttpPushTarget(
        TargetSpec(
            identity=Identity(connection_id="c"),
            connection=connection,
            options=HttpPushOptions(parallelism=4),
            receipts=tally,
            service=Service(hosts=hosts),
        )
    )
    try:
        if is_open:
            await soon(target.open())
        yield Push(target, tally, server, issuer)
    finally:
        await soon(target.close())
        await server.close()
        await issuer.server.close()
    tally.check()


def aged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every token be old enough to be distrusted."""
    monkeypatch.setattr(tokens, "DISTRUST_AFTER_S", -1.0)


def form(request: Request) -> dict[str, list[str]]:
    return parse_qs(request.body.decode(), strict_parsing=True)


async def test_a_token_is_asked_for_once_and_used_by_all() -> None:
    async with pushing(audience="them") as it:
        for _ in range(3):
            await it.send(10)
        assert set(it.used) == {"Bearer t1"}
        (asked,) = it.issuer.server.requests
        assert (asked.method, asked.target) == ("POST", "/token")
        assert asked.headers["accept"] == "application/json"
        assert form(asked) == {
            "grant_type": ["client_credentials"],
            "client_id": ["me"],
            "client_secret": [SECRET],
            "scope": ["a b"],
            "audience": ["them"],
        }


async def test_the_password_grant() -> None:
    more = {"type": "oauth-password", "username": "u", "password": "p&=", "clientSecret": None}
    async with pushing(**more) as it:
        await it.send()
        assert form(it.issuer.server.requests[0]) == {
            "grant_type": ["password"],
            "client_id": ["me"],
            "scope": ["a b"],
            "username": ["u"],
            "password": ["p&="],
        }


async def test_a_token_that_has_ended_is_replaced_before_anything_leaves() -> None:
    async with pushing() as it:
        it.issuer.lifetime_s = 3600
        client: Any = it.target._client
        client._admission._tokens._token = Token("old", renew_at=0.0, ends_at=0.0)
        await it.send(8)
        assert set(it.used) == {"Bearer t2"}
        assert it.issuer.asked == 2, "one for all that wait"


async def test_a_token_that_will_end_is_renewed_while_it_is_used() -> None:
    async with pushing() as it:
        client: Any = it.target._client
        client._admission._tokens._token = client._admission._tokens._token._replace(renew_at=0.0)
        await it.send()
        assert it.used == ["Bearer t1"], "nothing waits"
        await eventually(lambda: it.issuer.issued == 2, "a new token")
        await eventually(lambda: client._admission._tokens._token.value == "t2", "which is taken")
        await it.send()
        assert it.used[-1] == "Bearer t2"


async def test_a_refused_token_is_replaced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    aged(monkeypatch)

    def serve(request: Request) -> bytes:
        return NO_CONTENT if request.headers["authorization"] == "Bearer t2" else DENIED

    async with pushing(serve) as it:
        await it.send(4)
        assert len(it.tally.done) == 4
        assert it.issuer.asked == 2, "four were refused, one asked"


async def test_who_is_refused_twice_hears_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    aged(monkeypatch)
    async with pushing(lambda _: DENIED) as it:
        await it.send()
        ((_, error),) = it.tally.refused
        assert isinstance(error, DeliveryRefused)
        assert len(it.used) == 2
        await it.send()
        assert len(it.used) == 4, "the next one has a second try, too"
        assert not it.target._client._admission._renewed  # type: ignore[attr-defined]


async def test_a_new_token_that_is_refused_makes_no_storm() -> None:
    async with pushing(lambda _: DENIED) as it:
        for _ in range(5):
            await it.send(4)
        assert it.issuer.asked == 1
        assert len(it.used) == 20


@pytest.mark.parametrize(
    ("does", "kind"),
    [
        (lambda _: answer({"error": "invalid_client"}, 401), Misconfigured),
        (lambda _: answer({"error": "temporarily_unavailable"}, 503), NotConnected),
        (lambda _: answer({}, 429, more="Retry-After: 7\r\n"), NotConnected),
        (lambda _: answer(b"<html>", kind="text/html"), Misconfigured),
        (lambda _: answer(b"[" * 100_000), Misconfigured),
        (lambda _: answer({"access_token": "x" * 70_000}), Misconfigured),
        (lambda _: answer({"access_token": "a\r\nb: c"}), Misconfigured),
        (lambda _: answer({"access_token": "x", "token_type": "mac"}), Misconfigured),
        (lambda _: answer({"access_token": "x", "expires_in": 0}), NotConnected),
        (
            lambda _: b"HTTP/1.1 302 -\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n",
            Misconfigured,
        ),
        (lambda _: [b"HTTP/1.1 200 OK\r\nContent-Le", Then.RESET], NotConnected),
        (lambda _: b"garbage\r\n\r\n", NotConnected),
    ],
)
async def test_a_token_endpoint_that_gives_none(does: Any, kind: type[RunnerError]) -> None:
    async with pushing(is_open=False) as it:
        it.issuer.answer = does
        with pytest.raises(kind) as told:
            await soon(it.target.open())
        assert SECRET not in str(told.value)
        assert "\n" not in str(told.value)
        with pytest.raises(kind):  # told again, not asked again
            await soon(it.target.open())
        assert it.issuer.asked == 1
        assert not it.server.requests


async def test_a_slow_token_endpoint_costs_a_deadline_and_no_delivery(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with pushing() as it:
        monkeypatch.setattr(oauth, "DEADLINE_S", 0.05)
        it.issuer.answer = lambda _: Then.NOTHING
        client: Any = it.target._client
        client._admission._tokens._token = None
        it.write(3)
        await it.tally.all_in()
        errors = [error for _, error in it.tally.refused]
        assert len(errors) == 3
        for error in errors:
            assert isinstance(error, DeliveryFailed)
            assert "did not answer within" in str(error)
            assert error.retry_after_s is not None
        asked = it.issuer.asked
        client._admission._tokens._ask_at += 1000.0
        for _ in range(10):
            await it.send()
        assert it.issuer.asked == asked, "told at once while the wait is on"
        assert not it.tally.losses
        it.issuer.answer = None
        monkeypatch.setattr(oauth, "DEADLINE_S", 10.0)
        client._admission._tokens._ask_at = 0.0
        await it.send()
        assert it.used == ["Bearer t2"]


async def test_a_token_endpoint_that_is_down() -> None:
    async with pushing(is_open=False) as it:
        await it.issuer.server.close()
        with pytest.raises(NotConnected, match="token endpoint localhost cannot be asked"):
            await soon(it.target.open())


@pytest.mark.parametrize("certificate", ["expired", "wrong-host"])
async def test_a_token_endpoint_that_cannot_be_trusted_hears_no_secret(certificate: str) -> None:
    async with pushing(is_open=False, certificate=certificate) as it:
        with pytest.raises(Misconfigured, match="TLS handshake"):
            await soon(it.target.open())
        assert it.issuer.asked == 0


async def test_the_rules_for_hosts_hold_for_the_token_endpoint() -> None:
    hosts = Hosts(blocked_subnets=["192.0.2.0/24"], allowed=["127.0.0.1"])
    async with pushing(is_open=False, hosts=Hosts(blocked=["localhost"])) as it:
        with pytest.raises(Misconfigured, match="localhost may not be reached"):
            await soon(it.target.open())
        assert it.issuer.server.connections == 0
    async with pushing(hosts=hosts) as it:
        await it.send()


async def test_closing_while_a_token_is_awaited() -> None:
    async with pushing() as it:
        it.issuer.answer = lambda _: Then.NOTHING
        client: Any = it.target._client
        client._admission._tokens._token = None
        it.write(3)
        await eventually(lambda: it.issuer.asked == 2, "the request for a token")
        await soon(it.target.close())
        assert [type(error) for _, error in it.tally.refused] == [NotConnected] * 3


async def test_an_endpoint_that_repeats_our_token_does_not_get_it_into_errors() -> None:
    def serve(request: Request) -> bytes:
        return answer({"you sent": request.headers["authorization"]}, 400)

    async with pushing(serve) as it:
        it.issuer.answer = lambda _: answer({"access_token": "a-t0ken", "expires_in": 9})
        client: Any = it.target._client
        client._admission._tokens._token = None
        await it.send()
        ((_, error),) = it.tally.refused
        assert "Bearer ***" in str(error)
        assert "t0ken" not in str(error)


@pytest.mark.parametrize("cut", range(1, 12))
def test_nor_the_beginning_of_it(cut: int) -> None:
    head = b"POST / HTTP/1.1\r\nAuthorization: Basic c2VjcmV0LXBhc3M=\r\n\r\n"
    said = without_proof(b"you: c2VjcmV0LXBhc3M="[:-cut], head)
    assert said == b"you: ***"


def test_secrets_go_over_https() -> None:
    plain = credentials(1) | {"tokenEndpoint": "http://h/token"}
    made = Connection(id="c", connection_type="http-push", uri="http://h:1", credentials=plain)
    with pytest.raises(ConfigError, match="expected https"):
        oauth.TokenEndpoint(made, Service())


def jwt(**claims: Any) -> str:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{body}.sig"


@pytest.mark.parametrize(
    ("body", "lifetime_s"),
    [
        ({"access_token": "opaque"}, 300.0),
        ({"access_token": "opaque", "expires_in": 100}, 100.0),
        ({"access_token": "opaque", "expires_in": "100"}, 100.0),
        ({"access_token": "opaque", "expires_in": True}, 300.0),
        ({"access_token": "opaque", "expires_in": [1]}, 300.0),
        ({"access_token": jwt(exp=5060)}, 60.0),
        ({"access_token": jwt(exp=5060), "expires_in": 30}, 30.0),
        ({"access_token": jwt(exp=5060), "expires_in": 90}, 60.0),
        ({"access_token": jwt(exp="x")}, 300.0),
        ({"access_token": "e30.W10.x"}, 300.0),
        ({"access_token": "e30.!!.x", "expires_in": 30}, 30.0),
    ],
)
def test_how_long_a_token_holds(body: dict[str, Any], lifetime_s: float) -> None:
    found = token_of(200, "application/json; charset=utf-8", json.dumps(body).encode(), 10.0, 5000)
    assert isinstance(found, Token)
    assert found.ends_at == 10.0 + lifetime_s
    assert found.renew_at == found.ends_at - min(60.0, lifetime_s / 2)
    assert found.value not in repr(found)


def test_what_is_posted_is_what_was_given() -> None:
    assert "client_secret" not in form_of(credentials(1) | {"clientSecret": None})


async def test_waits_grow_between_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens.random, "random", lambda: 1.0)
    asked = iter([None, None, None, 90.0])

    async def fetch() -> tuple[RunnerError, float | None]:
        return NotConnected("no"), next(asked)

    made = Tokens(fetch, lambda _: pytest.fail("there is none"))
    loop, waits = asyncio.get_running_loop(), []
    for _ in range(4):
        made._ask_at = 0.0
        with pytest.raises(NotConnected):
            await made.obtain()
        waits.append(round(made._ask_at - loop.time()))
    assert waits == [1, 2, 4, 90]


def test_who_needs_no_tokens_brings_no_client_for_them() -> None:
    code = (
        "import sys; import streamproc.connectors.http_push.target;"
        "sys.exit('aiohttp' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
