"""OAuth 2 without the network: what is asked for, what an answer means, how long it holds.

Ditto 10.5, but that opaque tokens are as good as JWTs.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from streamproc.errors import Misconfigured, NotConnected, RunnerError

DEFAULT_LIFETIME_S = 300.0
"""Of a token that does not say how long it lives."""

RENEW_BEFORE_S = 60.0
"""A new token is asked for this long before the old one ends, or at its half-life."""

KINDS = ("oauth-client-credentials", "oauth-password")

_VALUE = re.compile(r"[\x21-\x7e]{1,16384}")
_CODE = re.compile(r"[A-Za-z_]{1,64}")


class Token(NamedTuple):
    """A bearer token. Times are on the clock that ``token_of`` was given."""

    value: str
    renew_at: float
    ends_at: float

    def __repr__(self) -> str:
        return f"Token(***, renew_at={self.renew_at}, ends_at={self.ends_at})"


def form_of(credentials: Mapping[str, Any]) -> dict[str, str]:
    """The form that is posted to the token endpoint."""
    by_password = credentials["type"] == "oauth-password"
    form = {
        "grant_type": "password" if by_password else "client_credentials",
        "client_id": credentials["clientId"],
        "client_secret": credentials.get("clientSecret"),
        "scope": credentials["requestedScopes"],
        "audience": credentials.get("audience"),
    }
    if by_password:
        form |= {"username": credentials["username"], "password": credentials["password"]}
    return {name: value for name, value in form.items() if value is not None}


def token_of(
    status: int, content_type: str, body: bytes, now: float, epoch_s: float
) -> Token | RunnerError:
    """What the token endpoint answered: a token, or why there is none.

    *now* is the caller's clock, *epoch_s* the time of day, which a JWT speaks of.
    """
    answer = _object(content_type, body)
    if not 200 <= status < 300:
        code = None if answer is None else answer.get("error")
        said = f" ({code})" if isinstance(code, str) and _CODE.fullmatch(code) else ""
        text = f"token endpoint answered {status}{said}"
        passing = status >= 500 or status in (408, 425, 429)
        return NotConnected(text) if passing else Misconfigured(text)
    if answer is None:
        return Misconfigured("token endpoint answered with no JSON object")
    value, kind = answer.get("access_token"), answer.get("token_type", "bearer")
    if not isinstance(value, str) or not _VALUE.fullmatch(value):
        return Misconfigured("token endpoint answered without a usable access_token")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        return Misconfigured("token endpoint gave a token that is no bearer token")
    lifetime_s = _lifetime_s(answer.get("expires_in"), value, epoch_s)
    if lifetime_s <= 0:
        return NotConnected("token endpoint gave a token that has ended")
    return Token(
        value,
        renew_at=now + lifetime_s - min(RENEW_BEFORE_S, lifetime_s / 2),
        ends_at=now + lifetime_s,
    )


def _object(content_type: str, body: bytes) -> dict[str, Any] | None:
    if content_type.partition(";")[0].strip().lower() != "application/json":
        return None
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _lifetime_s(expires_in: object, value: str, epoch_s: float) -> float:
    """The shorter of what the answer and the token itself say."""
    said = [
        float(each)
        for each in (_number(expires_in), _number(_claims(value).get("exp"), epoch_s))
        if each is not None
    ]
    return min(said, default=DEFAULT_LIFETIME_S)


def _number(value: object, since: float = 0.0) -> float | None:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:18])
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return max(-1e9, min(1e9, value - since))


def _claims(value: str) -> dict[str, Any]:
    """Of a JWT, unverified: that is the endpoint's business. Empty for any other token."""
    parts = value.split(".")
    if len(parts) != 3:
        return {}
    try:
        found = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
