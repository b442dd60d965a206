"""Which exchanges exist. A publish to one that does not would close the channel for all."""

from __future__ import annotations

import asyncio

from pamqp import commands

from streamproc.connectors.amqp091.link import Channel, Link
from streamproc.errors import Misconfigured, RunnerError

CHANNEL = 2
MISSING_S = 5.0  # a missing exchange is asked for again after this long
MOST = 1_000  # names kept


class Exchanges:
    """What the broker said of each name, on a channel of its own."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._channel: Channel | None = None
        self._missing: dict[str, tuple[float, str]] = {}  # -> (when to ask again, words)
        self._known: set[str] = {""}

    def knows(self, name: str) -> bool:
        """Whether it was there when last asked for."""
        return name in self._known

    async def problem(self, name: str) -> str:
        """Empty if the exchange exists, else the broker's words. Raises NotConnected."""
        now = asyncio.get_running_loop().time()
        again_at, said = self._missing.get(name, (now, ""))
        if again_at > now:
            return said
        if len(self._known) + len(self._missing) >= MOST:
            self._known, self._missing = {""}, {}
        self._missing.pop(name, None)
        said = await self._ask(name)
        if said:
            self._missing[name] = (now + MISSING_S, said)
        else:
            self._known.add(name)
        return said

    async def _ask(self, name: str) -> str:
        try:
            if self._channel is None:
                self._channel = _Asking()
                await self._link.channel(CHANNEL, self._channel)
            await self._channel.call(commands.Exchange.Declare(exchange=name, passive=True))
        except Misconfigured as error:
            self._channel = None  # the broker has closed it
            return str(error)
        return ""

    def fail(self, error: RunnerError) -> None:
        """The link is lost: nobody answers."""
        if self._channel is not None:
            self._channel.fail(error)


class _Asking(Channel):
    """Nothing comes here but answers."""
