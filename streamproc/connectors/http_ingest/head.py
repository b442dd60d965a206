"""The head of a request: what it says, and whether a message can come of it."""

from __future__ import annotations

from streamproc.connectors.http_ingest.answers import METHODS, RequestError

MAX_HEAD_BYTES = 32 * 1024
MAX_URL_BYTES = 8 * 1024
MAX_HEADERS = 200

FRAMING = frozenset(
    (
        "connection",
        "content-length",
        "expect",
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
"""Headers about the connection; a message does not carry them."""


class Head:
    """Filled by the parser, cleared for the next request."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.method = b""
        self.url = b""
        self.expect: bytes | None = None
        self._length: int | None = None
        self._chunked = False
        self._lines = 0
        self._bytes = 0
        self._headers: dict[str, str] = {}

    def add(self, name: bytes, value: bytes) -> None:
        """A header line. Names that come twice are joined, as HTTP has it."""
        self._lines += 1
        self._bytes += len(name) + len(value)
        if self._bytes > MAX_HEAD_BYTES or self._lines > MAX_HEADERS:
            return  # refused by ``check``
        low = name.decode("latin-1").lower()
        if low in FRAMING:
            self._frame(low, value)
            return
        text = _text(value)
        before = self._headers.get(low)
        self._headers[low] = text if before is None else f"{before}, {text}"

    def path(self) -> str:
        """Path of the url, as it was sent."""
        return self._split()[0]

    def check(self) -> int:
        """Length of the body, 0 where it is chunked. Raises RequestError."""
        if self.method not in METHODS:
            method = self.method.decode("latin-1")
            raise RequestError(
                405, "method_not_allowed", f"messages are sent by POST, not {method}"
            )
        if len(self.url) > MAX_URL_BYTES:
            raise RequestError(414, "uri_too_long", f"url exceeds {MAX_URL_BYTES} bytes")
        if self._bytes > MAX_HEAD_BYTES or self._lines > MAX_HEADERS:
            raise RequestError(
                431,
                "headers.too.large",
                f"headers exceed {MAX_HEAD_BYTES} bytes or {MAX_HEADERS} lines",
            )
        if self._chunked:
            return 0
        if self._length is None:
            raise RequestError(411, "length_required", "the request says no Content-Length")
        return self._length

    def check_expectation(self) -> None:
        """Raise RequestError for what nobody can meet."""
        if self.expect is not None and self.expect.lower() != b"100-continue":
            raise RequestError(417, "expectation_failed", "only 100-continue can be expected")

    def message_headers(self) -> dict[str, str]:
        """What the message carries; our own names cannot be forged by the client."""
        path, query = self._split()
        headers = self._headers
        headers["http.path"] = path
        headers["http.method"] = self.method.decode("latin-1")
        if query is not None:
            headers["http.query"] = query
        else:
            headers.pop("http.query", None)
        return headers

    def _frame(self, low: str, value: bytes) -> None:
        if low == "content-length":
            self._length = int(value)
        elif low == "transfer-encoding":
            self._chunked = True
        elif low == "expect":
            self.expect = value

    def _split(self) -> tuple[str, str | None]:
        url = _text(self.url)
        if not url.startswith("/"):  # absolute form, for proxies
            _, _, rest = url.partition("://")
            _, slash, tail = rest.partition("/")
            url = slash + tail or "/"
        path, mark, query = url.partition("?")
        return path, query if mark else None


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
