"""From a delivery to the bytes of its request.

What is equal for all requests of an address is rendered once; what a message brings is
checked, so that no value of a device ever ends a header line early.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

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
from streamproc.connectors.http_push.auth.identity import message_id
from streamproc.connectors.http_push.auth.signing import Signable, Signer
from streamproc.connectors.http_push.endpoint import Endpoint
from streamproc.errors import DeliveryRefused
from streamproc.kernels.delivery import Delivery
from streamproc.kernels.request import RequestWriter
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

_RESERVED = frozenset((PATH_HEADER, QUERY_HEADER))
_UNSENT = OUR_OWN | _RESERVED
_NONE = (None, None)

_ADDRESSES = 4096
_NAMES = 1024
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

Request = bytes | tuple[bytes, bytes]
"""A whole request, or its head and its large payload."""


Headers = dict[str, tuple[str, str]]
"""Headers of a message by their lower-case name: as written, and value."""


class Requests:
    """Renders the requests of one client. *omit*: methods without a body.

    ``render``: the bytes to write for a delivery; raises DeliveryRefused. With *signers* every
    request is rendered with care and signed; without, nothing of that is looked at.
    """

    def __init__(
        self, endpoint: Endpoint, omit: frozenset[str], signers: tuple[Signer, ...] = ()
    ) -> None:
        self._base = endpoint.base
        self._host = endpoint.host_on_the_wire
        self._prefix = endpoint.request_prefix
        self._own = {
            "host": endpoint.authority,
            "proxy-authorization": endpoint.proxy_authorization,
            "user-agent": f"streamproc/{VERSION}",
            "authorization": endpoint.authorization,
        }
        self._careful = OUR_OWN | self._own.keys() | {PATH_HEADER, QUERY_HEADER}
        self._bodiless = omit & frozenset(HTTP_VERBS)
        self._signers = signers
        self._heads: LRU[str, bytes] = LRU(_ADDRESSES)  # only of verbs with a body
        self._targets: LRU[str, tuple[str, str]] = LRU(_ADDRESSES)
        self._fields: dict[str, bytes] = {}  # header name -> line start, names seen to be plain
        self._spelling: dict[str, str] = {}  # lower case -> the one way it stands in _fields
        untyped = f"\r\nContent-Type: {DEFAULT_CONTENT_TYPE}".encode("ascii")
        self._write = RequestWriter(self._fields, untyped, MAX_VALUE_BYTES, JOIN_BYTES).write
        self.render: Callable[[Delivery], Request] = (
            self._render_signed if signers else self._render
        )

    def authorize(self, value: str | None) -> None:
        """Send *value* as Authorization from now on."""
        self._own["authorization"] = value
        self._heads.clear()

    def _render(self, delivery: Delivery) -> Request:
        head = self._heads.get(delivery.address)
        request = None if head is None else self._write(head, delivery)
        return self._render_with_care(delivery) if request is None else request

    def _render_with_care(self, delivery: Delivery) -> Request:
        method, target, headers = self._parts(delivery)
        with_body = method not in self._bodiless
        lines = self._lines(headers)
        if with_body and not headers.keys() & _RESERVED:
            self._heads[delivery.address] = self._start(method, target, {}).encode()
        body = delivery.payload if with_body else None
        return self._whole(method, target, headers, lines.values(), body)

    def _render_signed(self, delivery: Delivery) -> Request:
        method, target, headers = self._parts(delivery)
        body = None if method in self._bodiless else delivery.payload
        lines = self._lines(headers)  # before anything is signed that cannot be sent
        path, mark, query = target.partition("?")
        now = datetime.now(UTC)
        for sign in self._signers:
            kind = headers.get("content-type")
            added = sign(
                Signable(
                    method,
                    self._host,
                    path,
                    query if mark else None,
                    [header for low, header in headers.items() if low not in _UNSENT],
                    None if kind is None else kind[1],
                    b"" if body is None else body,
                    message_id(delivery),
                ),
                now,
            )
            for name, value in added:
                low = name.lower()
                headers[low] = (name, value)
                lines[low] = f"\r\n{name}: {value}"
        return self._whole(method, target, headers, lines.values(), body)

    def _parts(self, delivery: Delivery) -> tuple[str, str, Headers]:
        """Method, what stands on the request line, and the headers that the message brings."""
        headers = {name.lower(): (name, value) for name, value in delivery.headers.items()}
        method, target = self._line_of(delivery.address, headers)
        if method in self._bodiless:
            headers.pop("content-type", None)
        elif "content-type" not in headers:
            headers["content-type"] = ("Content-Type", DEFAULT_CONTENT_TYPE)
        return method, target, headers

    def _line_of(self, address: str, headers: Headers) -> tuple[str, str]:
        """Method and target of the request line."""
        moved = headers.keys() & _RESERVED
        known = None if moved else self._targets.get(address)
        if known is not None:
            return known
        method, path = self._parse(address)
        new_path = headers.get(PATH_HEADER, _NONE)[1]
        new_query = headers.get(QUERY_HEADER, _NONE)[1]
        target = on_the_wire(
            *request_target(self._base, path, new_path=new_path, new_query=new_query)
        )
        if not moved:
            self._targets[address] = (method, target)
        return method, target

    def _lines(self, headers: Headers) -> dict[str, str]:
        """The lines of what the message brings, by lower-case name; of those that are ours none.

        Raises DeliveryRefused.
        """
        lines: dict[str, str] = {}
        for low, (name, value) in headers.items():
            if (
                name in self._fields
                and len(value) <= MAX_VALUE_BYTES
                and value.isascii()
                and value.isprintable()
            ):
                lines[low] = f"\r\n{name}: {value}"
            elif low not in _UNSENT:
                lines[low] = _line(name, value)
                self._learn(low, name)
        return lines

    def _whole(
        self, method: str, target: str, headers: Headers, lines: Iterable[str], body: bytes | None
    ) -> Request:
        """Head and body; *body* is None for methods without one."""
        text = self._start(method, target, headers) + "".join(lines)
        if body is not None:
            text += f"\r\nContent-Length: {len(body)}"
        elif method not in ("GET", "DELETE"):
            text += "\r\nContent-Length: 0"
        head = f"{text}\r\n\r\n".encode()
        if len(head) > MAX_HEAD_BYTES:
            raise DeliveryRefused(
                f"request head has {len(head)} bytes, at most {MAX_HEAD_BYTES} are sent"
            )
        payload = body or b""
        return head + payload if len(payload) < JOIN_BYTES else (head, payload)

    def _parse(self, address: str) -> tuple[str, str]:
        if why := problem(address):
            raise DeliveryRefused(why)
        return split(address)

    def _start(self, method: str, target: str, theirs: Headers) -> str:
        """Request line and our own headers, but those that the message brings itself."""
        lines = [f"{method} {self._prefix}{target} HTTP/1.1"]
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
            self._fields[name] = f"\r\n{name}: ".encode("ascii")


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
