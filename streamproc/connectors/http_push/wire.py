"""One TCP connection to an endpoint: one request in flight, never two.

An answer seen before is recognised by its head and skipped as a whole; any other goes
through the parser. After every answer the parser stands at the start of the next one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import httptools

from streamproc.connectors.http_push.answer import EXCERPT_BYTES
from streamproc.connectors.http_push.request import JOIN_BYTES, Request
from streamproc.kernels.delivery import Delivery

if TYPE_CHECKING:
    from streamproc.connectors.http_push.client import Client

MAX_HEAD_BYTES = 64 * 1024
MAX_ANSWER_BYTES = 1 << 20
"""An answer is read so far and decided by its status; then the connection is closed."""

KNOWN_HEADS = 256
KNOWN_HEAD_BYTES = 2048
_END = b"\r\n\r\n"


class Wire(asyncio.Protocol):
    """``send`` takes a delivery; the client gets it back through one of its four calls:
    ``accepted``, ``answered``, ``broken`` or ``unread``."""

    __slots__ = (
        "_body",
        "_client",
        "_complete",
        "_extra",
        "_fed",
        "_framed",
        "_headed",
        "_interim",
        "_keep",
        "_known",
        "_large",
        "_length",
        "_parser",
        "_parsing",
        "_request",
        "_retry_after",
        "_status",
        "_transport",
        "_used",
        "delivery",
        "since",
    )

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known = client.known_heads
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self.delivery: Delivery | None = None
        self.since = 0  # tick of the client's clock at which the request was taken
        self._request: Request = b""
        self._large = False  # the request may still be on its way when its answer comes
        self._used = False  # was answered before: the peer may close it at any moment
        self._start()

    def send(self, delivery: Delivery, request: Request, since: int) -> None:
        """Write *request*. The wire must be idle."""
        assert self._transport is not None
        self.delivery = delivery
        self.since = since
        self._request = request
        if isinstance(request, tuple):
            self._large = True
            self._transport.writelines(request)
        else:
            self._large = len(request) >= JOIN_BYTES
            self._transport.write(request)

    def abort(self) -> None:
        """Close at once. Nothing more is heard of the delivery."""
        self.delivery = None
        if self._transport is not None:
            self._transport.abort()

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        delivery = self.delivery
        if delivery is None:
            self.abort()  # nobody asked
            return
        if not self._parsing:
            end = data.find(_END)
            if end > 0 and self._known.get(data[:end]) == len(data) - end:
                self.delivery = None
                self._used = True
                self._client.accepted(delivery, self, not self._large or self._flushed())
                return
            self._parsing = True
        self._parse(data)

    def connection_lost(self, exc: Exception | None) -> None:
        delivery, self.delivery = self.delivery, None
        self._transport = None
        self._client.gone(self)
        if delivery is None:
            return
        if self._parsing and self._headed and not self._framed and exc is None:
            self._decide(delivery, keep=False)  # a body that ends with its connection
        elif self._used and not self._parsing:
            self._client.unread(delivery, self._request, self.since)
        else:
            when = "within" if self._parsing else "before"
            why = f": {exc}" if exc is not None and str(exc) else ""
            self._client.broken(delivery, f"connection closed {when} the answer{why}")

    # Called by the parser.

    def on_message_begin(self) -> None:
        if self._complete:
            self._extra = True
            return
        self._headed = self._framed = False
        self._retry_after = None

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._complete:
            return
        low = name.lower()
        if low == b"content-length":
            self._framed = True
            self._length = int(value)
        elif low == b"transfer-encoding" and b"chunked" in value.lower():
            self._framed = True
            self._length = -1
        elif low == b"retry-after":
            self._retry_after = value

    def on_headers_complete(self) -> None:
        if self._complete:
            return
        assert self._parser is not None
        self._status = self._parser.get_status_code()
        self._headed = True

    def on_body(self, body: bytes) -> None:
        if len(self._body) < EXCERPT_BYTES and not self._complete:
            self._body += body[: EXCERPT_BYTES - len(self._body)]

    def on_message_complete(self) -> None:
        assert self._parser is not None
        if self._complete:
            return
        if 100 <= self._status < 200:
            self._interim = True
            self._headed = False
            return
        self._complete = True
        self._keep = self._parser.should_keep_alive()

    # What became of the request.

    def _start(self) -> None:
        """Be ready for an answer."""
        self._parsing = False  # some of the answer went into the parser
        self._headed = False  # the head of the final answer is complete
        self._framed = False  # it says where its body ends
        self._interim = False  # a 1xx came before
        self._complete = False
        self._extra = False  # more came behind the answer
        self._keep = False
        self._status = 0
        self._length = 0
        self._fed = 0
        self._body = b""
        self._retry_after: bytes | None = None

    def _parse(self, data: bytes) -> None:
        delivery = self.delivery
        assert delivery is not None
        first = self._fed == 0
        self._fed += len(data)
        if self._parser is None:
            self._parser = httptools.HttpResponseParser(self)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._break(delivery, "endpoint switched protocols unasked")
            return
        except httptools.HttpParserError as error:
            if not self._complete:
                self._break(delivery, f"endpoint does not speak HTTP/1.1: {error}")
                return
            self._extra = True
        if self._complete:
            keep = self._keep and not self._extra
            if keep and first and not self._interim and 200 <= self._status < 300:
                self._remember(data)
            self._decide(delivery, keep=keep and (not self._large or self._flushed()))
        elif not self._headed:
            if self._fed > MAX_HEAD_BYTES:
                self._break(delivery, f"head of the answer exceeds {MAX_HEAD_BYTES} bytes")
        elif self._fed > MAX_ANSWER_BYTES:
            self._decide(delivery, keep=False)

    def _decide(self, delivery: Delivery, *, keep: bool) -> None:
        status, retry_after, body = self._status, self._retry_after, self._body
        self.delivery = None
        self._used = True
        self._start()
        if 200 <= status < 300:
            self._client.accepted(delivery, self, keep)
        else:
            self._client.answered(delivery, self, keep, status, retry_after, body)

    def _break(self, delivery: Delivery, why: str) -> None:
        self.abort()
        self._client.broken(delivery, why)

    def _remember(self, data: bytes) -> None:
        """Know this head again, if it alone says how long its body is."""
        end = data.find(_END)
        body = len(data) - end - len(_END)
        counted = self._framed and self._length == body
        bodiless = self._status == 204 and not self._framed and body == 0
        if (counted or bodiless) and end <= KNOWN_HEAD_BYTES:
            if len(self._known) >= KNOWN_HEADS:
                self._known.clear()
            self._known[data[:end]] = len(data) - end

    def _flushed(self) -> bool:
        assert self._transport is not None
        return self._transport.get_write_buffer_size() == 0
