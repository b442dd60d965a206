"""Credentials of a connection and of its SSH tunnel (spec: Ditto 1.4, 1.5).

Their values are secret and are repeated nowhere. ``plain`` and ``public-key`` are for SSH
tunnels, the others for connections; which of those a transport can use is in ``bindings``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from streamproc.config import pem
from streamproc.config.problem import Finding, Path, did_you_mean, quoted

HMAC_ALGORITHMS = ("aws4-hmac-sha256", "az-monitor-2016-04-01", "az-sasl")

# RFC 6749, 3.3: tokens of printable ASCII without '"' and '\', one blank between two.
_SCOPES = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*\Z")

Check = Callable[[Mapping[str, Any], Path], Iterator[Finding]]


def check(
    credentials: Mapping[str, Any], path: Path, kinds: Mapping[str, Check]
) -> Iterator[Finding]:
    """What is wrong with *credentials* of one of *kinds*."""
    kind = credentials.get("type")
    if kind not in kinds:
        yield Finding(
            path=(*path, "type"),
            message=f"expected one of {', '.join(map(repr, kinds))}",
            found=quoted(kind) if kind is not None else "",
            hint=did_you_mean(kind, kinds),
        )
        return
    assert isinstance(kind, str)
    yield from _texts(credentials, path, kind)
    yield from kinds[kind](credentials, path)


def token_endpoint_host(credentials: Mapping[str, Any]) -> str:
    """The host that tokens are asked of, or nothing."""
    return _url(credentials.get("tokenEndpoint"))[1]


_FIELDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # required, optional
    "plain": (("username", "password"), ()),
    "public-key": (("username", "publicKey", "privateKey"), ()),
    "client-cert": ((), ("cert", "key")),
    "hmac": (("algorithm",), ()),
    "oauth-client-credentials": (
        ("tokenEndpoint", "clientId", "clientSecret", "requestedScopes"),
        ("audience",),
    ),
    "oauth-password": (
        ("tokenEndpoint", "clientId", "requestedScopes", "username", "password"),
        ("clientSecret", "audience"),
    ),
}
_NOT_TEXT = {"hmac": ("parameters",)}


def _texts(credentials: Mapping[str, Any], path: Path, kind: str) -> Iterator[Finding]:
    """What is there, what is missing, and whether it is text."""
    required, optional = _FIELDS[kind]
    known = ("type", *required, *optional, *_NOT_TEXT.get(kind, ()))
    for key in required:
        if key not in credentials:
            yield Finding(path=(*path, key), message=f"is missing, expected text for {kind!r}")
    for key, value in credentials.items():
        if key not in known:
            yield Finding(
                path=(*path, key),
                message=f"is not an option of {kind!r}",
                code="key_unknown",
                hint=did_you_mean(key, known),
            )
        elif not isinstance(value, str) and (
            key in required or (key in optional and value is not None)
        ):
            yield Finding(path=(*path, key), message="expected text")


def _plain(credentials: Mapping[str, Any], path: Path) -> Iterator[Finding]:
    for key in ("username", "password"):
        if credentials.get(key) == "":
            yield Finding(path=(*path, key), message="expected text that is not empty")


def _public_key(credentials: Mapping[str, Any], path: Path) -> Iterator[Finding]:
    if credentials.get("username") == "":
        yield Finding(path=(*path, "username"), message="expected text that is not empty")
    if (problem := pem.public_key(_text(credentials, "publicKey"))) != "":
        yield Finding(path=(*path, "publicKey"), message=problem)
    if (problem := pem.private_key(_text(credentials, "privateKey"))) != "":
        yield Finding(path=(*path, "privateKey"), message=problem)


def _client_cert(credentials: Mapping[str, Any], path: Path) -> Iterator[Finding]:
    certificate, key = _text(credentials, "cert"), _text(credentials, "key")
    wrong = False
    if certificate is not None and (problem := pem.certificates(certificate)):
        wrong = True
        yield Finding(path=(*path, "cert"), message=problem)
    if key is not None and (problem := pem.private_key(key)):
        wrong = True
        yield Finding(path=(*path, "key"), message=problem)
    if certificate is None or key is None or wrong:
        return
    if problem := pem.pair(certificate, key):
        yield Finding(path=(*path, "key"), message=problem)


def _hmac(credentials: Mapping[str, Any], path: Path) -> Iterator[Finding]:
    algorithm = credentials.get("algorithm")
    if isinstance(algorithm, str) and algorithm not in HMAC_ALGORITHMS:
        yield Finding(
            path=(*path, "algorithm"),
            message=f"expected one of {', '.join(map(repr, HMAC_ALGORITHMS))}",
            found=quoted(algorithm),
            hint=did_you_mean(algorithm, HMAC_ALGORITHMS),
        )
    if "parameters" not in credentials:
        yield Finding(path=(*path, "parameters"), message="is missing, expected a mapping")
    elif not isinstance(credentials["parameters"], Mapping):
        yield Finding(path=(*path, "parameters"), message="expected a mapping")


def _oauth(credentials: Mapping[str, Any], path: Path) -> Iterator[Finding]:
    scopes = _text(credentials, "requestedScopes")
    if scopes is not None and not _SCOPES.match(scopes):
        yield Finding(
            path=(*path, "requestedScopes"),
            message="expected scopes with one blank between two, without quotes and backslashes",
            found=quoted(scopes),
        )
    endpoint = _text(credentials, "tokenEndpoint")
    if endpoint is None:
        return
    scheme, host = _url(endpoint)
    if scheme not in ("http", "https") or not host:
        yield Finding(path=(*path, "tokenEndpoint"), message="expected an https url")
    elif scheme != "https":
        # Ditto refuses it for client credentials alone, although a password goes the same way.
        by_password = credentials.get("type") == "oauth-password"
        yield Finding(
            path=(*path, "tokenEndpoint"),
            message="secrets travel unencrypted" if by_password else "expected https",
            found="the scheme 'http'",
            warning=by_password,
        )


def _url(text: object) -> tuple[str, str]:
    """Scheme and host of a url; empty where there are none."""
    try:
        parts = urlsplit(text if isinstance(text, str) else "")
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:
        return "", ""
    if not port_is_fine or re.search(r"[\s\x00-\x1f]", parts.geturl()):
        return "", ""
    return parts.scheme.lower(), parts.hostname or ""


def _text(credentials: Mapping[str, Any], key: str) -> str | None:
    value = credentials.get(key)
    return value if isinstance(value, str) else None


OF_CONNECTION: dict[str, Check] = {
    "client-cert": _client_cert,
    "hmac": _hmac,
    "oauth-client-credentials": _oauth,
    "oauth-password": _oauth,
}
OF_SSH_TUNNEL: dict[str, Check] = {"plain": _plain, "public-key": _public_key}
