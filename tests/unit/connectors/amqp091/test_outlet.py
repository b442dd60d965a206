"""Every delivery has one receipt, whatever the broker confirms, in whatever ranges."""

from __future__ import annotations

import asyncio
import struct
from types import SimpleNamespace

import pamqp.frame
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands

from streamproc.connectors.amqp091 import methods, outlet
from streamproc.connectors.amqp091.outlet import Outlet
from streamproc.errors import DeliveryFailed, DeliveryRefused, NotConnected
from streamproc.kernels.delivery import Delivery
from streamproc.protocol.acks import Wanted
from tests.reference.amqp091 import unmarshalled


class Far:
    """In place of a link to a broker: answers calls, keeps what is sent."""

    frame_max = 131_072
    answer_s = close_s = 30.0
    error = None

    def __init__(self) -> None:
        self.sent = b""
        self.is_blocked = False
        self.closed = False
        self.exchanges = {"ex"}
        self._channels = {}

    @property
    def is_ready(self) -> bool:
        return not self.is_blocked

    async def channel(self, number, listener) -> None:
        self._channels[number] = listener
        listener.bind(self, number)

    def forget(self, number) -> None:
        del self._channels[number]

    def send(self, data: bytes) -> None:
        _, number, frame = pamqp.frame.unmarshal(data)
        channel = self._channels[number]
        match frame:
            case commands.Confirm.Select():
                channel.take(methods.CONFIRM_SELECT_OK.id, b"")
            case commands.Exchange.Declare() if frame.exchange in self.exchanges:
                channel.take(methods.EXCHANGE_DECLARE_OK.id, b"")
            case commands.Exchange.Declare():
                close = struct.pack(">H", 404) + b"\x09NOT_FOUND" + bytes(4)
                channel.take(methods.CHANNEL_CLOSE.id, close)
            case commands.Channel.CloseOk():
                pass
            case _:
                self.sent += data

    async def close(self) -> None:
        self.closed = True

    def lost(self, error) -> None:
        self._channels[1].finish(error)

    def ids(self) -> list[str]:
        """Message ids of what was sent, in order."""
        headers = [frame for _, frame in unmarshalled(self.sent) if hasattr(frame, "properties")]
        return [header.properties.message_id for header in headers]


class Bed:
    def __init__(self) -> None:
        self.far = Far()
        self.told: list[tuple[Delivery, str]] = []
        self.losses: list[Exception] = []
        self.outlet = Outlet(self, frozenset({"ex/fixed"}), self.losses.append)

    def delivered(self, deliveries) -> None:
        self.told += [(one, "delivered") for one in deliveries]

    def failed(self, deliveries, error) -> None:
        self.told += [(one, type(error).__name__) for one in deliveries]

    async def write(self, count: int, address: str = "ex/k") -> list[Delivery]:
        made = [Delivery(0, "", address, {}, b"%d" % n) for n in range(count)]
        self.outlet.write(made)
        await self.asked()
        return made

    async def asked(self) -> None:
        """Wait until the broker has said which exchanges there are."""
        while self.outlet._asking is not None:
            await asyncio.sleep(0)

    async def settled(self) -> dict[Delivery, str]:
        """What was told, after the loop has had its turn."""
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len({one for one, _ in self.told}) == len(self.told), "told twice"
        return dict(self.told)

    def return_(self, message_id: str) -> None:
        self.outlet.on_return(312, "NO_ROUTE", "ex/k", message_id)


async def opened() -> Bed:
    bed = Bed()
    await bed.outlet.begin(bed.far)
    return bed


steps = st.lists(
    st.tuples(st.integers(0, 30), st.booleans(), st.booleans(), st.booleans()), max_size=25
)


@given(count=st.integers(0, 30), steps=steps)
def test_confirmations_in_any_form(count, steps):
    """(tag, multiple, taken, returned first): as the broker may send them, and as it may not."""

    async def run() -> None:
        bed = await opened()
        made = await bed.write(count)
        ids = bed.far.ids()
        assert len(ids) == len(set(ids)) == count
        expected: dict[Delivery, str] = {}
        left = dict(enumerate(made, 1))
        for tag, multiple, is_taken, is_returned in steps:
            if is_returned and tag in left:
                bed.return_(ids[tag - 1])
                expected[left.pop(tag)] = "DeliveryRefused"
            for one in [n for n in left if not tag or n <= tag] if multiple else [tag]:
                delivery = left.pop(one, None)
                if delivery is not None:
                    expected[delivery] = "delivered" if is_taken else "DeliveryFailed"
            bed.outlet.on_confirm(tag, multiple=multiple, is_taken=is_taken)
        assert await bed.settled() == expected
        bed.far.lost(NotConnected("away"))
        told = await bed.settled()
        assert told == expected | dict.fromkeys(left.values(), "NotConnected")
        assert [one for one, kind in bed.told if kind == "NotConnected"] == list(left.values())
        assert len(bed.losses) == 1
        await bed.outlet._closer
        assert bed.far.closed

    asyncio.run(run())


