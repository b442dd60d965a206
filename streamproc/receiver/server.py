"""The receiver's side of a connection: as little work a request as can be."""

from __future__ import annotations

import asyncio
from typing import cast

import httptools
import msgspec
import orjson

from streamproc.receiver.behaviour import Behaviour, Manner
from streamproc.receiver.ledger import Ledger

MAX_BODY_BYTES = 64 << 20
PLAIN = b"HTTP/1.1 204 No Content\r\n\r\n"
_behaviour = msgspec.json.Decoder(Behaviour)


class Receiver:
    """What all connections share."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.manner = Manner(Behaviour())
        self.connections = 0  # open now
        self.most_connections = 0
        self.open_requests = 0
        self.most_open_requests = 0

    def connection(self) -> Connection:
        return Connection(self)

    def control(self, method: bytes, path: bytes, body: bytes) -> tuple[int, bytes] | None:
        """The answer to a request that is not for the ledger, or None."""
        if method == b"GET" and path == b"/ledger":
            return 200, orjson.dumps(self.figures())
        if method == b"POST" and path == b"/behaviour":
            try:
                self.manner = Manner(_behaviour.decode(body or b"{}"))
            except msgspec.ValidationError as error:
                return 400, str(error).encode()
            return 204, b""
        if method == b"POST" and path == b"/reset":
            self.ledger.reset()
            self.most_connections = self.connections
            self.most_open_requests = self.open_requests
            return 204, b""
        return None

    def figures(self) -> dict[str, object]:
        return {
            **self.ledger.figures(),
            "connections": self.connections,
            "most_connections": self.most_connections,
            "most_open_requests": self.most_open_requests,
        }


class Connection(asyncio.Protocol):
    """Answers one request after another."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        receiver = self._receiver
        receiver.connections += 1
        receiver.most_connections = max(receiver.most_connections, receiver.connections)

    def connection_lost(self, exc: Exception | None) -> None:
        self._receiver.connections -= 1

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.write(b"HTTP/1.1 400 -\r\nConnection: close\r\n\r\n")
            self._transport.close()

    # Called by the parser.

    def on_message_begin(self) -> None:
        self._body = b""

    def on_url(self, url: bytes) -> None:
        self._url = url

    def on_body(self, body: bytes) -> None:
        self._body = self._body + body if self._body else body
        if len(self._body) > MAX_BODY_BYTES:
            self._transport.abort()

    def on_message_complete(self) -> None:
        receiver = self._receiver
        method = self._parser.get_method()
        url, body = self._url, self._body
        if (control := receiver.control(method, url, body)) is not None:
            self._transport.write(_answer(*control))
        elif receiver.manner.plain:
            receiver.ledger.take(url, body)
            self._transport.write(PLAIN)
        else:
            self._misbehave(receiver.manner, url, body)

    def _misbehave(self, manner: Manner, url: bytes, body: bytes) -> None:
        receiver = self._receiver
        receiver.open_requests += 1
        receiver.most_open_requests = max(receiver.most_open_requests, receiver.open_requests)
        status = manner.status()
        if 200 <= status < 300:
            receiver.ledger.take(url, body)
        else:
            receiver.ledger.refused += 1
        delay_s = manner.delay_s()
        if delay_s:
            asyncio.get_running_loop().call_later(delay_s, self._answer, manner, status)
        else:
            self._answer(manner, status)

    def _answer(self, manner: Manner, status: int) -> None:
        self._receiver.open_requests -= 1
        if self._transport.is_closing():
            return
        answer = manner.answer(status)
        if manner.cuts():
            if manner.behaviour.cut == "within":
                self._transport.write(answer[: len(answer) // 2])
                self._transport.close()
            else:
                self._transport.abort()
            return
        self._transport.write(answer)
        if manner.behaviour.close:
            self._transport.close()


def _answer(status: int, body: bytes) -> bytes:
    length = b"" if status == 204 else b"Content-Length: %d\r\n" % len(body)
    return b"HTTP/1.1 %d -\r\nContent-Type: application/json\r\n%b\r\n%b" % (status, length, body)
