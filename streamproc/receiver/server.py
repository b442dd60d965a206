"""The receiver's side of a connection: as little work a request as can be."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from typing import cast

import httptools
import msgspec
import orjson

from streamproc.receiver.behaviour import Behaviour, Manner
from streamproc.receiver.ledger import Ledger

MAX_BODY_BYTES = 64 << 20
ON_ITS_WAY_S = 0.25
"""How long after an answer requests may still come that were sent before it arrived."""

RESET_AFTER_S = 0.02
"""So long after half an answer the connection is reset: its peer has read that half."""

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
        self.unanswered = 0  # requests taken, whose answer did not go out as a whole
        self.early = 0  # requests that came before an answer's Retry-After allowed
        self._wait_from = 0.0
        self._wait_until = 0.0

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
            self.unanswered = self.early = 0
            self._wait_from = self._wait_until = 0.0
            return 204, b""
        return None

    def figures(self) -> dict[str, object]:
        return {
            **self.ledger.figures(),
            "connections": self.connections,
            "most_connections": self.most_connections,
            "most_open_requests": self.most_open_requests,
            "unanswered": self.unanswered,
            "early": self.early,
        }

    def ask_to_wait(self, seconds: float) -> None:
        """An answer with Retry-After goes out. What was sent before it arrived may still come."""
        now = time.monotonic()
        if now >= self._wait_until:
            self._wait_from = now + ON_ITS_WAY_S
        self._wait_until = max(self._wait_until, now + seconds)

    def arrived(self) -> None:
        """A request is here."""
        if self._wait_until and self._wait_from < time.monotonic() < self._wait_until:
            self.early += 1


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
            return
        receiver.arrived()
        if receiver.manner.plain:
            receiver.ledger.take(url, body)
            self._transport.write(PLAIN)
        else:
            self._misbehave(receiver.manner, url, body)

    def _misbehave(self, manner: Manner, url: bytes, body: bytes) -> None:
        receiver = self._receiver
        receiver.open_requests += 1
        receiver.most_open_requests = max(receiver.most_open_requests, receiver.open_requests)
        status = manner.status(body)
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
        receiver = self._receiver
        receiver.open_requests -= 1
        taken = 200 <= status < 300
        if self._transport.is_closing():
            receiver.unanswered += taken
            return
        answer = manner.answer(status)
        if wait_s := manner.wait_s(status):
            receiver.ask_to_wait(wait_s)
        if manner.cuts():
            receiver.unanswered += taken
            self._cut(manner.behaviour.cut, answer)
        elif manner.drips():
            receiver.unanswered += taken
            self._drip(answer, 0, manner.behaviour.drip_ms / 1000, taken)
        else:
            self._transport.write(answer)
            if manner.behaviour.close:
                self._transport.close()

    def _cut(self, how: str, answer: bytes) -> None:
        if how == "before":
            self._transport.abort()
        elif how == "within":
            self._transport.write(answer[: len(answer) // 2])
            self._transport.close()
        else:
            head, blank, body = answer.partition(b"\r\n\r\n")
            self._transport.write(head + blank + body[: len(body) // 2])
            asyncio.get_running_loop().call_later(RESET_AFTER_S, self._reset)

    def _reset(self) -> None:
        if not self._transport.is_closing():
            link: socket.socket = self._transport.get_extra_info("socket")
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()

    def _drip(self, answer: bytes, sent: int, every_s: float, taken: bool) -> None:
        """Send one byte of *answer*, and see to the next. It counts as given with the last."""
        if self._transport.is_closing():
            return
        self._transport.write(answer[sent : sent + 1])
        if sent + 1 < len(answer):
            later = asyncio.get_running_loop().call_later
            later(every_s, self._drip, answer, sent + 1, every_s, taken)
        else:
            self._receiver.unanswered -= taken


def _answer(status: int, body: bytes) -> bytes:
    length = b"" if status == 204 else b"Content-Length: %d\r\n" % len(body)
    return b"HTTP/1.1 %d -\r\nContent-Type: application/json\r\n%b\r\n%b" % (status, length, body)
