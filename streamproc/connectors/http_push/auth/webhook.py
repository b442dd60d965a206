"""Signing as the Standard Webhooks specification says, for receivers that check who sent.

``webhook-id``, ``webhook-timestamp`` and ``webhook-signature``: one signature for each secret,
so that a receiver may change its secret while both are given here.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence
from datetime import datetime

from streamproc.connectors.http_push.auth.signing import Header, Signable, Signer
from streamproc.errors import ConfigError

PREFIX = "whsec_"
LEAST_BYTES, MOST_BYTES = 24, 64
MOST_SECRETS = 4

ID = "webhook-id"


def webhook_signer(secrets: Sequence[str]) -> Signer:
    """Signs with each of *secrets*; raises ConfigError, which repeats none."""
    if not 1 <= len(secrets) <= MOST_SECRETS:
        raise ConfigError(
            f"webhookSecrets has {len(secrets)} secrets, expected 1 to {MOST_SECRETS}"
        )
    keys = [_key(secret) for secret in secrets]

    def sign(request: Signable, now: datetime) -> list[Header]:
        theirs = [value for name, value in request.headers if name.lower() == ID]
        message = theirs[0] if theirs and theirs[0] else request.message_id
        stamp = str(int(now.timestamp()))
        signed = f"{message}.{stamp}.".encode() + request.body
        signatures = [base64.b64encode(hmac.digest(key, signed, "sha256")) for key in keys]
        return [
            (ID, message),
            ("webhook-timestamp", stamp),
            ("webhook-signature", " ".join(f"v1,{each.decode()}" for each in signatures)),
        ]

    return sign


def secrets_in(option: str | Sequence[str]) -> list[str]:
    """``webhookSecrets``: a list, or secrets joined by commas; empty for none."""
    parts = option.split(",") if isinstance(option, str) else option
    return [part.strip() for part in parts if part.strip()]


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError(
            f"webhookSecrets has a secret that is not base64, with or without {PREFIX}"
        ) from None
    if not LEAST_BYTES <= len(key) <= MOST_BYTES:
        raise ConfigError(
            f"webhookSecrets has a secret of {len(key)} bytes, "
            f"expected {LEAST_BYTES} to {MOST_BYTES}"
        )
    return key
