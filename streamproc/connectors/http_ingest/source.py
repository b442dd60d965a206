"""Takes messages by POST, and answers each when it is settled."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from streamproc.connectors.base import Batch, SourceSpec, Verdict
from streamproc.connectors.http_ingest.answers import RequestError
from streamproc.connectors.http_ingest.config import HttpIngestOptions
from streamproc.connectors.http_ingest.exchange import Exchange
from streamproc.connectors.http_ingest.server import Server, server
from streamproc.errors import EndOfStream, Misconfigured, NotConnected, SignalError
from streamproc.protocol.acks import Aggregate

OVERHEAD_BYTES = 512
"""What a waiting message costs beyond its payload."""


class HttpIngestSource:
    """One intake of a server. A message that is not settled when it closes is answered 503."""

    def __init__(self, spec: SourceSpec) -> None:
        options: HttpIngestOptions = spec.options
        uri = urlsplit(spec.connection.uri)
        self._place = f"{uri.hostname}:{uri.port or 80}"
        self._fd = spec.listeners.get(self._place)
        self._paths: list[str] = list(spec.source.addresses)
        self._prefetch = spec.prefetch
        self._prefetch_bytes = spec.prefetch_bytes
        self._answer_within_s = options.answer_within_s
        self._accepted = 202 if spec.source.qos == 0 else 204
        self.max_message_bytes = spec.max_message_bytes
        self.max_connections = options.max_connections
        self.idle_s = options.idle_s
        self.retry_after_s = options.retry_after_s
        self._server: Server | None = None
        self._waiting: deque[Exchange] = deque()
        self._waiting_bytes = 0  # of what waits, and of what is on its way in
        self._open: dict[int, Exchange] = {}  # token -> read, not settled; oldest first
        self._next = 0
        self._arrived = asyncio.Event()
        self.stopped = False

    async def open(self) -> None:
        if self._fd is None:
            raise Misconfigured(f"nobody listens on {self._place} for this worker")
        found = server(self._fd)
        try:
            await found.attach(self._paths, self)
        except NotConnected:
            found.detach(self)
            raise
        self._server = found

    async def read(self) -> Batch:
        while not self.stopped:
            if self._server is None:
                raise NotConnected("the source is not open")
            if self._waiting:
                return self._take()
            self._arrived.clear()
            await self._arrived.wait()
        raise EndOfStream("the source was stopped")

    def settle(
        self,
        origin: Any,
        tokens: Sequence[int],
        verdict: Verdict,
        errors: Mapping[int, SignalError],
    ) -> None:
        for token in tokens:
            exchange = self._open.pop(token, None)
            if exchange is None:
                continue  # answered before: it took too long, or the source was closed
            if verdict is Verdict.ACCEPT:
                exchange.succeed(self._accepted)
            elif verdict is Verdict.REJECT:
                exchange.fail(errors.get(token) or _REFUSED)
            else:
                exchange.fail(_AGAIN, self.retry_after_s)

    def acknowledge(self, results: Mapping[int, Aggregate]) -> None:
        for token, result in results.items():
            exchange = self._open.pop(token, None)
            if exchange is not None:
                alone = result.acks[0].payload if len(result.acks) == 1 else result.value()
                exchange.acknowledge(result.status, alone)

    async def stop(self) -> None:
        self.stopped = True
        if self._server is not None:
            self._server.pause()
        self._give_back(self._waiting)
        self._arrived.set()

    async def close(self) -> None:
        self._detach()
        self._give_back(self._waiting)
        self._give_back(self._open.values())
        self._open.clear()
        self._arrived.set()

    # What the server calls.

    def room(self, size: int) -> bool:
        """Whether a message of *size* bytes may come. One always may."""
        if self.stopped or len(self._waiting) >= self._prefetch:
            return False
        return not self._waiting_bytes or self._waiting_bytes + size <= self._prefetch_bytes

    def reserve(self, size: int) -> None:
        """*size* bytes more are on their way in; negative: fewer."""
        self._waiting_bytes += size

    def put(self, exchange: Exchange) -> None:
        """A whole message."""
        exchange.size = len(exchange.payload) + OVERHEAD_BYTES
        self._waiting_bytes += exchange.size
        self._waiting.append(exchange)
        self._arrived.set()

    def sweep(self, now: float) -> None:
        """Answer 504 to what was not settled in time."""
        late = now - self._answer_within_s
        for token, exchange in list(self._open.items()):
            if exchange.since > late:
                break
            del self._open[token]
            exchange.fail(_LATE)  # it may be done yet: nobody knows
        while self._waiting and self._waiting[0].since <= late:
            exchange = self._waiting.popleft()
            self._waiting_bytes -= exchange.size
            exchange.fail(_LATE)

    def _take(self) -> Batch:
        payloads: list[bytes] = []
        headers: list[dict[str, str]] = []
        first = self._next
        for exchange in self._waiting:
            payloads.append(exchange.payload)
            headers.append(exchange.headers)
            exchange.payload, exchange.headers = b"", {}  # the batch has them now
            self._waiting_bytes -= exchange.size
            self._open[self._next] = exchange
            self._next += 1
        self._waiting.clear()
        return Batch(payloads, headers, list(range(first, self._next)))

    def _detach(self) -> None:
        found, self._server = self._server, None
        if found is not None:
            found.detach(self)

    def _give_back(self, exchanges: Any) -> None:
        for exchange in list(exchanges):
            exchange.fail(_AGAIN, self.retry_after_s)
        if exchanges is self._waiting:
            self._waiting_bytes -= sum(exchange.size for exchange in self._waiting)
            self._waiting.clear()


_REFUSED = RequestError(422, "message_refused", "the message was refused")
_AGAIN = RequestError(503, "not_done", "the message was not taken; send it again")
_LATE = RequestError(504, "not_settled", "the message was not settled in time")
