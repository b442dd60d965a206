"""Looks a name up, and says which of its addresses may be connected to.

What is connected to is what was checked: a name that answers lint with one address and the
client with another (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import asyncio
import random
import socket
from typing import Any, NamedTuple

from streamproc.config.hosts import Address, HostCheck, address_of
from streamproc.config.service import Hosts
from streamproc.errors import Misconfigured, NotConnected, RunnerError

FRESH_S = 1.0
"""How long the answer to a look-up is used: connects that come together share it."""

BLOCKED_FRESH_S = 60.0
"""How long the addresses of blocked names are used."""


class Place(NamedTuple):
    """An address and port, as the socket module takes them."""

    family: int
    address: Any  # a tuple: host, port and, of IPv6, flow and scope


class Reach:
    """The way to one host, by the rules of the service."""

    def __init__(self, host: str, port: int, rules: Hosts) -> None:
        self._host = host
        self._port = port
        self._check = HostCheck(rules)
        self._turn = random.randrange(1 << 16)  # noqa: S311 - spreads workers over addresses
        self._lookup: asyncio.Task[list[Place] | RunnerError] | None = None
        self._fresh_until = 0.0
        self._blocked: frozenset[Address] = frozenset()
        self._blocked_until = 0.0

    def refusal_by_name(self) -> str:
        """Why a proxy may not be asked for this host, or nothing. Looks nothing up."""
        if reason := self._check.name_refusal(self._host):
            return reason
        if address_of(self._host) is None:
            return ""
        return self._check.address_refusal(self._host, self._host, frozenset())

    async def places(self) -> list[Place]:
        """Where to connect now, the first first; each call begins with another.

        Raises NotConnected where the name has no address, Misconfigured where it has none that
        may be reached.
        """
        now = asyncio.get_running_loop().time()
        if self._lookup is None or (self._lookup.done() and now >= self._fresh_until):
            self._lookup = asyncio.create_task(self._look_up())
        # Shared: one who gives up takes the answer from nobody else.
        found = await asyncio.shield(self._lookup)
        if isinstance(found, RunnerError):
            raise type(found)(str(found))
        self._turn += 1
        return in_turn(found, self._turn)

    async def _look_up(self) -> list[Place] | RunnerError:
        """An error is returned, so that it is no loss when nobody waits any more."""
        loop = asyncio.get_running_loop()
        try:
            if reason := self._check.name_refusal(self._host):
                return Misconfigured(f"{self._host} may not be reached: it is {reason}")
            found = await _resolved(self._host, self._port)
            await self._look_up_blocked(loop)
        except OSError as error:
            why = error.strerror or error
            return NotConnected(f"cannot resolve {self._host}: {why}")
        finally:
            self._fresh_until = loop.time() + FRESH_S
        allowed: list[Place] = []
        reason = "it has no address"
        for place in found:
            text = str(place.address[0])
            if why_not := self._check.address_refusal(self._host, text, self._blocked):
                reason = f"it has {why_not}"
            else:
                allowed.append(place)
        if not allowed:
            return Misconfigured(f"{self._host} may not be reached: {reason}")
        return allowed

    async def _look_up_blocked(self, loop: asyncio.AbstractEventLoop) -> None:
        """The addresses of names that are blocked; what has none has nothing to block."""
        names = self._check.blocked_names
        if not names or loop.time() < self._blocked_until:
            return
        answers = await asyncio.gather(
            *(_resolved(name, self._port) for name in names), return_exceptions=True
        )
        self._blocked = frozenset(
            address
            for answer in answers
            if not isinstance(answer, BaseException)
            for place in answer
            if (address := address_of(str(place.address[0]))) is not None
        )
        self._blocked_until = loop.time() + BLOCKED_FRESH_S


def in_turn(places: list[Place], turn: int) -> list[Place]:
    """Each family in turn, the resolver's first family first; *turn* says who begins in each."""
    families: dict[int, list[Place]] = {}
    for place in places:
        families.setdefault(place.family, []).append(place)
    queues = [each[(start := turn % len(each)) :] + each[:start] for each in families.values()]
    longest = max(map(len, queues), default=0)
    return [queue[i] for i in range(longest) for queue in queues if i < len(queue)]


async def _resolved(host: str, port: int) -> list[Place]:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"{error}") from None
    return list(dict.fromkeys(Place(entry[0], entry[4]) for entry in found))
