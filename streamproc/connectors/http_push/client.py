"""At most N connections to one endpoint, and the deliveries that travel on them.

Nothing here is made per request: no task, no future, no timer. One clock ticks while
requests are open; receipts are gathered and given once per iteration of the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from streamproc.config.endpoint import EndpointOptions
from streamproc.connectors.base import Receipts
from streamproc.connectors.http_push.answer import Answers, of_the_endpoint, unsent
from streamproc.connectors.http_push.auth.echo import without_proof
from streamproc.connectors.http_push.auth.tokens import Tokens
from streamproc.connectors.http_push.endpoint import Endpoint
from streamproc.connectors.http_push.request import Request, Requests
from streamproc.connectors.http_push.wire import Wire
from streamproc.errors import DeliveryFailed, DeliveryRefused, NotConnected, RunnerError
from streamproc.kernels.delivery import Delivery

CONNECT_S = 10.0
"""Longest time to connect, TLS included; less where a request may take less."""

TICKS = 10
"""A request's deadline in ticks: how coarse the clock is."""

MAX_TICK_S = 1.0
CLOSE_S = 2.0
CLOSED = "connection closed before the answer"


class _Waiting(NamedTuple):
    """A delivery without a connection yet. *again*: its first one was closed under it."""

    delivery: Delivery
    request: Request
    since: int
    again: bool = False


