"""Publishes with confirms, hundreds of messages open at a time.

Order: messages go out in the order they are written, and a missing confirmation fails all
that are open, in that order. A message that the broker refuses (``basic.nack``: a queue that
is full and rejects) fails alone: those of its key that went out behind it may be there before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from streamproc.connectors.amqp091 import settings
from streamproc.connectors.amqp091.link import Link
from streamproc.connectors.amqp091.outlet import Outlet
from streamproc.connectors.base import Receipts, TargetSpec
from streamproc.errors import NotConnected, RunnerError
from streamproc.kernels.delivery import Delivery

CAPACITY = 2_000


class Amqp091Target:
    """The publisher of one client.

    What finds no exchange or no queue fails alone: with DeliveryFailed if its address stands
    in the configuration as it is, for the place may come; with DeliveryRefused if the address
    was computed, so that one bad name does not hold up all the others.
    """

    capacity = CAPACITY

    def __init__(self, spec: TargetSpec) -> None:
        self._spec = spec
        self._receipts: Receipts = spec.receipts
        self._fixed = frozenset(target.address for target in spec.connection.targets)
        self._outlet: Outlet | None = None

    async def open(self) -> None:
        await self.close()
        link = await Link.open(settings.of(self._spec, settings.name_of(self._spec)))
        outlet = Outlet(self._receipts, self._fixed, self._lost)
        try:
            await outlet.begin(link)
        except BaseException:
            await link.close()
            raise
        self._outlet = outlet

    def write(self, deliveries: Sequence[Delivery]) -> None:
        if self._outlet is not None:
            self._outlet.write(deliveries)
            return
        asyncio.get_running_loop().call_soon(
            self._receipts.failed, list(deliveries), NotConnected("not open")
        )

    async def close(self) -> None:
        outlet, self._outlet = self._outlet, None
        if outlet is not None:
            await outlet.end()

    def _lost(self, error: RunnerError) -> None:
        if self._outlet is not None:
            self._outlet = None
            self._receipts.lost(error)
