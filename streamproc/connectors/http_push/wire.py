"""One TCP connection to an endpoint: one request in flight, never two.

An answer whose head was seen before is recognised and skipped as a whole; any other goes
through the parser.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from streamproc.connectors.http_push.answer import EXCERPT_BYTES, acknowledge
from streamproc.connectors.http_push.auth.echo import without_proof
from streamproc.connectors.http_push.reader import Garbled, Reader
from streamproc.connectors.http_push.request import JOIN_BYTES, Request
from streamproc.kernels.delivery import Delivery

if TYPE_CHECKING:
    from streamproc.connectors.http_push.client import Client

KNOWN_HEADS = 256
KNOWN_HEAD_BYTES = 2048
_END = b"\r\n\r\n"


class Wire(asyncio.Protocol):
    """``send`` takes a delivery; the client gets it back through one of its four calls:
    ``accepted``, ``answered``, ``broken`` or ``unread``."""

    __slots__ = (
        "_client",
        "_known",
        "_large",
        "_last_try",
        "_reader",
        "_request",
        "_transport",
        "_used",
        "delivery",
        "since",
    )

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known = client.known_heads
        self._transport: asyncio.Transport | None = None
        self._reader: Reader | None = None  # made for the first answer that is not known
        self.delivery: Delivery | None = None
        self.since = (
            0  # tick of the client's clock at which the request was taken, or its answer came
        )
        self._request: Request = b""
        self._large = False  # the request may still be on its way when its answer comes
        self._last_try = False  # the request was unread once and is not to be again
        self._used = False  # was answered before: the peer may close it at any moment

    @property
    def head(self) -> bytes:
        """The beginning of the request that was sent last."""
        return self._request[0] if isinstance(self._request, tuple) else self._request

    def send(
        self, delivery: Delivery, request: Request, since: int, *, again: bool = False
    ) -> None:
        """Write *request*. The wire must be idle. *again*: it was unread once."""
        assert self._transport is not None
        self.delivery = delivery
        self.since = since
        self._request = request
        self._last_try = again
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
        reader = self._reader
        if reader is None or not reader.begun:
            wanted = delivery.wanted  # then the body counts
            end = -1 if wanted is not None else data.find(_END)
            if end > 0 and self._known.get(data[:end]) == len(data) - end:
                self.delivery = None
                self._used = True
                self._client.accepted(delivery, self, not self._large or self._flushed())
                return
            if reader is None:
                reader = self._reader = Reader()
            if wanted is not None:
                reader.most = max(EXCERPT_BYTES, wanted.max_bytes + 1)
            self._read(delivery, reader, data, first=True)
        else:
            self._read(delivery, reader, data, first=False)

    def connection_lost(self, exc: Exception | None) -> None:
        delivery, self.delivery = self.delivery, None
        self._transport = None
        self._client.gone(self)
        if delivery is None:
            return
        reader = self._reader
        if reader is None or not reader.begun:
            if self._used and not self._last_try:
                self._client.unread(delivery, self._request, self.since)
            else:
                self._client.broken(delivery, _closed("before", exc))
        elif reader.complete_at_end and exc is None:
            self._decide(delivery, reader, keep=False)
        else:
            self._client.broken(delivery, _closed("within", exc))

    # What became of the request.

    def _read(self, delivery: Delivery, reader: Reader, data: bytes, *, first: bool) -> None:
        try:
            if not reader.feed(data):
                return
        except Garbled as why:
            self.abort()
            self._client.broken(delivery, str(why))
            return
        keep = reader.keep
        if first and keep:
            self._remember(reader, data)
        self._decide(delivery, reader, keep=keep and (not self._large or self._flushed()))

    def _decide(self, delivery: Delivery, reader: Reader, *, keep: bool) -> None:
        status, retry_after, excerpt = reader.status, reader.retry_after, reader.excerpt
        if delivery.wanted is not None:
            acknowledge(delivery, status, reader.content_type, without_proof(excerpt, self.head))
            excerpt = excerpt[:EXCERPT_BYTES]
        reader.restart()
        self.delivery = None
        self._used = True
        if status in self._client.success:
            self._client.accepted(delivery, self, keep)
        else:
            self._client.answered(delivery, self, keep, status, retry_after, excerpt)

    def _remember(self, reader: Reader, data: bytes) -> None:
        """Know this success again by its head, if that alone says how long the body is."""
        end = data.find(_END)
        body = len(data) - end - len(_END)
        counted = reader.length == body or not reader.framed  # unframed and kept: it has none
        if reader.status in self._client.success and counted and end <= KNOWN_HEAD_BYTES:
            if len(self._known) >= KNOWN_HEADS:
                self._known.clear()
            self._known[data[:end]] = len(data) - end

    def _flushed(self) -> bool:
        assert self._transport is not None
        return self._transport.get_write_buffer_size() == 0


def _closed(when: str, exc: Exception | None) -> str:
    return f"connection closed {when} the answer" + (f": {exc}" if exc and str(exc) else "")
