"""Which exchanges exist. A publish to one that does not would close the channel for all."""

from __future__ import annotations

import asyncio
from typing import Any

from streamproc.connectors.amqp091 import methods
from streamproc.connectors.amqp091.channel import Channel
from streamproc.connectors.amqp091.link import Link
from streamproc.errors import Misconfigured

CHANNEL = 2
MISSING_S = 5.0  # a missing exchange is asked for again after this long
MOST = 1_000  # names kept


class Exchanges:
    """What the broker said of each name, on a channel of its own."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._channel: Channel | None = None
        self._missing: dict[str, tuple[float, str]] = {}  # -> (when to ask again, words)
        self._known: set[str] = {""}

    def knows(self, name: str) -> bool:
        """Whether it was there when last asked for."""
        return name in self._known

    def missing(self, name: str) -> str:
        """The broker's words, if it was asked for of late and was not there."""
        again_at, said = self._missing.get(name, (0.0, ""))
        return said if again_at > self._loop.time() else ""

    async def ask(self, name: str) -> None:
        """Learn whether it is there. Raises NotConnected."""
        said = await self._ask(name)
        if len(self._known) + len(self._missing) >= MOST:
            self._known, self._missing = {""}, {}
        self._missing.pop(name, None)
        if said:
            self._missing[name] = (self._loop.time() + MISSING_S, said)
        else:
            self._known.add(name)

    async def _ask(self, name: str) -> str:
        if self._channel is None:
            channel = Channel()  # nothing comes there but answers
            await self._link.channel(CHANNEL, channel)
            self._channel = channel
        passively: tuple[Any, ...] = (0, name, "", True, False, False, False, False, {})
        try:
            await self._channel.call(
                methods.EXCHANGE_DECLARE_OK, methods.EXCHANGE_DECLARE, *passively
            )
        except Misconfigured as error:
            self._channel = None  # the broker has closed it
            return str(error)
        return ""
