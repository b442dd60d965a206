"""Where a message goes: a resolved target address in the form that the producer takes."""

from __future__ import annotations

from typing import NamedTuple

from streamproc.config.addresses import KafkaAddress
from streamproc.errors import ConfigError, DeliveryRefused

ANY_PARTITION = -1


class Place(NamedTuple):
    """``key`` None and ``partition`` ANY_PARTITION: the producer spreads the messages."""

    topic: str
    key: str | None
    partition: int


def parse(address: str) -> Place:
    """Raises DeliveryRefused: no message can ever go there."""
    try:
        found = KafkaAddress.parse(address)
    except ConfigError as error:
        raise DeliveryRefused(f"{error}, found {address!r}") from error
    partition = ANY_PARTITION if found.partition is None else found.partition
    return Place(found.topic, found.key, partition)
