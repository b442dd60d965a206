"""Which brokers this machine can run, said in one line each, and what becomes of tests if not."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tests.brokers.broker import Broker
from tests.brokers.kafka import Kafka
from tests.brokers.mosquitto import Mosquitto
from tests.brokers.rabbitmq import RabbitMQ

BROKERS: Sequence[type[Broker]] = (Kafka, RabbitMQ, Mosquitto)
INSTEAD = {"kafka": "librdkafka's mock cluster stands in"}


def required() -> bool:
    """Whether a missing broker is an error, as in `.ci/run`, rather than a skip."""
    return os.environ.get("STREAMPROC_REQUIRE_BROKERS") == "1"


def lines() -> list[str]:
    """One line a broker: real, or what is missing, how to get it, and what happens instead."""
    return [_line(broker.name, broker.missing()) for broker in BROKERS]


def _line(name: str, missing: str) -> str:
    if not missing:
        return f"{name}: real"
    instead = "its tests fail" if required() else INSTEAD.get(name, "its tests are skipped")
    return f"{name}: {missing}; {instead}"
