"""The bytes of what the server answers. Errors have Ditto's shape: status, error, message."""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus

import orjson

from streamproc.errors import StreamprocError

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
METHODS = (b"POST", b"PUT")


class RequestError(StreamprocError):
    """A request that becomes no message; the sender is told at once."""

    def __init__(self, status: int, code: str, message: str, *, retry_after_s: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s


@lru_cache(maxsize=16)
def success(status: int, *, keep: bool) -> bytes:
    """An answer without a body."""
    length = "" if status == 204 else "Content-Length: 0\r\n"
    return f"{_line(status)}{length}{_connection(keep)}\r\n".encode()


def failure(error: StreamprocError, *, retry_after_s: int = 0, keep: bool) -> bytes:
    """An answer that carries *error*."""
    body = orjson.dumps(error.as_dict(), default=str)
    head = (
        f"{_line(error.status)}Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n{_connection(keep)}"
    )
    if retry_after_s:
        head += f"Retry-After: {retry_after_s}\r\n"
    if error.status == 405:
        head += f"Allow: {b', '.join(METHODS).decode()}\r\n"
    return head.encode() + b"\r\n" + body


def _line(status: int) -> str:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "-"
    return f"HTTP/1.1 {status} {phrase}\r\n"


def _connection(keep: bool) -> str:
    return "" if keep else "Connection: close\r\n"
