"""A TCP connection to the first of several addresses that answers (RFC 8305, happy eyeballs)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

from streamproc.connectors.http_push.safety import Place

STAGGER_S = 0.25
"""Head start of an address over the next one."""


async def dial(places: Sequence[Place]) -> socket.socket:
    """A connected socket. Raises the OSError of the last address to fail."""
    if len(places) == 1:
        return await _connected(places[0])
    rest = list(places)
    trying: set[asyncio.Task[socket.socket]] = set()
    last: OSError = OSError("there is no address")
    try:
        while rest or trying:
            if rest:
                trying.add(asyncio.create_task(_connected(rest.pop(0))))
            done, trying = await asyncio.wait(
                trying,
                timeout=STAGGER_S if rest else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            won: socket.socket | None = None
            for task in done:
                try:
                    sock = task.result()
                except OSError as error:
                    last = error
                else:
                    won = _one_of(won, sock)
            if won is not None:
                return won
        raise last
    finally:
        await _abandon(trying)


def _one_of(first: socket.socket | None, second: socket.socket) -> socket.socket:
    if first is None:
        return second
    second.close()
    return first


async def _abandon(trying: set[asyncio.Task[socket.socket]]) -> None:
    """Leave no socket behind, also of one that connected at this very moment."""
    for task in trying:
        task.cancel()
    for outcome in await asyncio.gather(*trying, return_exceptions=True):
        if isinstance(outcome, socket.socket):
            outcome.close()


async def _connected(place: Place) -> socket.socket:
    sock = socket.socket(place.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, place.address)
    except BaseException:
        sock.close()
        raise
    return sock
