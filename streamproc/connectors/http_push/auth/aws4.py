"""``aws4-hmac-sha256``: AWS Signature Version 4, as Ditto computes it (spec: Ditto 10.4)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from streamproc.connectors.http_push.auth.signing import Header, Parameters, Signable, Signer

NAME = "AWS4-HMAC-SHA256"
SCOPE_END = "aws4_request"
STEPS = ("kDate", "kRegion", "kService", "kSigning")
HASHES = ("EXCLUDED", "INCLUDED", "UNSIGNED")
_DATE, _SHA = "x-amz-date", "x-amz-content-sha256"


def aws4(parameters: Mapping[str, Any]) -> Signer:
    """Signs by *parameters* of the credentials; raises ParameterInvalid."""
    given = Parameters(parameters)
    region, service = given.text("region"), given.text("service")
    access_key, secret_key = given.text("accessKey"), given.text("secretKey")
    double = given.truth("doubleEncode", True)
    hashed = given.word("xAmzContentSha256", "EXCLUDED", HASHES)
    names = signed_names(given.texts("canonicalHeaders", ["host"]), hashed)
    signed = ";".join(names)
    key_of: dict[str, bytes] = {}  # of the day that was last signed

    def sign(request: Signable, now: datetime) -> list[Header]:
        date = now.strftime("%Y%m%dT%H%M%SZ")
        day = date[:8]
        key = key_of.get(day)
        if key is None:
            key_of.clear()
            key = key_of[day] = signing_key(secret_key, day, region, service)
        payload = payload_hash(request.body, hashed)
        canonical = "\n".join(
            (
                request.method,
                canonical_uri(request.path, double),
                canonical_query(request.query or ""),
                canonical_headers(names, request, date, payload),
                signed,
                payload,
            )
        )
        scope = f"{day}/{region}/{service}/{SCOPE_END}"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        signature = hmac.digest(key, f"{NAME}\n{date}\n{scope}\n{digest}".encode(), "sha256").hex()
        headers = [(_DATE, date)]
        if hashed != "EXCLUDED":
            headers.append((_SHA, payload))
        value = f"{NAME} Credential={access_key}/{scope}, SignedHeaders={signed}"
        return [*headers, ("Authorization", f"{value}, Signature={signature}")]

    return sign


def signed_names(canonical: Sequence[str], hashed: str) -> list[str]:
    """Names of the headers that are signed, in their order."""
    names = {name.strip().lower() for name in canonical}
    return sorted(names if hashed == "EXCLUDED" else names | {_SHA})


def canonical_uri(path: str, double: bool) -> str:
    """The path, percent-encoded once, or twice and without empty segments."""
    if not path:
        return "/"
    if not double:
        return "/".join(_encoded(unquote_to_bytes(segment)) for segment in path.split("/"))
    segments = [segment for segment in path.split("/") if segment]
    if not segments:
        return "/"
    twice = [_encoded(_encoded(unquote_to_bytes(segment)).encode()) for segment in segments]
    return "/" + "/".join(twice) + ("/" if path.endswith("/") else "")


def canonical_query(query: str) -> str:
    """Parameters by key, and of one key by value; ``=`` in a value ends encoded twice."""
    pairs = []
    for part in query.split("&"):
        if part:
            key, _, value = part.replace("+", " ").partition("=")
            pairs.append((unquote_to_bytes(key), unquote_to_bytes(value)))
    return "&".join(
        f"{_encoded(key)}={_encoded(value.replace(b'=', b'%3D'))}" for key, value in sorted(pairs)
    )


def canonical_headers(names: Sequence[str], request: Signable, date: str, payload: str) -> str:
    """``name:value`` and a line end for each of *names*."""
    own = {"host": request.host, _DATE: date, _SHA: payload}
    if request.content_type is not None:
        own["content-type"] = _trimmed(request.content_type)
    theirs: dict[str, list[str]] = {}
    for name, value in request.headers:
        theirs.setdefault(name.lower(), []).append(_trimmed(value))
    return "".join(
        f"{name}:{own[name] if name in own else ','.join(theirs.get(name, ()))}\n" for name in names
    )


def payload_hash(body: bytes, hashed: str) -> str:
    return "UNSIGNED-PAYLOAD" if hashed == "UNSIGNED" else hashlib.sha256(body).hexdigest()


def signing_key(
    secret_key: str, day: str, region: str, service: str, step: str = "kSigning"
) -> bytes:
    """The key after *step* of its derivation."""
    key = f"AWS4{secret_key}".encode()
    for name, part in zip(STEPS, (day, region, service, SCOPE_END), strict=True):
        key = hmac.digest(key, part.encode(), "sha256")
        if name == step:
            break
    return key


def _encoded(data: bytes) -> str:
    """All but ``A-Z a-z 0-9 - . _ ~``."""
    return quote(data, safe="")


def _trimmed(value: str) -> str:
    return " ".join(value.split())
