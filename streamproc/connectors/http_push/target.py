"""Pushes deliveries to an HTTP endpoint, alone or in batches, ``parallelism`` requests at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from streamproc.config.addresses import HTTP_METHODS
from streamproc.config.duration import seconds
from streamproc.connectors.base import TargetSpec
from streamproc.connectors.http_push.assemble import client_of
from streamproc.connectors.http_push.batch import FORMS, Batcher, Carrier, Rule
from streamproc.connectors.http_push.config import MAX_DELAY_S, Batching, HttpPushOptions
from streamproc.errors import ConfigError
from streamproc.kernels.delivery import Delivery

MAX_DEADLINE_S = 60.0
MAX_GATHERED = 10_000
"""Most deliveries in flight with batches, unless there are more connections."""


class HttpPushTarget:
    """Exactly ``parallelism`` TCP connections, made when needed. ``capacity`` is as much, or
    with batches what these hold.
    """

    def __init__(self, spec: TargetSpec) -> None:
        options: HttpPushOptions = spec.options
        omitted = bodiless(options.omit_request_body)
        client = partial(client_of, spec, omit=omitted, deadline_s=deadline_s(options.idle_timeout))
        self._client: Carrier
        if options.batch is None:
            self.capacity = options.parallelism
            self._client = client(spec.receipts)
        else:
            self.capacity = capacity(options.parallelism, options.batch.max_messages)
            rule = batch_rule(options.batch, omitted, ordered=options.ordered)
            self._client = Batcher(rule, client, spec.receipts, size=options.parallelism)

    async def open(self) -> None:
        await self._client.open()

    def write(self, deliveries: Sequence[Delivery]) -> None:
        self._client.write(deliveries)

    async def close(self) -> None:
        await self._client.close()


def capacity(parallelism: int, max_messages: int) -> int:
    """Deliveries in flight with batches: those on their way, and as many that gather."""
    return min(2 * parallelism * max_messages, max(parallelism, MAX_GATHERED))


def batch_rule(batch: Batching, omitted: frozenset[str], *, ordered: bool) -> Rule:
    """The options of batches, understood."""
    delay_s = seconds(batch.max_delay)
    if delay_s is None or delay_s > MAX_DELAY_S:
        raise ConfigError(f"batch.maxDelay {batch.max_delay!r} is no duration up to 60s")
    return Rule(
        form=FORMS[batch.format],
        max_messages=batch.max_messages,
        max_bytes=batch.max_bytes,
        delay_s=delay_s,
        split_on=frozenset(batch.split_on),
        without=frozenset(name.strip().lower() for name in batch.without),
        bodiless=omitted,
        ordered=ordered,
    )


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
