"""At most N connections to one endpoint: made when needed, watched by one coarse clock.

Nothing here is made per request: no task, no future, no timer.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

from streamproc.connectors.http_push.request import Request
from streamproc.connectors.http_push.wire import Wire
from streamproc.errors import DeliveryFailed, RunnerError
from streamproc.kernels.delivery import Delivery

CONNECT_S = 10.0
"""Longest time to connect, TLS included; less where a request may take less."""

TICKS = 10
"""A request's deadline in ticks: how coarse the clock is."""

MAX_TICK_S = 1.0
CLOSE_S = 2.0


class Waiting(NamedTuple):
    """A delivery without a connection yet. *again*: its first one was closed under it."""

    delivery: Delivery
    request: Request
    since: int
    again: bool = False


class Owner(Protocol):
    """Who hears of what the clock and failed connects do to deliveries."""

    def broken(self, delivery: Delivery, why: str) -> None:
        """There is no answer, and the endpoint may have it."""

    def failed(self, deliveries: Sequence[Delivery], error: RunnerError) -> None:
        """They were not sent."""

    def unreachable(self, error: RunnerError) -> None:
        """No connection is left, and none can be made. The pool is to be shut."""


class Pool:
    """``size``: most connections. ``deadline_s``: of one request, from ``send`` to its answer.
    ``idle_s``: how long a connection is kept without a request; None for ever. ``connect`` takes
    a deadline in seconds, and raises NotConnected or Misconfigured.
    """

    def __init__(
        self,
        owner: Owner,
        connect: Callable[[float], Awaitable[Wire]],
        *,
        size: int,
        deadline_s: float,
        idle_s: float | None,
    ) -> None:
        self._owner = owner
        self._dial = connect
        self._size = size
        self._deadline_s = deadline_s
        self._tick_s = min(MAX_TICK_S, deadline_s / TICKS)
        self._ticks = round(deadline_s / self._tick_s)  # a deadline, in ticks
        self._idle_ticks = None if idle_s is None else math.ceil(idle_s / self._tick_s)
        self._connect_s = min(CONNECT_S, deadline_s)
        self.is_open = False
        self._wires: set[Wire] = set()
        self._empty = asyncio.Event()
        self._idle: list[Wire] = []  # the one used last is used next: the others may go cold
        self._waiting: deque[Waiting] = deque()
        self._connecting: set[asyncio.Task[None]] = set()
        self._now = 0  # ticks
        self._grow_at = 0  # tick; not before, after a connect that failed
        self._timer: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Make the first connection, as proof that it can be made."""
        self._loop = asyncio.get_running_loop()
        self._grow_at = self._now
        wire = await self._dial(self._connect_s)
        self.is_open = True
        self._add(wire)

    def send(self, delivery: Delivery, request: Request) -> None:
        """On an idle connection, or on the next there is once ``serve`` was called."""
        if self._idle:
            self._idle.pop().send(delivery, request, self._now)
        else:
            self._waiting.append(Waiting(delivery, request, self._now))

    def serve(self) -> None:
        """Have connections for all that was sent, and a clock for their deadlines."""
        if self._waiting:
            self._grow()
        if self._timer is None:
            self._timer = self._loop.call_later(self._tick_s, self._tick)

    def send_again(self, delivery: Delivery, request: Request, since: int) -> None:
        """On a new connection, as those that idle may be gone too, or on one that has just
        answered; before all that wait.
        """
        self._waiting.appendleft(Waiting(delivery, request, since, again=True))
        self._grow()

    def free(self, wire: Wire, keep: bool) -> None:
        """*wire* has its answer: it gets the next request that waits, rests, or is closed."""
        if not keep:
            self._close(wire)
            self._grow()
        elif self._waiting:
            entry = self._waiting.popleft()
            wire.send(entry.delivery, entry.request, entry.since, again=entry.again)
        else:
            wire.since = self._now
            self._idle.append(wire)

    def gone(self, wire: Wire) -> None:
        """Its connection is closed."""
        self._wires.discard(wire)
        if wire in self._idle:
            self._idle.remove(wire)
        if not self._wires:
            self._empty.set()
        if self._waiting:
            self._loop.call_soon(self._grow)

    def take_waiting(self) -> deque[Waiting]:
        """All that wait for a connection; they do so no more."""
        waiting, self._waiting = self._waiting, deque()
        return waiting

    def shut(self) -> list[Delivery]:
        """Close all connections at once. -> what waited, and what was under way."""
        self.is_open = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        open_ = [entry.delivery for entry in self.take_waiting()]
        for wire in self._wires:
            if wire.delivery is not None:
                open_.append(wire.delivery)
            wire.abort()
        self._idle.clear()
        return open_

    async def give_up_connecting(self) -> None:
        """End what ``shut`` leaves under way. Bounded in time."""
        connecting, self._connecting = self._connecting, set()
        for task in connecting:
            task.cancel()
        if connecting:
            await asyncio.wait(connecting, timeout=CLOSE_S)

    async def closed(self) -> None:
        """Wait until every connection is gone. Bounded in time."""
        if self._wires:
            self._empty.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await self._empty.wait()

    # Connections.

    def _add(self, wire: Wire) -> None:
        self._wires.add(wire)
        self.free(wire, keep=True)
        self._watch()

    def _close(self, wire: Wire) -> None:
        wire.abort()
        self._wires.discard(wire)

    def _grow(self) -> None:
        """Connect for those who wait, within the size."""
        if not self.is_open or self._now < self._grow_at:
            return
        room = self._size - len(self._wires)
        while len(self._connecting) < min(room, len(self._waiting)):
            self._connecting.add(self._loop.create_task(self._connect()))

    async def _connect(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            wire = await self._dial(self._connect_s)
        except RunnerError as error:
            self._connecting.discard(task)  # so that the last to fail knows that it is the last
            self._failed_to_connect(error)
            return
        self._connecting.discard(task)
        if self.is_open:
            self._add(wire)
        else:
            wire.abort()

    def _failed_to_connect(self, error: RunnerError) -> None:
        """The endpoint is unreachable when this was the last hope."""
        if self._wires or self._connecting:
            self._grow_at = self._now + 1
        elif self.is_open:
            self._owner.unreachable(error)

    # Time.

    def _tick(self) -> None:
        self._now += 1
        self._timer = None
        expired = self._now - self._ticks - 1
        slow = [w for w in self._wires if w.delivery is not None and w.since <= expired]
        for wire in slow:
            assert wire.delivery is not None
            self._owner.broken(wire.delivery, f"no answer within {self._deadline_s:g} s")
            self._close(wire)
        if self._waiting:
            self._expire_waiting(expired)
            self._grow()
        if self._idle_ticks is not None:
            self._close_cold(self._now - self._idle_ticks - 1)
        self._watch()

    def _watch(self) -> None:
        """Let the clock tick while there is something that may take too long."""
        busy = self._waiting or len(self._idle) < len(self._wires)
        if self._timer is None and (busy or (self._wires and self._idle_ticks is not None)):
            self._timer = self._loop.call_later(self._tick_s, self._tick)

    def _close_cold(self, expired: int) -> None:
        """Those that nobody needed for long: the endpoint may let go of them at any moment."""
        cold = [wire for wire in self._idle if wire.since <= expired]
        if cold:
            self._idle = [wire for wire in self._idle if wire.since > expired]
        for wire in cold:
            self._close(wire)

    def _expire_waiting(self, expired: int) -> None:
        late = [entry for entry in self._waiting if entry.since <= expired]
        for entry in late:
            self._waiting.remove(entry)
            why = f"no connection within {self._deadline_s:g} s"
            if entry.again:
                self._owner.broken(entry.delivery, why)
            else:
                self._owner.failed((entry.delivery,), DeliveryFailed(why))
