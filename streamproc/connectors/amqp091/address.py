"""Where a message goes: exchange and routing key of a resolved target address."""

from __future__ import annotations

from typing import NamedTuple

from streamproc.errors import DeliveryRefused

DEFAULT_EXCHANGE = "amq.default"
"""RabbitMQ's own name for the exchange without a name, whose routing keys are queues."""


class Place(NamedTuple):
    """``exchange`` is empty for the default exchange."""

    exchange: str
    routing_key: str


def parse(address: str) -> Place:
    """Raises DeliveryRefused. The first ``/`` divides; a resolved routing key may have more."""
    exchange, _, routing_key = address.partition("/")
    if not exchange or not routing_key:
        raise DeliveryRefused(f"expected exchange/routingKey, found {address!r}")
    return Place("" if exchange == DEFAULT_EXCHANGE else exchange, routing_key)
