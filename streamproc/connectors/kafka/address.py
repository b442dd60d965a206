"""What a resolved target address says: ``topic``, ``topic/key`` or ``topic#partition``."""

from __future__ import annotations

import re
from typing import NamedTuple

from streamproc.errors import DeliveryRefused

ANY_PARTITION = -1
LAST_PARTITION = (1 << 31) - 1
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}", re.ASCII)


class Place(NamedTuple):
    """Where a message goes."""

    topic: str
    key: str | None = None
    partition: int = ANY_PARTITION


def parse(address: str) -> Place:
    """Raises DeliveryRefused. A ``/`` counts before a ``#``, so a key may have both."""
    topic, slash, key = address.partition("/")
    number = ANY_PARTITION
    if not slash:
        topic, mark, text = address.partition("#")
        if mark:
            number = _partition(text, address)
    elif not key:
        raise DeliveryRefused(f"address {address!r} has no key behind the '/'")
    if not is_topic(topic):
        raise DeliveryRefused(
            f"address {address!r} names no topic: expected 1 to 249 of A-Z a-z 0-9 . _ -"
        )
    return Place(topic, key or None, number)


def is_topic(name: str) -> bool:
    """Whether Kafka allows a topic of this name."""
    return _TOPIC.fullmatch(name) is not None and name not in (".", "..")


def _partition(text: str, address: str) -> int:
    if text.isascii() and text.isdigit() and int(text[:11]) <= LAST_PARTITION:
        return int(text)
    raise DeliveryRefused(
        f"address {address!r} has {text!r} behind the '#': expected the number of a partition"
    )