class Client:
    """The connections. ``write`` and the four reports of a ``Wire`` are all that moves them.

    ``size``: most connections. ``deadline_s``: of one request, from ``write`` to its answer.
    ``idle_s``: how long a connection is kept without a request; None for ever. ``tokens``:
    without one no request leaves; those that have to wait for one are held.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        requests: Requests,
        receipts: Receipts,
        *,
        size: int,
        deadline_s: float,
        idle_s: float | None = None,
        tokens: Tokens | None = None,
        answers: Answers | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._render = requests.render
        self._receipts = receipts
        self._size = size
        self._deadline_s = deadline_s
        self._tick_s = min(MAX_TICK_S, deadline_s / TICKS)
        self._ticks = round(deadline_s / self._tick_s)  # a deadline, in ticks
        self._idle_ticks = None if idle_s is None else math.ceil(idle_s / self._tick_s)
        self._connect_s = min(CONNECT_S, deadline_s)
        self._answers = answers or Answers(EndpointOptions())
        self.success = self._answers.success  # statuses
        self._silence: RunnerError | None = None  # the endpoint wants nothing now; until a write
        self.known_heads: dict[bytes, int] = {}  # of answers: length from the head's end on
        self._open = False
        self._lost: RunnerError | None = None  # why, until the next ``open``
        self._lost_untold = False
        self._wires: set[Wire] = set()
        self._empty = asyncio.Event()
        self._idle: list[Wire] = []  # the one used last is used next: the others may go cold
        self._waiting: deque[_Waiting] = deque()
        self._connecting: set[asyncio.Task[None]] = set()
        self._now = 0  # ticks
        self._grow_at = 0  # tick; not before, after a connect that failed
        self._timer: asyncio.TimerHandle | None = None
        self._flushing = False
        self._delivered: list[Delivery] = []
        self._failed: list[tuple[Delivery, RunnerError]] = []
        self._tokens = tokens
        self._held: list[Delivery] = []  # until there is a token
        self._renewed: set[Delivery] = set()  # were answered 401, and go a second time

    async def open(self) -> None:
        """Make the first connection, as proof that it can be made."""
        self._loop = asyncio.get_running_loop()
        self._lost = None
        self._lost_untold = False
        self._grow_at = self._now
        if self._tokens is not None:
            await self._tokens.obtain()
        wire = await self._endpoint.connect(self._new_wire, self._connect_s)
        self._open = True
        self._wires.add(wire)
        self._serve(wire)
        self._watch()

    def write(self, deliveries: Sequence[Delivery]) -> None:
        """Send each on an idle connection, or on the next there is."""
        if not self._open:
            error = self._lost or NotConnected("the endpoint is not connected")
            self._fail(deliveries, NotConnected(str(error)))
            return
        if self._tokens is not None and not self._tokens.is_ready:
            self._hold(deliveries, self._tokens)
            return
        if self._silence is not None:
            if self._flushing:  # the lanes have not heard of it yet
                self._fail_unsent(deliveries)
                return
            self._silence = None
        idle, now = self._idle, self._now
        for delivery in deliveries:
            try:
                request = self._render(delivery)
            except DeliveryRefused as error:
                self._fail((delivery,), error)
                continue
            if idle:
                idle.pop().send(delivery, request, now)
            else:
                self._waiting.append(_Waiting(delivery, request, now))
        if self._waiting:
            self._grow()
        if self._timer is None:
            self._timer = self._loop.call_later(self._tick_s, self._tick)

    async def close(self) -> None:
        """Fail what is open with NotConnected, and let every connection go."""
        self._shut(NotConnected("the connection was closed"))
        connecting, self._connecting = self._connecting, set()
        for task in connecting:
            task.cancel()
        if connecting:
            await asyncio.wait(connecting, timeout=CLOSE_S)
        if self._tokens is not None:
            await self._tokens.close()
        self._flush()
        if self._wires:
            self._empty.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await self._empty.wait()

    # What wires report.

    def accepted(self, delivery: Delivery, wire: Wire, keep: bool) -> None:
        """A success: the endpoint has it."""
        self._delivered.append(delivery)
        if not self._flushing:
            self._flush_soon()
        if keep and not self._waiting:
            wire.since = self._now
            self._idle.append(wire)
        else:
            self._free(wire, keep)

    def answered(
        self,
        delivery: Delivery,
        wire: Wire,
        keep: bool,
        status: int,
        retry_after: bytes | None,
        excerpt: bytes,
    ) -> None:
        """Any other status."""
        if status == 401 and self._tokens is not None and self._is_to_renew(delivery, wire):
            self._renewed.add(delivery)
            self._free(wire, keep)
            self.write((delivery,))
            return
        said = without_proof(excerpt, wire.head)
        error = self._answers.judge(status, retry_after, said, datetime.now(UTC))
        self._fail((delivery,), error)
        if of_the_endpoint(error):
            self._silence = error
            waiting, self._waiting = self._waiting, deque()
            self._fail_unsent([entry.delivery for entry in waiting if not entry.again])
            for entry in waiting:
                if entry.again:
                    self.broken(entry.delivery, CLOSED)
        self._free(wire, keep)

    def broken(self, delivery: Delivery, why: str) -> None:
        """Whether the endpoint has it is not known."""
        self._fail((delivery,), self._answers.unanswered(delivery, why))

    def unread(self, delivery: Delivery, request: Request, since: int) -> None:
        """A connection used before was closed without a byte of an answer.

        The endpoint had let it go before our request came, so the request goes once more,
        and nobody hears of it: on a new connection, as those that idle may be gone too, or on
        one that has just answered.
        """
        if self._silence is not None or not self._answers.may_repeat(delivery):
            self.broken(delivery, CLOSED)
            return
        self._waiting.appendleft(_Waiting(delivery, request, since, again=True))
        self._grow()

    def gone(self, wire: Wire) -> None:
        """Its connection is closed."""
        self._wires.discard(wire)
        if wire in self._idle:
            self._idle.remove(wire)
        if not self._wires:
            self._empty.set()
        if self._waiting:
            self._loop.call_soon(self._grow)

    # Tokens.

    def _hold(self, deliveries: Sequence[Delivery], tokens: Tokens) -> None:
        """Keep *deliveries*, as many as may be in flight at most, until there is a token."""
        if not self._held:
            tokens.ask(self._token_came)
        self._held.extend(deliveries)

    def _token_came(self, error: RunnerError | None) -> None:
        held, self._held = self._held, []
        if error is None:
            self.write(held)
        else:
            assert self._tokens is not None
            self._fail(held, self._tokens.failure(error))

    def _is_to_renew(self, delivery: Delivery, wire: Wire) -> bool:
        assert self._tokens is not None
        return delivery not in self._renewed and self._tokens.refused(wire.head)

    # Connections.

    def _new_wire(self) -> Wire:
        return Wire(self)

    def _free(self, wire: Wire, keep: bool) -> None:
        if keep:
            self._serve(wire)
        else:
            wire.abort()
            self._wires.discard(wire)
            self._grow()

    def _serve(self, wire: Wire) -> None:
        """Give *wire* the next delivery that waits, or rest."""
        if self._waiting:
            entry = self._waiting.popleft()
            wire.send(entry.delivery, entry.request, entry.since, again=entry.again)
        else:
            wire.since = self._now
            self._idle.append(wire)

    def _grow(self) -> None:
        """Connect for those who wait, within the size."""
        if not self._open or self._now < self._grow_at:
            return
        room = self._size - len(self._wires)
        while len(self._connecting) < min(room, len(self._waiting)):
            self._connecting.add(self._loop.create_task(self._connect()))

    async def _connect(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            wire = await self._endpoint.connect(self._new_wire, self._connect_s)
        except RunnerError as error:
            self._connecting.discard(task)  # so that the last to fail knows that it is the last
            self._unreachable(error)
            return
        self._connecting.discard(task)
        if not self._open:
            wire.abort()
            return
        self._wires.add(wire)
        self._serve(wire)
        self._watch()

    def _unreachable(self, error: RunnerError) -> None:
        """A connect failed. The link is lost when it was the last hope."""
        if not self._open:
            return
        if self._wires or self._connecting:
            self._grow_at = self._now + 1
            return
        self._lost = error
        self._lost_untold = True
        self._shut(NotConnected(str(error)))
        self._flush_soon()

    def _shut(self, error: NotConnected) -> None:
        self._open = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, deque()
        held, self._held = self._held, []
        open_ = [*held, *(entry.delivery for entry in waiting)]
        for wire in self._wires:
            if wire.delivery is not None:
                open_.append(wire.delivery)
            wire.abort()
        self._idle.clear()
        self._fail(open_, error)

    # Time.

    def _tick(self) -> None:
        self._now += 1
        self._timer = None
        expired = self._now - self._ticks - 1
        slow = [w for w in self._wires if w.delivery is not None and w.since <= expired]
        for wire in slow:
            assert wire.delivery is not None
            self.broken(wire.delivery, f"no answer within {self._deadline_s:g} s")
            wire.abort()
            self._wires.discard(wire)
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
            wire.abort()
            self._wires.discard(wire)

    def _expire_waiting(self, expired: int) -> None:
        late = [entry for entry in self._waiting if entry.since <= expired]
        for entry in late:
            self._waiting.remove(entry)
            why = f"no connection within {self._deadline_s:g} s"
            if entry.again:
                self.broken(entry.delivery, why)
            else:
                self._fail((entry.delivery,), DeliveryFailed(why))

    # Receipts.

    def _fail(self, deliveries: Sequence[Delivery], error: RunnerError) -> None:
        if deliveries:
            self._failed.extend((delivery, error) for delivery in deliveries)
            self._flush_soon()

    def _fail_unsent(self, deliveries: Sequence[Delivery]) -> None:
        """The endpoint wants nothing now: these did not go, and this try of theirs counts not."""
        if self._silence is not None:
            for delivery in deliveries:
                delivery.attempts -= 1
            self._fail(deliveries, unsent(self._silence))

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        delivered, self._delivered = self._delivered, []
        failed, self._failed = self._failed, []
        if self._renewed:
            self._renewed.difference_update(delivered, (delivery for delivery, _ in failed))
        if delivered:
            self._receipts.delivered(delivered)
        if failed:
            for deliveries, error in _alike(failed):
                self._receipts.failed(deliveries, error)
        if self._lost_untold:
            self._lost_untold = False
            assert self._lost is not None
            self._receipts.lost(self._lost)


def _alike(
    failed: Sequence[tuple[Delivery, RunnerError]],
) -> list[tuple[list[Delivery], RunnerError]]:
    """Those that failed in the same way, together, in the order in which the ways came up."""
    ways: dict[tuple[object, ...], tuple[list[Delivery], RunnerError]] = {}
    for delivery, error in failed:
        way = (type(error), str(error), getattr(error, "retry_after_s", None))
        ways.setdefault(way, ([], error))[0].append(delivery)
    return list(ways.values())
