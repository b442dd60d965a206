"""From a delivery to the bytes of its request.

What is equal for all requests of an address is rendered once; what a message brings is
checked, so that no value of a device ever ends a header line early.
"""

from __future__ import annotations

import re

from lru import LRU

from streamproc.config.addresses import HTTP_VERBS
from streamproc.connectors.http_push.address import (
    PATH_HEADER,
    QUERY_HEADER,
    on_the_wire,
    problem,
    request_target,
    split,
)
from streamproc.connectors.http_push.endpoint import Endpoint
from streamproc.errors import DeliveryRefused
from streamproc.kernels.delivery import Delivery
from streamproc.version import VERSION

MAX_VALUE_BYTES = 16 * 1024
MAX_HEAD_BYTES = 64 * 1024
JOIN_BYTES = 64 * 1024
"""A payload smaller than this is copied behind its head, to leave in one piece."""

DEFAULT_CONTENT_TYPE = "application/octet-stream"

OUR_OWN = frozenset(
    (
        "connection",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
"""Headers that say how the request is framed and routed: never taken from a message."""

_ADDRESSES = 4096
_NAMES = 1024
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

Request = bytes | tuple[bytes, bytes]
"""A whole request, or its head and its large payload."""


class Requests:
    """Renders the requests of one client. *omit*: methods without a body."""

    def __init__(self, endpoint: Endpoint, omit: frozenset[str]) -> None:
        self._base = endpoint.base
        self._own = {
            "host": endpoint.authority,
            "user-agent": f"streamproc/{VERSION}",
            "authorization": endpoint.authorization,
        }
        self._careful = OUR_OWN | self._own.keys() | {PATH_HEADER, QUERY_HEADER}
        self._bodiless = omit & frozenset(HTTP_VERBS)
        self._heads: LRU[str, str] = LRU(_ADDRESSES)  # only of verbs with a body
        self._fields: dict[str, str] = {}  # header name -> line start, names seen to be plain
        self._spelling: dict[str, str] = {}  # lower case -> the one way it stands in _fields

    def render(self, delivery: Delivery) -> Request:
        """The bytes to write. Raises DeliveryRefused."""
        headers = delivery.headers
        text = self._heads.get(delivery.address)
        if text is None or "content-type" not in headers:
            return self._render_with_care(delivery)
        fields = self._fields
        for name, value in headers.items():
            line = fields.get(name)
            if line is None or not (value.isascii() and value.isprintable()):
                return self._render_with_care(delivery)
            text += line + value
        if len(text) > MAX_VALUE_BYTES:
            return self._render_with_care(delivery)
        payload = delivery.payload
        head = f"{text}\r\nContent-Length: {len(payload)}\r\n\r\n".encode("ascii")
        return head + payload if len(payload) < JOIN_BYTES else (head, payload)

    def _render_with_care(self, delivery: Delivery) -> Request:
        headers = {name.lower(): (name, value) for name, value in delivery.headers.items()}
        method, path = self._parse(delivery.address)
        new_path = headers.pop(PATH_HEADER, (None, None))[1]
        new_query = headers.pop(QUERY_HEADER, (None, None))[1]
        target = on_the_wire(
            *request_target(self._base, path, new_path=new_path, new_query=new_query)
        )
        with_body = method not in self._bodiless
        if not with_body:
            headers.pop("content-type", None)
        elif "content-type" not in headers:
            headers["content-type"] = ("Content-Type", DEFAULT_CONTENT_TYPE)
        lines = [self._start(method, target, headers)]
        lines += [_line(*header) for low, header in headers.items() if low not in OUR_OWN]
        for name in delivery.headers:
            self._learn(name.lower(), name)
        if with_body:
            lines.append(f"\r\nContent-Length: {len(delivery.payload)}")
            if new_path is None and new_query is None:
                self._heads[delivery.address] = self._start(method, target, {})
        elif method not in ("GET", "DELETE"):
            lines.append("\r\nContent-Length: 0")
        lines.append("\r\n\r\n")
        head = "".join(lines).encode()
        if len(head) > MAX_HEAD_BYTES:
            raise DeliveryRefused(
                f"request head has {len(head)} bytes, at most {MAX_HEAD_BYTES} are sent"
            )
        payload = delivery.payload if with_body else b""
        return head + payload if len(payload) < JOIN_BYTES else (head, payload)

    def _parse(self, address: str) -> tuple[str, str]:
        if why := problem(address):
            raise DeliveryRefused(why)
        return split(address)

    def _start(self, method: str, target: str, theirs: dict[str, tuple[str, str]]) -> str:
        """Request line and our own headers, but those that the message brings itself."""
        lines = [f"{method} {target} HTTP/1.1"]
        for low, value in self._own.items():
            if value is not None and (low in OUR_OWN or low not in theirs):
                lines.append(f"{low.title()}: {value}")
        return "\r\n".join(lines)

    def _learn(self, low: str, name: str) -> None:
        """From now on this name, so written, needs no care: its value alone does.

        One way to write it, as two in one message would go out twice: lower case, if it comes.
        """
        if low in self._careful or len(self._fields) >= _NAMES:
            return
        known = self._spelling.setdefault(low, name)
        if known != name == low:
            del self._fields[known]
            known = self._spelling[low] = name
        if known == name:
            self._fields[name] = f"\r\n{name}: "


def _line(name: str, value: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise DeliveryRefused(f"header name {name[:64]!r} is not a token")
    if _CONTROL.search(value):
        raise DeliveryRefused(f"value of header {name!r} contains a control character")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise DeliveryRefused(f"value of header {name!r} is not Unicode text") from None
    if size > MAX_VALUE_BYTES:
        raise DeliveryRefused(
            f"value of header {name!r} has {size} bytes, at most {MAX_VALUE_BYTES} are sent"
        )
    return f"\r\n{name}: {value}"
