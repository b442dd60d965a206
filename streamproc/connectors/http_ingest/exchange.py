"""A request that waits for its answer, and who takes requests in: a source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from streamproc.connectors.http_ingest.answers import acknowledgement, failure, success
from streamproc.errors import StreamprocError


class Exchange:
    """A request, until it is answered. ``flush`` sends answers that are due."""

    __slots__ = ("_flush", "answer", "headers", "keep", "payload", "since", "size")

    def __init__(self, flush: Callable[[], None], keep: bool) -> None:
        self._flush = flush
        self.keep = keep
        self.answer: bytes | None = None
        self.payload = b""
        self.headers: dict[str, str] = {}
        self.size = 0  # bytes it counts for
        self.since = 0.0  # loop time at which it was whole

    def succeed(self, status: int) -> None:
        """Answer without a body. Nothing if it was answered before."""
        if self.answer is None:
            self.answer = success(status, keep=self.keep)
            self._flush()

    def acknowledge(self, status: int, payload: Any) -> None:
        """Answer with an acknowledgement. Nothing if it was answered before."""
        if self.answer is None:
            self.answer = acknowledgement(status, payload, keep=self.keep)
            self._flush()

    def fail(self, error: StreamprocError, retry_after_s: int = 0) -> None:
        """Answer with *error*. Nothing if it was answered before."""
        if self.answer is None:
            self.answer = failure(error, retry_after_s=retry_after_s, keep=self.keep)
            self._flush()


class Intake(Protocol):
    """A source, as the server sees it."""

    stopped: bool
    max_message_bytes: int
    max_connections: int
    idle_s: float
    retry_after_s: int

    def room(self, size: int) -> bool:
        """Whether a message of *size* bytes may come now."""

    def reserve(self, size: int) -> None:
        """*size* bytes more are on their way in; negative: fewer."""

    def put(self, exchange: Exchange) -> None:
        """Take a whole message. Its bytes are reserved until then."""

    def sweep(self, now: float) -> None:
        """Answer what has waited too long."""
