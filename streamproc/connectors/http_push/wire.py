"""One TCP connection to an endpoint: one request in flight, never two.

An answer whose head was seen before is recognised and skipped as a whole; any other goes
through the parser.
"""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

from streamproc.connectors.http_push.answer import EXCERPT_BYTES, acknowledge
from streamproc.connectors.http_push.auth.echo import without_proof
from streamproc.connectors.http_push.reader import Garbled, Reader
from streamproc.connectors.http_push.request import JOIN_BYTES, Request
from streamproc.connectors.http_push.success import Successes
from streamproc.kernels.delivery import Delivery


class Reports(Protocol):
    """Who hears from a wire. A delivery that was sent comes back through one of the first four."""

    def accepted(self, delivery: Delivery, wire: Wire, keep: bool) -> None:
        """A success. *keep*: the wire can carry another; so below."""

    def answered(
        self,
        delivery: Delivery,
        wire: Wire,
        keep: bool,
        status: int,
        retry_after: bytes | None,
        excerpt: bytes,
    ) -> None:
        """Any other status."""

    def broken(self, delivery: Delivery, why: str) -> None:
        """There is no answer, and the endpoint may have it."""

    def unread(self, delivery: Delivery, request: Request, since: int) -> None:
        """A wire used before was closed without a byte of an answer."""

    def gone(self, wire: Wire) -> None:
        """It is closed, and of no use any more."""


class Wire(asyncio.Protocol):
    """``send`` takes a delivery; what becomes of it is one of ``Reports``."""

    __slots__ = (
        "_large",
        "_last_try",
        "_reader",
        "_reports",
        "_request",
        "_successes",
        "_transport",
        "_used",
        "delivery",
        "since",
    )

    def __init__(self, reports: Reports, successes: Successes) -> None:
        self._reports = reports
        self._successes = successes
        self._transport: asyncio.Transport | None = None
        self._reader: Reader | None = None  # made for the first answer that is not known
        self.delivery: Delivery | None = None
        self.since = 0  # tick of the pool's clock: the request was taken, or its answer came
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
        first = reader is None or not reader.begun
        if first and delivery.wanted is None:  # else the body counts
            successes = self._successes
            if data == successes.last or successes.knows(data):
                self.delivery = None
                self._used = True
                self._reports.accepted(delivery, self, not self._large or self._flushed())
                return
        if reader is None:
            reader = self._reader = Reader()
        if first and delivery.wanted is not None:
            reader.most = max(EXCERPT_BYTES, delivery.wanted.max_bytes + 1)
        self._read(delivery, reader, data, first=first)

    def connection_lost(self, exc: Exception | None) -> None:
        delivery, self.delivery = self.delivery, None
        self._transport = None
        self._reports.gone(self)
        if delivery is None:
            return
        reader = self._reader
        if reader is None or not reader.begun:
            if self._used and not self._last_try:
                self._reports.unread(delivery, self._request, self.since)
            else:
                self._reports.broken(delivery, _closed("before", exc))
        elif reader.complete_at_end and exc is None:
            self._decide(delivery, reader, keep=False)
        else:
            self._reports.broken(delivery, _closed("within", exc))

    # What became of the request.

    def _read(self, delivery: Delivery, reader: Reader, data: bytes, *, first: bool) -> None:
        try:
            if not reader.feed(data):
                return
        except Garbled as why:
            self.abort()
            self._reports.broken(delivery, str(why))
            return
        keep = reader.keep
        if first and keep:
            self._successes.learn(reader, data)
        self._decide(delivery, reader, keep=keep and (not self._large or self._flushed()))

    def _decide(self, delivery: Delivery, reader: Reader, *, keep: bool) -> None:
        status, retry_after, excerpt = reader.status, reader.retry_after, reader.excerpt
        if delivery.wanted is not None:
            acknowledge(delivery, status, reader.content_type, without_proof(excerpt, self.head))
            excerpt = excerpt[:EXCERPT_BYTES]
        reader.restart()
        self.delivery = None
        self._used = True
        if status in self._successes.statuses:
            self._reports.accepted(delivery, self, keep)
        else:
            self._reports.answered(delivery, self, keep, status, retry_after, excerpt)

    def _flushed(self) -> bool:
        assert self._transport is not None
        return self._transport.get_write_buffer_size() == 0


def _closed(when: str, exc: Exception | None) -> str:
    return f"connection closed {when} the answer" + (f": {exc}" if exc and str(exc) else "")
