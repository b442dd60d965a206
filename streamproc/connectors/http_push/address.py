"""Where a delivery goes: ``VERB:/path``, the base of the connection, and two headers.

The rules are Ditto's (spec: 10.1, 10.2); the result is safe to put on a request line.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from streamproc.config.addresses import HTTP_METHODS, HTTP_VERBS
from streamproc.errors import DeliveryRefused

PATH_HEADER = "http.path"
QUERY_HEADER = "http.query"

MAX_TARGET_BYTES = 8 * 1024

# What may stand in a path or query as it is; "%" because what is encoded stays so.
_SAFE = "%!$&'()*+,-./:;=?@[]_~"
_PLAIN = re.compile(r"[A-Za-z0-9%!$&'()*+,\-./:;=?@\[\]_~]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def split(address: str) -> tuple[str, str]:
    """Method and path of *address*. Without a known method: POST and all of it."""
    method, colon, path = address.partition(":")
    if colon and method in HTTP_METHODS:
        return method, path
    return "POST", address


def problem(address: str) -> str | None:
    """Why *address* (its templates left aside) cannot be a target's, or None."""
    method, colon, _ = address.partition(":")
    if not colon:
        return f"address {address!r} is not VERB:/path; supported verbs: {', '.join(HTTP_VERBS)}"
    if method not in HTTP_VERBS:
        return f"address has verb {method!r}; supported verbs: {', '.join(HTTP_VERBS)}"
    return None


def base_path(path: str) -> str:
    """The path of a connection's uri, as ``request_target`` takes it."""
    return path.removesuffix("/")


def request_target(
    base: str, path: str, *, new_path: str | None = None, new_query: str | None = None
) -> tuple[str, str | None]:
    """Path and query of the request; no query is None.

    *path* is the address's, appended to *base*. *new_path* and *new_query* (the values of
    ``http.path`` and ``http.query``) replace the whole path, and the query.
    """
    if not path.startswith(("/", "?", "#")):
        path = "/" + path
    whole, _, _ = (base + path).partition("#")
    stem, mark, query = whole.partition("?")
    if new_path is not None:
        stem = new_path if new_path.startswith("/") else "/" + new_path
        stem = stem.partition("#")[0].replace("?", "%3F")
    if new_query is not None:
        return stem or "/", new_query.partition("#")[0]
    return stem or "/", query if mark else None


def on_the_wire(path: str, query: str | None) -> str:
    """What stands on the request line. Refuses what cannot stand there safely."""
    target = path if query is None else f"{path}?{query}"
    if not _PLAIN.fullmatch(target):
        if _CONTROL.search(target):
            raise DeliveryRefused("request target contains a control character")
        try:
            target = quote(target, safe=_SAFE)
        except UnicodeEncodeError:
            raise DeliveryRefused("request target is not Unicode text") from None
    if len(target) > MAX_TARGET_BYTES:
        raise DeliveryRefused(
            f"request target has {len(target)} bytes, at most {MAX_TARGET_BYTES} are sent"
        )
    return target
