"""Pushes deliveries to an HTTP endpoint: one request each, at most ``parallelism`` at once."""

from __future__ import annotations

from collections.abc import Sequence

from streamproc.config.addresses import HTTP_METHODS
from streamproc.config.duration import seconds
from streamproc.connectors.base import TargetSpec
from streamproc.connectors.http_push.client import Client
from streamproc.connectors.http_push.config import HttpPushOptions
from streamproc.connectors.http_push.endpoint import Endpoint
from streamproc.connectors.http_push.request import Requests
from streamproc.errors import ConfigError
from streamproc.kernels.delivery import Delivery

MAX_DEADLINE_S = 60.0
_CREDENTIALS = (None, "client-cert")


class HttpPushTarget:
    """``capacity`` is exactly ``parallelism``: as many TCP connections, made when needed."""

    def __init__(self, spec: TargetSpec) -> None:
        options: HttpPushOptions = spec.options
        kind = (spec.connection.credentials or {}).get("type")
        if kind not in _CREDENTIALS:
            raise ConfigError(f"http-push has no credentials of type {kind!r}")
        self.capacity = options.parallelism
        endpoint = Endpoint(spec.connection)
        self._client = Client(
            endpoint,
            Requests(endpoint, bodiless(options.omit_request_body)),
            spec.receipts,
            size=options.parallelism,
            deadline_s=deadline_s(options.idle_timeout),
        )

    async def open(self) -> None:
        await self._client.open()

    def write(self, deliveries: Sequence[Delivery]) -> None:
        self._client.write(deliveries)

    async def close(self) -> None:
        await self._client.close()


def bodiless(methods: str | list[str]) -> frozenset[str]:
    """``omitRequestBody``: a list, or names joined by commas; empty for none."""
    names = methods.split(",") if isinstance(methods, str) else methods
    wanted = frozenset(name.strip() for name in names if name.strip())
    if unknown := sorted(wanted - frozenset(HTTP_METHODS)):
        raise ConfigError(f"omitRequestBody names {unknown[0]!r}, which is no HTTP method")
    return wanted


def deadline_s(duration: str) -> float:
    """``idleTimeout`` in seconds: at most 60, and 0 means just that."""
    found = seconds(duration)
    if found is None:
        raise ConfigError(f"idleTimeout {duration!r} is not a duration such as 60s or 500ms")
    if found > MAX_DEADLINE_S:
        raise ConfigError(f"idleTimeout {duration!r} is longer than {MAX_DEADLINE_S:g} s")
    return found or MAX_DEADLINE_S
