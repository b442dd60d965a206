"""Keeps secrets out of logs, status and errors.

Three nets, as none is enough: keys that name a secret, text that looks like one (the user
part of a URI, a bearer token), and the very values that the configuration holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from urllib.parse import unquote

from streamproc.config.connection import Connection
from streamproc.config.service import Service

MASK = "***"
MIN_SECRET_CHARS = 4  # shorter ones would blank out half of every text
_DEPTH = 8

_KEY = re.compile(
    r"passw|passphrase|pwd|secret|token|authorization|credential|api[-_]?key|private[-_]?key"
    r"|access[-_]?key|signature|cookie",
    re.IGNORECASE,
)
_OPEN = re.compile(
    r"^(type|user|algorithm|.*(scopes?|audience|endpoint|uri|url|name|region))$", re.I
)
# Greedy up to the last @ of a word: a password may hold an @ or a / that was not escaped.
_USER_INFO = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^\s\"'<>]*@")
_BEARER = re.compile(r"\b(bearer|basic|sharedaccesssignature)\s+[A-Za-z0-9+/=._~%&-]{6,}", re.I)
_PAIR = re.compile(
    r"""((?:passw\w*|passphrase|pwd|secret|\w*token|api[-_]?key|sig(?:nature)?)["']?\s*[=:]\s*)"""
    r"""("[^"]*"|'[^']*'|[^\s,;&"']+)""",
    re.IGNORECASE,
)

Text = Callable[[str], str]


def text_filter(secrets: Iterable[str] = ()) -> Text:
    """A function that masks what looks like a secret, and each of *secrets* wherever it is."""
    known = sorted({s for s in secrets if len(s) >= MIN_SECRET_CHARS}, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, known))) if known else None

    def filtered(text: str) -> str:
        if pattern is not None:
            text = pattern.sub(MASK, text)
        if "://" in text:
            text = _USER_INFO.sub(rf"\1{MASK}@", text)
        text = _BEARER.sub(rf"\1 {MASK}", text)
        return _PAIR.sub(rf"\1{MASK}", text)

    return filtered


def mask(value: object, text: Text, depth: int = _DEPTH) -> object:
    """*value*, a JSON-like tree, without its secrets. Other objects become their masked text."""
    match value:
        case bool() | int() | float() | None:
            return value
        case str():
            return text(value)
        case _ if depth == 0:
            return MASK
        case Mapping():
            return {
                str(key): MASK if _KEY.search(str(key)) and item else mask(item, text, depth - 1)
                for key, item in value.items()
            }
        case list() | tuple() | set() | frozenset():
            return [mask(item, text, depth - 1) for item in value]
        case _:
            return text(str(value))


def secrets_of(connections: Iterable[Connection], service: Service | None = None) -> set[str]:
    """Every value in *connections*, and in the settings, that must never be shown."""
    found = {secret for connection in connections for secret in _secrets(connection)}
    if service is not None and service.http_proxy.password:
        found.add(service.http_proxy.password)
    return found


def _secrets(connection: Connection) -> Iterator[str]:
    tunnel = connection.ssh_tunnel
    for uri in (connection.uri, tunnel.uri if tunnel else ""):
        yield from _password(uri)
    for credentials in (connection.credentials, tunnel.credentials if tunnel else None):
        yield from _leaves(credentials, secret=True)
    yield from _leaves(connection.specific_config, secret=False)
    for target in connection.targets:
        yield from _leaves(target.header_mapping, secret=False)


def _password(uri: str) -> Iterator[str]:
    user_info, at, _ = uri.partition("://")[2].rpartition("@")
    _, colon, password = user_info.partition(":")
    if at and colon:
        yield password
        yield unquote(password)


def _leaves(tree: object, *, secret: bool) -> Iterator[str]:
    """The strings under keys that name a secret; in credentials, all but what names a kind."""
    match tree:
        case str():
            if secret:
                yield tree
        case Mapping():
            for key, item in tree.items():
                named = secret or bool(_KEY.search(str(key)))
                yield from _leaves(item, secret=named and not _OPEN.search(str(key)))
        case list():
            for item in tree:
                yield from _leaves(item, secret=secret)
        case _:
            return
