"""Several messages in one request, and a receipt for each.

Stands between the lanes and the client: what the lanes write is gathered, a batch travels as
one delivery of the client's, and the client's word about it becomes the receipts of its
messages. A batch that the endpoint refuses is halved until those that it refuses alone are
found. When a batch fails, what waits behind it of the same things fails with it, unsent, so
that the lanes can bring all of it again in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from typing import NamedTuple, Protocol

import orjson

from streamproc.connectors.base import Receipts
from streamproc.connectors.http_push.address import split
from streamproc.connectors.http_push.answer import of_the_endpoint, unsent
from streamproc.connectors.http_push.gather import Gather, Member
from streamproc.errors import DeliveryRefused, NotConnected, RunnerError
from streamproc.kernels.delivery import Delivery
from streamproc.protocol.acks import Wanted

TIMER_S = 0.0005
"""How much later a timer rings than it should: never too early, which would ring it again."""


class Carrier(Protocol):
    """What brings a batch to the endpoint: the client."""

    async def open(self) -> None: ...

    def write(self, deliveries: Sequence[Delivery]) -> None: ...

    async def close(self) -> None: ...


class Form(NamedTuple):
    """How messages stand in a body."""

    content_type: str
    first: bytes
    between: bytes
    last: bytes

    @property
    def overhead(self) -> int:
        """Bytes of a body beyond its messages and one for each."""
        return len(self.first) + len(self.last) - len(self.between)

    def body(self, payloads: Iterable[bytes]) -> bytes:
        return self.first + self.between.join(payloads) + self.last


FORMS = {
    "json-array": Form("application/json", b"[", b",", b"]"),
    "ndjson": Form("application/x-ndjson", b"", b"\n", b"\n"),
}


class Rule(NamedTuple):
    """The options of a connection, understood."""

    form: Form
    max_messages: int
    max_bytes: int
    delay_s: float
    split_on: frozenset[int]
    without: frozenset[str]  # headers of messages that a request does not have; lower case
    bodiless: frozenset[str]  # methods without a body: each message has a request of its own
    ordered: bool


class _Flight:
    """A batch on its way: the part that is sent, and those that follow on the same turn."""

    __slots__ = ("chains", "part", "rest")

    def __init__(self, part: list[Member]) -> None:
        self.part = part
        self.rest: list[list[Member]] = []
        self.chains = dict.fromkeys(member.chain for member in part)


class Batcher:
    """At most *size* batches on their way. Implements ``Receipts`` for the client.

    *make* builds the client with this object as its receipts.
    """

    def __init__(
        self, rule: Rule, make: Callable[[Receipts], Carrier], receipts: Receipts, *, size: int
    ) -> None:
        self._rule = rule
        self._client = make(self)
        self._receipts = receipts
        self._size = size
        self._gather = Gather(
            max_messages=rule.max_messages,
            max_bytes=rule.max_bytes - rule.form.overhead,
            delay_s=rule.delay_s,
        )
        self._flights: dict[Delivery, _Flight] = {}  # by the delivery that carries its part
        self._unfit: list[tuple[Delivery, DeliveryRefused]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    async def open(self) -> None:
        await self._client.open()

    def write(self, deliveries: Sequence[Delivery]) -> None:
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        for delivery in deliveries:
            try:
                member = self._member(delivery, now)
            except DeliveryRefused as error:
                if not self._unfit:
                    self._loop.call_soon(self._refuse_unfit)
                self._unfit.append((delivery, error))
            else:
                self._gather.put(member)
        self._pump()

    async def close(self) -> None:
        await self._client.close()
        self._stop_timer()
        self._refuse_unfit()
        self._fail_unsent(self._gather.clear(), NotConnected("the connection was closed"))

    # Receipts, from the client.

    def delivered(self, deliveries: Sequence[Delivery]) -> None:
        taken: list[Delivery] = []
        for carrying in deliveries:
            flight = self._flights.pop(carrying)
            _share(carrying, flight.part)
            taken += [member.delivery for member in flight.part]
            self._go_on(flight)
        self._receipts.delivered(taken)
        self._pump()

    def failed(self, deliveries: Sequence[Delivery], error: RunnerError) -> None:
        flights = [self._flights.pop(carrying) for carrying in deliveries]
        for carrying, flight in zip(deliveries, flights, strict=True):
            _share(carrying, flight.part)
        for flight in flights:
            if isinstance(error, DeliveryRefused):
                self._refused(flight, error)
            else:
                self._fail(flight, error)
        if of_the_endpoint(error):
            self._fail_unsent(self._gather.clear(), error)
        else:
            self._pump()

    def lost(self, error: RunnerError) -> None:
        self._fail_unsent(self._gather.clear(), NotConnected(str(error)))
        self._receipts.lost(error)

    # On the way out.

    def _member(self, delivery: Delivery, now: float) -> Member:
        rule = self._rule
        alone = split(delivery.address)[0] in rule.bodiless
        payload = delivery.payload if alone else fitted(delivery.payload)
        shared = [item for item in delivery.headers.items() if item[0].lower() not in rule.without]
        group = self._gather.group((delivery.target, delivery.address, *shared), alone=alone)
        if group.headers is None:
            group.headers = dict(shared)
            if not alone:
                own = [name for name in group.headers if name.lower() == "content-type"]
                for name in own:
                    del group.headers[name]
                group.headers["content-type"] = rule.form.content_type
        chain: Hashable = delivery.key if rule.ordered else delivery
        return Member(delivery, payload, chain, group, now)

    def _pump(self) -> None:
        now = self._loop.time()
        self._gather.look(now)
        while len(self._flights) < self._size and (batch := self._gather.take(now)):
            self._send(_Flight(batch))
        self._set_timer()

    def _send(self, flight: _Flight) -> None:
        first = flight.part[0]
        delivery, group = first.delivery, first.group
        if group.alone:
            headers, body = delivery.headers, delivery.payload
        else:
            assert group.headers is not None
            headers = group.headers
            body = self._rule.form.body(member.payload for member in flight.part)
        carrying = Delivery(delivery.target, delivery.key, delivery.address, headers, body)
        shares = [m.delivery.wanted.max_bytes for m in flight.part if m.delivery.wanted is not None]
        if shares:
            carrying.wanted = Wanted("", min(shares))
        self._flights[carrying] = flight
        self._client.write((carrying,))

    def _set_timer(self) -> None:
        """Look again when a group has waited enough; full connections look when one is free."""
        at = self._gather.next_look
        if at is None or len(self._flights) >= self._size:
            return
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_at(at + TIMER_S, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._pump()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # What became of a batch.

    def _go_on(self, flight: _Flight) -> None:
        """Its part is done: the next, or make room for another batch."""
        if flight.rest:
            flight.part = flight.rest.pop(0)
            self._send(flight)
        else:
            self._gather.done(flight.chains, self._loop.time())

    def _refused(self, flight: _Flight, error: DeliveryRefused) -> None:
        part = flight.part
        if len(part) > 1 and error.details.get("status") in self._rule.split_on:
            middle = len(part) // 2
            flight.part = part[:middle]
            flight.rest.insert(0, part[middle:])
            self._send(flight)
            return
        self._go_on(flight)
        self._receipts.failed([member.delivery for member in part], error)

    def _fail(self, flight: _Flight, error: RunnerError) -> None:
        """To be brought again, with all that is behind it."""
        behind = [member for part in flight.rest for member in part]
        broken = dict.fromkeys(member.chain for member in [*flight.part, *behind])
        behind += self._gather.fail(broken)
        self._gather.done((c for c in flight.chains if c not in broken), self._loop.time())
        if "unsent" in error.details:  # the client kept it back
            self._fail_unsent(flight.part, error)
        else:
            self._receipts.failed([member.delivery for member in flight.part], error)
        self._fail_unsent(behind, error)

    def _fail_unsent(self, members: Collection[Member], error: RunnerError) -> None:
        """They were not on their way: this write of theirs does not count."""
        if not members:
            return
        for member in members:
            member.delivery.attempts -= 1
        if "unsent" not in error.details:
            error = unsent(error)
        self._receipts.failed([member.delivery for member in members], error)

    def _refuse_unfit(self) -> None:
        unfit, self._unfit = self._unfit, []
        for delivery, error in unfit:
            self._receipts.failed((delivery,), error)


def _share(carrying: Delivery, part: Iterable[Member]) -> None:
    """What was answered to a batch was answered to each of its messages."""
    if carrying.wanted is None or carrying.wanted.answer is None:
        return
    answer = carrying.wanted.answer
    for member in part:
        if member.delivery.wanted is not None:
            member.delivery.wanted.answered(answer.status, answer.payload)


def fitted(payload: bytes) -> bytes:
    """*payload* as it may stand among others, on one line. Refuses what is not JSON: it could
    pass for several messages, or spoil the others.
    """
    try:
        orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise DeliveryRefused(f"payload is not JSON, as a batch needs: {error}") from None
    if b"\n" in payload or b"\r" in payload:
        # Within JSON a line end stands between tokens only: it is white space.
        return payload.replace(b"\r", b" ").replace(b"\n", b" ")
    return payload
