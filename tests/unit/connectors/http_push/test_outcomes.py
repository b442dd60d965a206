"""Receipts are told together, once, and in an order that makes sense."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from streamproc.connectors.http_push.outcomes import Outcomes
from streamproc.errors import DeliveryFailed, DeliveryRefused, NotConnected, RunnerError
from streamproc.kernels.delivery import Delivery


class Heard:
    """Receipts, as they come."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def delivered(self, deliveries: Sequence[Delivery]) -> None:
        self.calls.append(("delivered", "".join(delivery.key for delivery in deliveries)))

    def failed(self, deliveries: Sequence[Delivery], error: RunnerError) -> None:
        self.calls.append((str(error), "".join(delivery.key for delivery in deliveries)))

    def lost(self, error: RunnerError) -> None:
        self.calls.append(("lost", str(error)))


def delivery(key: str) -> Delivery:
    return Delivery(0, key, "POST:/", {}, b"")


async def test_all_of_an_iteration_is_told_at_its_end() -> None:
    heard = Heard()
    outcomes = Outcomes(heard)
    outcomes.lost(NotConnected("away"))
    outcomes.failed([delivery("a")], DeliveryFailed("no"))
    outcomes.delivered(delivery("b"))
    outcomes.failed([delivery("c")], DeliveryRefused("never"))
    outcomes.failed([delivery("d"), delivery("e")], DeliveryFailed("no"))
    outcomes.delivered(delivery("f"))
    assert outcomes.is_telling
    assert heard.calls == []
    await asyncio.sleep(0)
    assert heard.calls == [
        ("delivered", "bf"),
        ("no", "ade"),
        ("never", "c"),
        ("lost", "away"),
    ]
    assert not outcomes.is_telling
    await asyncio.sleep(0)
    assert len(heard.calls) == 4, "each is told once"


async def test_failures_with_waits_of_their_own_are_told_apart() -> None:
    heard = Heard()
    outcomes = Outcomes(heard)
    for key, wait_s in (("a", 1.0), ("b", 2.0), ("c", 1.0)):
        outcomes.failed([delivery(key)], DeliveryFailed("no", retry_after_s=wait_s))
    outcomes.tell()
    assert heard.calls == [("no", "ac"), ("no", "b")]
    await asyncio.sleep(0)
    assert len(heard.calls) == 2, "what was told by hand is not told again"


async def test_what_is_said_while_it_is_told_comes_next() -> None:
    """The lanes write from within a receipt, and a write may fail at once."""

    class Answering(Heard):
        def delivered(self, deliveries: Sequence[Delivery]) -> None:
            super().delivered(deliveries)
            outcomes.failed([delivery("z")], DeliveryFailed("at once"))

    heard = Answering()
    outcomes = Outcomes(heard)
    outcomes.delivered(delivery("a"))
    await asyncio.sleep(0)
    assert heard.calls == [("delivered", "a")]
    await asyncio.sleep(0)
    assert heard.calls[1:] == [("at once", "z")]


async def test_nothing_is_told_of_nothing() -> None:
    heard = Heard()
    outcomes = Outcomes(heard)
    outcomes.failed([], DeliveryFailed("no"))
    assert not outcomes.is_telling
    outcomes.tell()
    assert heard.calls == []
