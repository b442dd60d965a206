"""Which signers a connection's requests go through: none, most of the time."""

from __future__ import annotations

from streamproc.config.connection import Connection
from streamproc.connectors.http_push.auth.hmac import hmac_signer
from streamproc.connectors.http_push.auth.signing import Signer
from streamproc.connectors.http_push.auth.webhook import secrets_in, webhook_signer
from streamproc.connectors.http_push.config import HttpPushOptions


def signers_of(connection: Connection, options: HttpPushOptions) -> tuple[Signer, ...]:
    """In the order in which they sign. Raises ConfigError."""
    found: list[Signer] = []
    if secrets := secrets_in(options.webhook_secrets):
        found.append(webhook_signer(secrets))
    credentials = connection.credentials or {}
    if credentials.get("type") == "hmac":
        found.append(hmac_signer(credentials.get("algorithm"), credentials.get("parameters")))
    return tuple(found)
