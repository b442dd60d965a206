"""The channel that publishes, from its opening to its end: what went out, what came back."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Sequence

from streamproc.connectors.amqp091 import methods
from streamproc.connectors.amqp091.address import parse
from streamproc.connectors.amqp091.channel import Channel
from streamproc.connectors.amqp091.exchanges import MISSING_S, Exchanges
from streamproc.connectors.amqp091.link import Link
from streamproc.connectors.base import Receipts
from streamproc.errors import DeliveryFailed, DeliveryRefused, NotConnected, RunnerError
from streamproc.kernels.amqp091_publish import Publisher
from streamproc.kernels.delivery import Delivery
from streamproc.kernels.settlement import wanting

CHANNEL = 1
OK = 200  # what a confirmation acknowledges (spec: Ditto 11.4)
CONFIRM_S = 60.0
"""Longest wait for a confirmation, not counting the time that the broker takes no messages."""
CHECK_S = 1.0
FLUSH_S = 2.0  # at close, for what is in flight
WRITE_BYTES = 256 * 1024  # of one write to the socket, about
KNOWN_PLACES = 10_000  # addresses whose method is kept


class Outlet(Channel):
    """Every delivery is in ``_waiting`` (not sent) or with the publisher (sent, not confirmed)
    until it is told to the receipts, once."""

    def __init__(
        self,
        receipts: Receipts,
        fixed: frozenset[str],
        lost: Callable[[RunnerError], None],
    ) -> None:
        super().__init__()
        self._receipts = receipts
        self._fixed = fixed
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Delivery] = []
        self._sent: deque[tuple[int, float]] = deque()  # last tag of a write, and when
        self._methods: dict[str, bytes] = {}  # address -> its basic.publish
        self._delivered: list[Delivery] = []  # to be told, like the next
        self._failed: list[tuple[Delivery, RunnerError]] = []
        self._is_telling = False
        self._lead = os.urandom(10).hex()  # of message ids
        self._blocked_until = 0.0
        self._empty = asyncio.Event()
        self._empty.set()
        self._asking: asyncio.Task[None] | None = None
        self._closer: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._error: RunnerError | None = None

    async def begin(self, link: Link) -> None:
        """Open the channel, with confirms."""
        self._exchanges = Exchanges(link)
        self._publisher = Publisher(CHANNEL, link.frame_max, self._lead)
        await link.channel(CHANNEL, self)
        await self.call(methods.CONFIRM_SELECT_OK, methods.CONFIRM_SELECT, False)
        self._timer = self._loop.call_later(CHECK_S, self._check)

    def write(self, deliveries: Sequence[Delivery]) -> None:
        self._empty.clear()
        self._waiting += deliveries
        self._send()

    async def end(self) -> None:
        """Give what is in flight a little time, fail the rest, close."""
        try:
            async with asyncio.timeout(FLUSH_S):
                await self._empty.wait()
        except TimeoutError:
            pass
        finally:
            self._lost = _nobody
            self.on_close(NotConnected("closed"))
        if self._closer is not None:
            await self._closer

    # Going out.

    def on_ready(self) -> None:
        self._send()

    def _send(self) -> None:
        """All that may go: until the broker or the socket takes no more."""
        waiting = self._waiting
        while waiting and self._asking is None and self._is_open:
            count, data, problem = self._publisher.publish(waiting, self._methods, WRITE_BYTES)
            if count:
                del waiting[:count]
                self._sent.append((self._publisher.tag, self._loop.time()))
                self.link.send(data)
            if problem is not None:
                self._fail(waiting.pop(0), DeliveryRefused(str(problem)))
            elif not count:
                self._look_at(waiting[0])

    @property
    def _is_open(self) -> bool:
        return self._error is None and self.flows and self.link.is_ready

    def _look_at(self, delivery: Delivery) -> None:
        """The first that waits has an address without method: make it, or ask, or fail it."""
        try:
            place = parse(delivery.address)
            method = methods.publish(CHANNEL, *place)
        except DeliveryRefused as error:
            self._fail(self._waiting.pop(0), error)
            return
        except ValueError as error:  # too long, or no UTF-8 can be made of it
            self._fail(self._waiting.pop(0), DeliveryRefused(str(error)))
            return
        if self._exchanges.knows(place.exchange):
            if len(self._methods) >= KNOWN_PLACES:
                self._methods.clear()
            self._methods[delivery.address] = method
        elif said := self._exchanges.missing(place.exchange):
            self._fail(self._waiting.pop(0), self._nowhere(delivery, said))
        else:
            self._asking = self._loop.create_task(self._ask(place.exchange))

    async def _ask(self, exchange: str) -> None:
        try:
            await self._exchanges.ask(exchange)
        except RunnerError as error:
            self._asking = None
            self.on_close(error)
        else:
            self._asking = None
            self._send()

    # Coming back.

    def on_confirm(self, tag: int, *, multiple: bool, is_taken: bool) -> None:
        deliveries = self._publisher.confirm(tag, multiple)
        if is_taken:
            self._delivered += deliveries
            self._tell_soon()
        else:
            for delivery in deliveries:
                self._fail(delivery, DeliveryFailed("the broker did not take it (basic.nack)"))

    def on_return(self, code: int, text: str, place: str, message_id: str) -> None:
        """Its confirmation follows, and means nothing more."""
        if message_id.startswith(self._lead):
            said = f"{text} ({code}): no queue for {place}"
            for delivery in self._publisher.confirm(int(message_id[len(self._lead) :], 16), False):
                self._fail(delivery, self._nowhere(delivery, said))

    def on_close(self, error: RunnerError) -> None:
        """The channel or its connection has ended: everything open fails, in order."""
        if self._error is not None:
            return
        self._error = error
        if self._asking is not None:
            self._asking.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self._tell()
        rest = [*self._publisher.confirm(0, True), *self._waiting]
        self._waiting.clear()
        if rest:
            self._receipts.failed(rest, NotConnected(str(error)))
        self._empty.set()
        self._closer = self._loop.create_task(self.link.close())
        self._lost(error)

    def _check(self) -> None:
        """Once a second: is a confirmation overdue?"""
        now = self._loop.time()
        self._timer = self._loop.call_later(CHECK_S, self._check)
        oldest = self._publisher.oldest
        if not oldest:
            self._sent.clear()
            return
        while self._sent and self._sent[0][0] < oldest:
            self._sent.popleft()
        if self.link.is_blocked or not self.flows:
            self._blocked_until = now
        elif now - max(self._sent[0][1], self._blocked_until) > CONFIRM_S:
            self.on_close(NotConnected(f"the broker confirmed nothing for {CONFIRM_S:g} s"))

    # Receipts.

    def _fail(self, delivery: Delivery, error: RunnerError) -> None:
        self._failed.append((delivery, error))
        self._tell_soon()

    def _nowhere(self, delivery: Delivery, said: str) -> RunnerError:
        if delivery.address in self._fixed:
            return DeliveryFailed(said, retry_after_s=MISSING_S)
        return DeliveryRefused(said)

    def _tell_soon(self) -> None:
        if not self._is_telling:
            self._is_telling = True
            self._loop.call_soon(self._tell)

    def _tell(self) -> None:
        self._is_telling = False
        if self._delivered:
            delivered, self._delivered = self._delivered, []
            for i in wanting(delivered):
                delivered[i].wanted.answered(OK)  # type: ignore[union-attr]
            self._receipts.delivered(delivered)
        failed, self._failed = self._failed, []
        by_error: dict[tuple[type, str], tuple[RunnerError, list[Delivery]]] = {}
        for delivery, error in failed:
            by_error.setdefault((type(error), str(error)), (error, []))[1].append(delivery)
        for error, deliveries in by_error.values():
            self._receipts.failed(deliveries, error)
        if not self._publisher.open and not self._waiting:
            self._empty.set()


def _nobody(_: RunnerError) -> None:
    """Nobody asks any more."""
