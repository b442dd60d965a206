"""``az-monitor-2016-04-01`` and ``az-sasl``: Azure's shared keys (spec: Ditto 10.4)."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from datetime import datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import quote

from streamproc.config.duration import seconds
from streamproc.connectors.http_push.auth.signing import (
    Header,
    ParameterInvalid,
    Parameters,
    Signable,
    Signer,
)

DEFAULT_TTL = "7d"
IOT_HUB = ".azure-devices.net"


def az_monitor(parameters: Mapping[str, Any]) -> Signer:
    """Signs requests to the HTTP Data Collector API of Azure Monitor."""
    given = Parameters(parameters)
    workspace, key = given.text("workspaceId"), given.key("sharedKey")

    def sign(request: Signable, now: datetime) -> list[Header]:
        date = format_datetime(now, usegmt=True)
        text = (
            f"{request.method}\n{len(request.body)}\n{request.content_type or ''}\n"
            f"x-ms-date:{date}\n{request.path}"
        )
        value = f"SharedKey {workspace}:{_signature(key, text)}"
        return [("x-ms-date", date), ("Authorization", value)]

    return sign


def az_sasl(parameters: Mapping[str, Any]) -> Signer:
    """Adds a shared access signature, for Azure IoT Hub and Service Bus."""
    access = _SharedAccess(Parameters(parameters))

    def sign(request: Signable, now: datetime) -> list[Header]:
        return [("Authorization", access.signature(now))]

    return sign


def az_sasl_plain(parameters: Mapping[str, Any], now: datetime) -> tuple[str, str]:
    """User and password of SASL PLAIN, for AMQP 1.0."""
    given = Parameters(parameters)
    access = _SharedAccess(given)
    hub = given.text("endpoint").removesuffix(IOT_HUB)
    return f"{given.text('sharedKeyName')}@sas.root.{hub}", access.signature(now)


class _SharedAccess:
    """The signature for the endpoint, valid for its ``ttl`` from the time it is asked for."""

    def __init__(self, given: Parameters) -> None:
        self._name = given.text("sharedKeyName")
        self._key = given.key("sharedKey")
        self._resource = quote(given.text("endpoint"), safe="")
        ttl_s = seconds(given.text("ttl", DEFAULT_TTL))
        if ttl_s is None:
            raise ParameterInvalid(
                "connectivity:connection.configuration.invalid",
                "parameter 'ttl' is not a duration such as 10m or 7d",
            )
        self._ttl_s = ttl_s

    def signature(self, now: datetime) -> str:
        expiry = int(now.timestamp() + self._ttl_s)
        signature = quote(_signature(self._key, f"{self._resource}\n{expiry}"), safe="")
        return (
            f"SharedAccessSignature sr={self._resource}&sig={signature}&se={expiry}"
            f"&skn={self._name}"
        )


def _signature(key: bytes, text: str) -> str:
    return base64.b64encode(hmac.digest(key, text.encode(), "sha256")).decode()
