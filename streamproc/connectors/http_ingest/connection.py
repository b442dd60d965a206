"""One client's connection: requests in, answers out in the same order, all of it bounded."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol, cast

import httptools

from streamproc.connectors.http_ingest.answers import CONTINUE, RequestError
from streamproc.connectors.http_ingest.exchange import Exchange, Intake
from streamproc.connectors.http_ingest.head import MAX_HEAD_BYTES, Head

PIPELINED = 64
"""Requests of one connection that may wait for their answers; then it is not read."""

CHUNK_OVERHEAD = 8
"""Bytes on the wire for a byte of body, at worst: a chunk for each."""

MAX_DISCARDED_BYTES = 1 << 20
"""How much is read of the body of a refused request, to keep the connection."""

LINGER_S = 5.0
"""How long a client may go on sending after it was told that the connection ends."""


class Server(Protocol):
    """The server, as a connection sees it."""

    connections: set[Connection]

    def find(self, path: str) -> list[Intake] | None:
        """The intakes of *path*; None when nobody takes it."""

    def limits(self) -> Intake | None:
        """Whose limits hold before a request says where it wants to go."""


class Connection(asyncio.Protocol):
    """Reads requests one after another; the rest is the intakes' business."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._head = Head()
        self._transport: asyncio.Transport | None = None
        self._pending: deque[Exchange] = deque()
        self._last = False  # the client was told, or asked, that no more is read
        self._paused = False
        self._unread = False  # the client does not take its answers: no more of them are made
        self._since = 0.0  # loop time of the last change from or to idle
        self._reading = False  # within a request
        self._begin()

    def _begin(self) -> None:
        self._fed = 0  # bytes of the request so far, roughly
        self._headed = False
        self._refusal: RequestError | None = None
        self._intake: Intake | None = None
        self._reserved = 0
        self._chunks: list[bytes] = []
        self._size = 0
        self._continue = False  # 100 Continue is due

    # Called by the server.

    def sweep(self, now: float) -> None:
        """Close it when it is idle, or slow in its request, for too long."""
        limits = self._server.limits()
        idle_s = LINGER_S if self._last else limits.idle_s if limits is not None else 0.0
        if self._pending or now - self._since < idle_s or self._transport is None:
            return
        if self._reading and not self._last:
            self._refuse_all(RequestError(408, "request_timeout", "the request came too slowly"))
        else:
            self._transport.abort()

    def wind_up(self) -> None:
        """Close when what is pending has been answered."""
        self._last = True
        if self._pending:
            self._pending[-1].keep = False
        elif self._transport is not None:
            self._transport.close()

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._since = asyncio.get_running_loop().time()
        self._server.connections.add(self)
        limits = self._server.limits()
        if limits is None or len(self._server.connections) > limits.max_connections:
            busy = RequestError(503, "too_many_connections", "the server has no connection left")
            busy.retry_after_s = limits.retry_after_s if limits is not None else 1
            self._refuse_all(busy)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._release()
        self._server.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        if self._last:
            return  # lingering: read, so that the client sees our last answer, and forget
        self._fed += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.wind_up()  # the request is answered; another protocol is not spoken
            return
        except httptools.HttpParserError as error:
            if not self._last:
                self._refuse_all(RequestError(400, "malformed_request", f"not HTTP/1.1: {error}"))
            return
        if self._last:
            return
        if self._reading and (excess := self._excess()) is not None:
            self._refuse_all(excess)
        elif len(self._pending) >= PIPELINED:
            self._pause()

    def pause_writing(self) -> None:
        self._unread = True
        if not self._last:
            self._pause()

    def resume_writing(self) -> None:
        self._unread = False
        self._resume()

    # Called by the parser.

    def on_message_begin(self) -> None:
        if self._last:
            return
        self._reading = True
        self._since = asyncio.get_running_loop().time()
        self._head.clear()

    def on_url(self, url: bytes) -> None:
        self._head.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._headed:  # what comes behind the body is of no use
            self._head.add(name, value)

    def on_headers_complete(self) -> None:
        self._headed = True
        if self._last:
            return
        head = self._head
        head.method = self._parser.get_method()
        try:
            self._intake = self._choose()
            if head.expect is not None:
                head.check_expectation()
                self._continue = True
        except RequestError as refusal:
            self._refusal = refusal
            if refusal.status == 413 or head.expect is not None:
                self._refuse_all(refusal)  # what follows may or may not be a body
                return
        self._flush_continue()

    def on_body(self, body: bytes) -> None:
        if self._last or self._refusal is not None:
            return
        intake = self._intake
        assert intake is not None
        self._continue = False
        self._size += len(body)
        if self._size > intake.max_message_bytes:
            self._refusal = too_large(intake.max_message_bytes)
            self._refuse_all(self._refusal)
            return
        if self._size > self._reserved and not self._reserve(intake, len(body)):
            self._refusal = full(intake)
            self._chunks.clear()
            self._release()
            return
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        if self._last:
            return
        keep = self._parser.should_keep_alive()
        exchange = Exchange(self.flush, keep)
        self._pending.append(exchange)
        self._reading = False
        intake, refusal = self._intake, self._refusal
        self._release()
        if refusal is None:
            assert intake is not None
            if intake.room(self._size):
                exchange.payload = b"".join(self._chunks)
                exchange.headers = self._head.message_headers()
                exchange.since = asyncio.get_running_loop().time()
                intake.put(exchange)
            else:
                refusal = full(intake)
        if refusal is not None:
            exchange.fail(refusal, refusal.retry_after_s)
        if not keep:
            self._last = True
        self._begin()

    # Answers.

    def flush(self) -> None:
        """Write the answers that are next in order."""
        transport = self._transport
        if transport is None or transport.is_closing():
            self._pending.clear()
            return
        ready: list[bytes] = []
        keep = True
        while self._pending and keep and self._pending[0].answer is not None:
            exchange = self._pending.popleft()
            ready.append(cast(bytes, exchange.answer))
            keep = exchange.keep
        if not ready:
            return
        self._since = asyncio.get_running_loop().time()
        transport.write(b"".join(ready))
        if not keep:
            self._finish(transport)
        else:
            self._resume()
        self._flush_continue()

    def _finish(self, transport: asyncio.Transport) -> None:
        """The last answer is out: let the client read it before the connection goes."""
        self._last = True
        self._pending.clear()
        self._resume()
        if self._reading and transport.can_write_eof():
            transport.write_eof()  # it may still be sending; the sweep ends it
        else:
            transport.close()

    def _flush_continue(self) -> None:
        if self._continue and not self._pending and self._transport is not None:
            self._continue = False
            self._transport.write(CONTINUE)

    def _refuse_all(self, error: RequestError) -> None:
        """Answer what came last with *error*, and read no more of this connection."""
        self._release()
        self._last = True
        self._continue = False
        exchange = Exchange(self.flush, keep=False)
        self._pending.append(exchange)
        exchange.fail(error, error.retry_after_s)

    def _pause(self) -> None:
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        """Read again, where there is room for answers, or none will be made."""
        if not self._paused or self._transport is None:
            return
        if self._last or (len(self._pending) < PIPELINED // 2 and not self._unread):
            self._paused = False
            self._transport.resume_reading()

    # Bytes on their way in.

    def _choose(self) -> Intake:
        """The intake for the request at hand. Raises RequestError."""
        head = self._head
        intakes = self._server.find(head.path())
        if intakes is None:
            raise RequestError(404, "path_unknown", "nothing takes messages at this path")
        size = head.check()
        smallest = min(intakes, key=lambda intake: intake.max_message_bytes)
        if size > smallest.max_message_bytes:
            raise too_large(smallest.max_message_bytes)
        for intake in intakes:
            if intake.room(size):
                if len(intakes) > 1:  # the next one is asked first next time
                    intakes.remove(intake)
                    intakes.append(intake)
                self._reserved = size
                intake.reserve(size)
                return intake
        raise full(intakes[0])

    def _excess(self) -> RequestError | None:
        """Why the request has taken more bytes than any good one, chunks and trailers too."""
        if not self._headed:
            if self._fed > MAX_HEAD_BYTES:
                return RequestError(
                    431, "headers.too.large", f"head exceeds {MAX_HEAD_BYTES} bytes"
                )
        elif self._refusal is not None:
            if self._fed > MAX_DISCARDED_BYTES:
                return self._refusal
        elif self._intake is not None:
            most = self._intake.max_message_bytes
            if self._fed > MAX_HEAD_BYTES + CHUNK_OVERHEAD * most:
                return too_large(most)
        return None

    def _reserve(self, intake: Intake, more: int) -> bool:
        """Room for a body whose length was not said."""
        if not intake.room(more):
            return False
        self._reserved += more
        intake.reserve(more)
        return True

    def _release(self) -> None:
        if self._intake is not None and self._reserved:
            self._intake.reserve(-self._reserved)
        self._reserved = 0


def full(intake: Intake) -> RequestError:
    """No room now: come again."""
    return RequestError(
        503, "window_full", "no room for more messages now", retry_after_s=intake.retry_after_s
    )


def too_large(most: int) -> RequestError:
    """No room ever."""
    return RequestError(413, "message_too_large", f"message exceeds {most} bytes")
