"""The channel that publishes, from its opening to its end: what went out, what came back."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections import deque
from collections.abc import Callable, Sequence

from pamqp import commands
from pamqp.header import ContentHeader

from streamproc.connectors.amqp091 import frames
from streamproc.connectors.amqp091.address import Place, parse
from streamproc.connectors.amqp091.exchanges import MISSING_S, Exchanges
from streamproc.connectors.amqp091.link import Channel, Link
from streamproc.connectors.base import Receipts
from streamproc.errors import DeliveryFailed, DeliveryRefused, NotConnected, RunnerError
from streamproc.kernels.delivery import Delivery

CHANNEL = 1
CONFIRM_S = 60.0
"""Longest wait for a confirmation, not counting the time that the broker takes no messages."""
CHECK_S = 1.0
FLUSH_S = 2.0  # at close, for what is in flight
WRITE_BYTES = 256 * 1024  # of one write to the socket, about
KNOWN_PLACES = 10_000  # parsed addresses kept


class Outlet(Channel):
    """Every delivery is in ``_waiting`` (not sent) or ``_open`` (sent; by delivery tag) until
    it is told to the receipts, once."""

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
        self._waiting: deque[Delivery] = deque()
        self._open: dict[int, Delivery] = {}
        self._sent: deque[tuple[int, float]] = deque()  # last tag of a write, and when
        self._returned: dict[int, str] = {}  # tag -> the broker's words
        self._delivered: list[Delivery] = []  # to be told, like the next
        self._failed: list[tuple[Delivery, RunnerError]] = []
        self._is_telling = False
        self._tag = 0
        self._lead = os.urandom(10).hex()  # of message ids
        self._places: dict[str, Place] = {}
        self._blocked_until = 0.0
        self._empty = asyncio.Event()
        self._empty.set()
        self._sender: asyncio.Task[None] | None = None
        self._closer: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._error: RunnerError | None = None

    async def begin(self, link: Link) -> None:
        """Open the channel, with confirms."""
        self._exchanges = Exchanges(link)
        link.when_lost(self.on_close)
        await link.channel(CHANNEL, self)
        await self.call(commands.Confirm.Select())
        self._timer = self._loop.call_later(CHECK_S, self._check)

    def write(self, deliveries: Sequence[Delivery]) -> None:
        self._empty.clear()
        self._waiting.extend(deliveries)
        if self._sender is None or self._sender.done():
            self._sender = self._loop.create_task(self._send_all())

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

    async def _send_all(self) -> None:
        try:
            while self._waiting:
                await self.link.unblocked()
                data = self._encode()
                if data:
                    self._sent.append((self._tag, self._loop.time()))
                    await self.link.send(data)
                elif self._waiting:
                    await self._ask_for_exchange(self._waiting[0])
        except RunnerError as error:
            self.on_close(error)

    def _encode(self) -> bytes:
        """As many as fit into one write, up to the first whose exchange must be asked for."""
        out: list[bytes] = []
        size = 0
        waiting = self._waiting
        while waiting and size < WRITE_BYTES:
            delivery = waiting[0]
            try:
                place = self._places.get(delivery.address) or self._place(delivery.address)
                if not self._exchanges.knows(place.exchange):
                    break
                data = frames.publish(
                    CHANNEL,
                    place.exchange,
                    place.routing_key,
                    delivery.headers,
                    f"{self._lead}{self._tag + 1:012x}",
                    delivery.payload,
                    self.link.frame_max,
                )
            except DeliveryRefused as error:
                self._fail(waiting.popleft(), error)
            except ValueError as error:  # too long for a frame, or no UTF-8 can be made of it
                self._fail(waiting.popleft(), DeliveryRefused(str(error)))
            else:
                self._tag += 1
                self._open[self._tag] = waiting.popleft()
                out.append(data)
                size += len(data)
        return b"".join(out)

    async def _ask_for_exchange(self, delivery: Delivery) -> None:
        """The first delivery goes on if its exchange exists; else it fails, alone."""
        exchange = self._place(delivery.address).exchange
        said = await self._exchanges.problem(exchange)
        if said and self._waiting and self._waiting[0] is delivery:
            self._fail(self._waiting.popleft(), self._nowhere(delivery, said))

    # Coming back.

    def on_confirm(self, tag: int, *, multiple: bool, is_taken: bool) -> None:
        tags = [tag]
        if multiple:
            tags = list(itertools.takewhile(lambda open_: not tag or open_ <= tag, self._open))
        for one in tags:
            delivery = self._open.pop(one, None)
            if delivery is None:
                continue
            said = self._returned.pop(one, None) if self._returned else None
            if said is not None:
                self._fail(delivery, self._nowhere(delivery, said))
            elif is_taken:
                self._delivered.append(delivery)
            else:
                self._fail(delivery, DeliveryFailed("the broker did not take it (basic.nack)"))
        self._tell_soon()

    def on_return(self, method: commands.Basic.Return, header: ContentHeader) -> None:
        message_id = header.properties.message_id or ""
        if message_id.startswith(self._lead):
            place = f"{method.exchange or 'the default exchange'}/{method.routing_key}"
            said = f"{method.reply_text} ({method.reply_code}): no queue for {place}"
            self._returned[int(message_id[len(self._lead) :], 16)] = said

    def on_close(self, error: RunnerError) -> None:
        """The channel or its connection has ended: everything open fails, in order."""
        if self._error is not None:
            return
        self._error = error
        self.fail(error)
        self._exchanges.fail(error)
        if self._sender is not None:
            self._sender.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self._tell()
        rest = [*self._open.values(), *self._waiting]
        self._open.clear()
        self._waiting.clear()
        if rest:
            self._receipts.failed(rest, NotConnected(str(error)))
        self._closer = self._loop.create_task(self.link.close())
        self._lost(error)

    def _check(self) -> None:
        """Once a second: is a confirmation overdue?"""
        now = self._loop.time()
        self._timer = self._loop.call_later(CHECK_S, self._check)
        if not self._open:
            self._sent.clear()
            return
        oldest = next(iter(self._open))
        while self._sent and self._sent[0][0] < oldest:
            self._sent.popleft()
        if self.link.is_blocked():
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
            self._receipts.delivered(delivered)
        failed, self._failed = self._failed, []
        by_error: dict[tuple[type, str], tuple[RunnerError, list[Delivery]]] = {}
        for delivery, error in failed:
            by_error.setdefault((type(error), str(error)), (error, []))[1].append(delivery)
        for error, deliveries in by_error.values():
            self._receipts.failed(deliveries, error)
        if not self._open and not self._waiting:
            self._empty.set()

    def _place(self, address: str) -> Place:
        place = parse(address)
        if len(self._places) >= KNOWN_PLACES:
            self._places.clear()
        self._places[address] = place
        return place


def _nobody(_: RunnerError) -> None:
    """Nobody asks any more."""
