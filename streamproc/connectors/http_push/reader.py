"""Reads answers off one connection, one after another, within bounds."""

from __future__ import annotations

import httptools

from streamproc.connectors.http_push.answer import EXCERPT_BYTES

MAX_HEAD_BYTES = 64 * 1024
MAX_ANSWER_BYTES = 1 << 20
"""An answer is read so far and judged by its status; the rest is not waited for."""


class Garbled(Exception):
    """What the peer sent is no answer to our request. The text says why."""


class Reader:
    """``feed`` until it returns True, look at the answer, ``restart``.

    Interim answers (1xx) are passed over. The parser stays between answers: it must see all
    of an answer or nothing of it.
    """

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._retry_after: bytes | None = None
        self.restart()

    def restart(self) -> None:
        """Be ready for the next answer."""
        self.begun = False  # some of it was read
        self.status = 0
        self.length = -1  # of the body, where the head says it
        self.framed = False  # the head says where the body ends
        self.keep = False  # the connection can carry another request
        self.excerpt = b""
        self.content_type: str | None = None
        self.most = EXCERPT_BYTES  # of the body, that are kept
        self._retry_after = None
        self._fed = 0
        self._in_body = False  # headers are trailers, or of an answer that nobody asked for
        self._headed = False  # the head of the final answer is read
        self._complete = False

    @property
    def retry_after(self) -> bytes | None:
        """Value of the Retry-After header."""
        return self._retry_after

    @property
    def complete_at_end(self) -> bool:
        """Whether the answer is whole if the peer ends the connection in order now."""
        return self._headed and not self.framed

    def feed(self, data: bytes) -> bool:
        """Whether the answer is whole, or read as far as we care. Raises Garbled."""
        self.begun = True
        self._fed += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise Garbled("endpoint switched protocols unasked") from None
        except httptools.HttpParserError as error:
            if not self._complete:
                raise Garbled(f"endpoint does not speak HTTP/1.1: {error}") from None
            self.keep = False
        if self._complete:
            return True
        if not self._headed and self._fed > MAX_HEAD_BYTES:
            raise Garbled(f"head of the answer exceeds {MAX_HEAD_BYTES} bytes")
        return self._headed and self._fed > MAX_ANSWER_BYTES

    # Called by the parser.

    def on_message_begin(self) -> None:
        if self._complete:
            self.keep = False  # more came behind the answer than was asked for

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_body:
            return
        low = name.lower()
        if low == b"content-length":
            self.framed = True
            self.length = int(value)
        elif low == b"transfer-encoding" and b"chunked" in value.lower():
            self.framed = True
        elif low == b"retry-after":
            self._retry_after = value
        elif low == b"content-type":
            self.content_type = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if not self._complete:
            self._in_body = True
            self.status = self._parser.get_status_code()
            self._headed = self.status >= 200

    def on_body(self, body: bytes) -> None:
        if len(self.excerpt) < self.most and not self._complete:
            self.excerpt += body[: self.most - len(self.excerpt)]

    def on_message_complete(self) -> None:
        if self._complete:
            return
        if self._headed:
            self._complete = True
            self.keep = self._parser.should_keep_alive()
        else:
            self._in_body = False
            self.framed, self.length, self._retry_after = False, -1, None
            self.content_type = None
