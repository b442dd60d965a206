"""The bytes of what the server answers. Errors have Ditto's shape: status, error, message."""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus
from typing import Any

import orjson

from streamproc.errors import StreamprocError
from streamproc.kernels.signal import ABSENT

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_BODILESS = (204, 304)
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
    length = "" if status in _BODILESS else "Content-Length: 0\r\n"
    return f"{_line(status)}{length}{_connection(keep)}\r\n".encode()


def acknowledgement(status: int, payload: Any, *, keep: bool) -> bytes:
    """An answer that says what a message was acknowledged with; *payload*: JSON, or ABSENT."""
    if payload is ABSENT or status in _BODILESS or status < 200:
        return success(status if status >= 200 else 200, keep=keep)
    body = orjson.dumps(payload)
    head = (
        f"{_line(status)}Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n{_connection(keep)}\r\n"
    )
    return head.encode() + body


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