async def test_what_is_returned_is_told_by_the_kind_of_its_address():
    bed = await opened()
    (fixed,) = await bed.write(1, "ex/fixed")
    (computed,) = await bed.write(1, "ex/computed")
    for message_id in bed.far.ids():
        bed.return_(message_id)
    bed.outlet.on_confirm(2, multiple=True, is_taken=True)
    assert await bed.settled() == {
        fixed: DeliveryFailed.__name__,
        computed: DeliveryRefused.__name__,
    }
    await bed.outlet.end()


async def test_a_return_of_somebody_else_is_ignored():
    bed = await opened()
    (one,) = await bed.write(1)
    bed.return_("of another publisher")
    bed.outlet.on_confirm(1, multiple=False, is_taken=True)
    assert await bed.settled() == {one: "delivered"}
    await bed.outlet.end()


async def test_the_time_that_the_broker_is_blocked_does_not_count(monkeypatch):
    monkeypatch.setattr(outlet, "CONFIRM_S", 60.0)
    bed = await opened()
    made = await bed.write(3)
    loop, now = asyncio.get_running_loop(), asyncio.get_running_loop().time()
    clock = SimpleNamespace(now=now)
    bed.outlet._loop = SimpleNamespace(
        time=lambda: clock.now,
        call_later=lambda *_: SimpleNamespace(cancel=lambda: None),
        call_soon=loop.call_soon,
        create_task=loop.create_task,
    )
    bed.far.is_blocked = True
    clock.now = now + 500
    bed.outlet._check()
    bed.far.is_blocked = False
    clock.now += 59
    bed.outlet._check()
    assert not bed.losses
    clock.now += 2
    bed.outlet._check()
    assert len(bed.losses) == 1
    assert await bed.settled() == dict.fromkeys(made, "NotConnected")


async def test_a_confirmation_is_overdue_by_its_own_age(monkeypatch):
    monkeypatch.setattr(outlet, "CONFIRM_S", 60.0)
    bed = await opened()
    real = bed.outlet._loop
    clock = SimpleNamespace(now=1000.0)
    bed.outlet._loop = SimpleNamespace(
        time=lambda: clock.now,
        call_later=lambda *_: SimpleNamespace(cancel=lambda: None),
        call_soon=real.call_soon,
        create_task=real.create_task,
    )
    for tag in range(1, 10):  # always something open, never for long
        await bed.write(1)
        clock.now += 50
        bed.outlet._check()
        bed.outlet.on_confirm(tag, multiple=False, is_taken=True)
    assert not bed.losses
    bed.outlet._check()
    assert not bed.outlet._sent
    await bed.outlet.end()


async def test_nothing_is_sent_while_the_broker_is_blocked():
    bed = await opened()
    bed.far.is_blocked = True
    bed.outlet.write([Delivery(0, "", "ex/k", {}, b"x")])
    bed.outlet.on_ready()
    assert not bed.far.sent
    bed.far.is_blocked = False
    bed.outlet.on_ready()
    await bed.asked()
    assert bed.far.sent
    bed.outlet.on_confirm(1, multiple=False, is_taken=True)
    await bed.outlet.end()


async def test_close_fails_what_is_not_confirmed_in_time_in_order(monkeypatch):
    monkeypatch.setattr(outlet, "FLUSH_S", 0.01)
    bed = await opened()
    made = await bed.write(4)
    bed.far.is_blocked = True
    more = [Delivery(0, "", "ex/k", {}, b"x") for _ in range(3)]
    bed.outlet.write(more)
    bed.outlet.on_confirm(2, multiple=False, is_taken=True)
    await bed.outlet.end()
    left = [made[0], *made[2:], *more]
    assert bed.told == [(made[1], "delivered"), *((one, "NotConnected") for one in left)]
    assert not bed.losses


async def test_a_confirmation_is_the_acknowledgement_that_a_delivery_brings():
    bed = await opened()
    (bringing,) = await bed.write(1, "ex/fixed")
    (plain,) = await bed.write(1, "ex/fixed")
    bringing.wanted = Wanted("c:done", 100)
    bed.outlet.on_confirm(2, multiple=True, is_taken=True)
    await bed.settled()
    receipt = bringing.wanted.receipt()
    assert (receipt.label, receipt.status) == ("c:done", 200)
    assert plain.wanted is None
    await bed.outlet.end()
