"""Deliveries cross between workers over real sockets: in order, within the window, again
when a peer dies or the client is not where it was announced.
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from streamproc.config.service import Limits, Retry
from streamproc.errors import DeliveryRefused
from streamproc.kernels.delivery import Delivery
from streamproc.kernels.settlement import Window, deliveries
from streamproc.protocol.acks import Wanted
from streamproc.store.parked import Bounds, ParkedStore
from streamproc.telemetry.slots import Block
from streamproc.worker.bus import Server
from streamproc.worker.dispatch import Dispatcher
from streamproc.worker.ledger import ClientLedger
from streamproc.worker.outlet import Outlet
from streamproc.worker.parking import Parking
from streamproc.worker.tally import Tally
from streamproc.worker.writer import Writer
from tests.unit.worker.script import Answer, Script, by_key, until

QUICK = Retry(first_delay_s=0.001, max_delay_s=0.002)


class Node:
    """As much of a worker as the bus needs; its clients are scripts."""

    def __init__(self, index: int, folder: Path, limits: Limits) -> None:
        self.index = index
        self.folder = folder
        path = folder / f"metrics-{index}"
        self.block = Block.open(path) if path.exists() else Block.create(path)
        self.tally = Tally(self.block)
        self.writer = Writer()
        self.store = ParkedStore(folder / f"parked-{index}", Bounds(100, 1 << 20))
        self.parking = Parking(lambda: self.store, self.writer)
        self.server = Server(self, self.block)
        self.dispatcher = Dispatcher(index, folder, limits, self.tally, self.block, self._park)
        self.outlets: dict[str, Outlet] = {}
        self.scripts: dict[str, Script] = {}
        self.arrivals: list[str] = []
        self.window = Window(1 << 20, 1 << 30, lambda: None)
        self._token = 0

    def _park(
        self,
        client: str,
        items: list[Delivery],
        error: DeliveryRefused,
        then: Callable[[int], None],
    ) -> None:
        ClientLedger("c", self.tally, self.parking, QUICK, self.block).park(items, error, then)

    async def start(self) -> None:
        listening = socket.socket(socket.AF_UNIX)
        path = self.folder / f"bus-{self.index}.sock"
        path.unlink(missing_ok=True)
        listening.bind(str(path))
        listening.listen()
        listening.setblocking(False)
        await self.server.start(listening)

    def host(self, client: str, answer: Answer, capacity: int = 8) -> Script:
        def make(receipts: Outlet) -> Script:
            self.scripts[client] = Script(receipts, capacity, answer)
            return self.scripts[client]

        self.outlets[client] = Outlet(
            make,
            depth=1,
            retry=QUICK,
            ledger=ClientLedger("c", self.tally, self.parking, QUICK, self.block),
            changed=lambda: None,
        )
        return self.scripts[client]

    def arrived(self, client: str, items: list[Delivery]) -> bool:
        outlet = self.outlets.get(client)
        if outlet is None:
            return False
        self.arrivals += [item.address for item in items]
        outlet.offer(items)
        return True

    def peer_changed(self) -> None:
        pass

    def send(self, client: str, *keys: str) -> list[Delivery]:
        made = self.make(*keys)
        self.dispatcher.send(client, made)
        return made

    def make(self, *keys: str) -> list[Delivery]:
        tokens = list(range(self._token, self._token + len(keys)))
        self._token += len(keys)
        entries = self.window.admit(None, tokens, [b"x"] * len(keys), 0.0)
        addresses: list[str | None] = [f"{k}/{t}" for k, t in zip(keys, tokens, strict=True)]
        made = deliveries(
            0, entries, list(keys), addresses, [{"h": "v"}] * len(keys), [b"\x00\xff"] * len(keys)
        )
        self.window.release(entries)
        return made

    async def die(self) -> None:
        """As if killed: no receipt, no goodbye."""
        for inbound in list(self.server.inbound):
            inbound.abort()
        await self.server.close()
        for outlet in self.outlets.values():
            await outlet.close()
        await self.dispatcher.close()
        self.outlets.clear()
        self.writer.close()
        self.parking.close()
        self.store.close()

    async def close(self) -> None:
        for outlet in self.outlets.values():
            await outlet.close()
        await self.server.close()
        await self.dispatcher.close()
        self.writer.close()
        self.parking.close()
        self.store.close()


@pytest.fixture
async def nodes(tmp_path: Path):
    started: list[Node] = []

    async def start(index: int, limits: Limits | None = None) -> Node:
        node = Node(index, tmp_path, limits or Limits())
        await node.start()
        started.append(node)
        return node

    yield start
    for node in started:
        await node.close()


async def test_deliveries_cross_and_receipts_come_back(nodes) -> None:
    here, there = await nodes(0), await nodes(1)
    script = there.host("c#0", lambda d: None)
    here.dispatcher.assign({"c#0": 1}, {})
    sent = here.send("c#0", *"abcabc")
    await until(lambda: here.window.messages == 0)
    assert by_key(script.written) == by_key(sent)
    assert script.written[0].payload == b"\x00\xff"
    assert script.written[0].headers == {"h": "v"}
    assert [tokens for _, tokens, _ in here.window.take()] == [[0, 1, 2, 3, 4, 5]]
    assert here.dispatcher.waiting == 0


async def test_no_more_than_the_window_is_without_receipt(nodes) -> None:
    here, there = await nodes(0, Limits(target_window_messages=5)), await nodes(1)
    script = there.host("c#0", lambda d: "later", capacity=100)
    here.dispatcher.assign({"c#0": 1}, {})
    here.send("c#0", *(str(n) for n in range(20)))
    await until(lambda: len(script.flying) == 5)
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(script.flying) == 5
    assert here.dispatcher.waiting_by_peer() == {1: 15}
    script.answer = lambda d: None
    flying, script.flying = script.flying, []
    script.receipts.delivered(flying)
    await until(lambda: here.window.messages == 0)


async def test_what_a_dead_peer_had_is_sent_to_its_successor_in_order(nodes) -> None:
    here, there = await nodes(0), await nodes(1)
    there.host("c#0", lambda d: None if d.key == "a" else "later")
    here.dispatcher.assign({"c#0": 1}, {})
    sent = here.send("c#0", *"abcabcdd")
    await until(lambda: here.window.messages == 6)  # both of key a
    await there.die()
    again = await nodes(1)
    script = again.host("c#0", lambda d: None)
    await until(lambda: here.window.messages == 0)
    expected = by_key([d for d in sent if d.key != "a"])
    assert by_key(script.written) == expected
    assert again.arrivals == [d.address for d in sent if d.key != "a"]


async def test_a_client_that_has_not_arrived_yet_gets_its_deliveries_later(nodes) -> None:
    here, there = await nodes(0), await nodes(1)
    here.dispatcher.assign({"c#0": 1}, {})
    sent = here.send("c#0", *"abab")
    await until(lambda: bool(there.server.inbound))
    script = there.host("c#0", lambda d: None)
    more = here.send("c#0", *"abab")
    await until(lambda: here.window.messages == 0)
    assert by_key(script.written) == by_key(sent + more)


async def test_what_follows_refused_deliveries_is_refused_until_all_is_sent_anew(nodes) -> None:
    """The client arrives between two frames: the second must not overtake the first."""
    here, there = await nodes(0), await nodes(1)
    script = there.host("late#0", lambda d: None)
    outlet = there.outlets.pop("late#0")
    refused = 0

    def arrived(client: str, items: list[Delivery]) -> bool:
        nonlocal refused
        if refused == 0:
            refused += 1
            there.outlets["late#0"] = outlet  # from the next frame on it is there
            return False
        return Node.arrived(there, client, items)

    there.arrived = arrived  # type: ignore[method-assign]
    sent = here.send("late#0", *"ab" * 600)  # more than a frame
    here.dispatcher.assign({"late#0": 1}, {})
    await until(lambda: here.window.messages == 0)
    assert refused == 1
    assert by_key(script.written) == by_key(sent)


async def test_a_client_moves_from_here_to_a_peer_with_what_it_had(nodes) -> None:
    here, there = await nodes(0), await nodes(1)
    here.host("c#0", lambda d: "later", capacity=1)
    here.dispatcher.assign({"c#0": 0}, here.outlets)
    sent = here.send("c#0", *"aabb")
    here.dispatcher.assign({}, {})
    sent += here.send("c#0", *"aabb")
    left = await here.outlets.pop("c#0").close()
    here.dispatcher.left("c#0", left)
    script = there.host("c#0", lambda d: None)
    here.dispatcher.assign({"c#0": 1}, {})
    await until(lambda: here.window.messages == 0)
    assert by_key(script.written) == by_key(sent)


async def test_nothing_goes_twice_to_a_client_that_is_announced_again_where_it_is(nodes) -> None:
    """As when its worker is new: the peer has what was sent, and answers for it."""
    here, there = await nodes(0), await nodes(1)
    script = there.host("c#0", lambda d: "later", capacity=100)
    here.dispatcher.assign({"c#0": 1}, {})
    sent = here.send("c#0", *"abab")
    await until(lambda: len(script.flying) == 2)  # one of a key
    here.dispatcher.assign({}, {})
    more = here.send("c#0", *"cd")
    here.dispatcher.assign({"c#0": 1}, {})
    await until(lambda: len(script.flying) == 4)
    script.answer = lambda d: None
    flying, script.flying = script.flying, []
    script.receipts.delivered(flying)
    await until(lambda: here.window.messages == 0)
    assert by_key(script.written) == by_key(sent + more)
    assert there.arrivals == [d.address for d in sent + more]


async def test_a_client_that_moves_gets_nothing_before_its_old_place_has_answered(nodes) -> None:
    here, old, new = await nodes(0), await nodes(1), await nodes(2)
    left = old.host("c#0", lambda d: "later")
    script = new.host("c#0", lambda d: None)
    here.dispatcher.assign({"c#0": 1}, {})
    sent = here.send("c#0", *"abab")
    await until(lambda: len(left.flying) == 2)
    here.dispatcher.assign({"c#0": 2}, {})
    sent += here.send("c#0", *"ab")
    await until(lambda: bool(new.server.inbound))
    assert not script.written
    first, second = left.flying
    left.flying = [second]
    left.receipts.delivered([first])
    undelivered = await old.outlets.pop("c#0").close()
    assert second in undelivered
    for delivery in undelivered:
        inbound, client = delivery.owner.peer
        inbound.back(client, [delivery.owner.number])
    await until(lambda: here.window.messages == 0)
    assert by_key(script.written) == by_key([d for d in sent if d.address != first.address])


async def test_what_follows_deliveries_that_were_given_back_does_not_overtake_them(nodes) -> None:
    """The client is closed and opened where it was; a frame was on its way meanwhile."""
    here, there = await nodes(0), await nodes(1)
    closing = there.host("c#0", lambda d: "later")
    here.dispatcher.assign({"c#0": 1}, {})
    sent = here.send("c#0", *"ab")
    await until(lambda: len(closing.flying) == 2)
    for delivery in await there.outlets.pop("c#0").close():
        inbound, client = delivery.owner.peer
        inbound.back(client, [delivery.owner.number])
    sent += here.send("c#0", *"ab")  # before it hears of that
    script = there.host("c#0", lambda d: None)
    await until(lambda: here.window.messages == 0)
    assert by_key(script.written) == by_key(sent)


async def test_whoever_never_answers_is_waited_for_with_a_deadline(nodes, monkeypatch) -> None:
    monkeypatch.setattr("streamproc.worker.dispatch.ANSWER_WITHIN_S", 0.01)
    here, old, new = await nodes(0), await nodes(1), await nodes(2)
    silent = old.host("c#0", lambda d: "later")
    script = new.host("c#0", lambda d: None)
    here.dispatcher.assign({"c#0": 1}, {})
    sent = here.send("c#0", *"ab")
    await until(lambda: len(silent.flying) == 2)
    here.dispatcher.assign({"c#0": 2}, {})
    await until(lambda: here.window.messages == 0)
    assert by_key(script.written) == by_key(sent)


async def test_nothing_is_sent_to_a_socket_with_nobody_behind_it(nodes, tmp_path: Path) -> None:
    """The master holds the sockets, so one is open while its worker starts, or never does."""
    here, other = await nodes(0), await nodes(2)
    script = other.host("c#0", lambda d: None)
    with socket.socket(socket.AF_UNIX) as nobody:
        nobody.bind(str(tmp_path / "bus-1.sock"))
        nobody.listen()
        here.dispatcher.assign({"c#0": 1}, {})
        sent = here.send("c#0", *"ab")
        await until(lambda: bool(select.select([nobody], [], [], 0)[0]))  # connected
        assert here.dispatcher.waiting_by_peer() == {1: 2}
        here.dispatcher.assign({"c#0": 2}, {})
        await until(lambda: here.window.messages == 0)
    assert by_key(script.written) == by_key(sent)


async def test_a_peer_that_ends_each_connection_at_once_is_not_tried_without_pause(
    nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamproc.worker.bus.FIRST_RECONNECT_S", 3600.0)
    monkeypatch.setattr("streamproc.worker.bus.MAX_RECONNECT_S", 3600.0)
    tries: list[None] = []

    async def end_it(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tries.append(None)
        writer.close()

    async with await asyncio.start_unix_server(end_it, tmp_path / "bus-7.sock"):
        here = await nodes(0)
        here.dispatcher.assign({"x#0": 7}, {})
        await until(lambda: bool(tries))
        await asyncio.sleep(0.1)  # in which a thousand tries have their time
        assert len(tries) == 1


async def test_what_is_left_for_a_removed_client_is_parked(nodes, tmp_path: Path) -> None:
    here = await nodes(0)
    here.dispatcher.assign({}, {})
    here.send("c#0", *"ab")
    here.dispatcher.forget_all_but({"other#0"})
    await until(lambda: here.window.messages == 0)
    kept = [entry for _, entry in here.store.select(lambda _: True)]
    assert len(kept) == 2
    assert "no longer configured" in kept[0].message


async def test_a_parked_delivery_is_told_to_the_sender_as_parked(nodes, tmp_path: Path) -> None:
    here, there = await nodes(0), await nodes(1)
    there.host("c#0", lambda d: DeliveryRefused("bad"))
    here.dispatcher.assign({"c#0": 1}, {})
    here.send("c#0", "a")
    await until(lambda: here.window.messages == 0)
    (entry,) = [entry for _, entry in there.store.select(lambda _: True)]
    assert entry.reason == "delivery_refused"
    assert entry.key == "a"


async def test_a_peer_that_is_drained_says_so(nodes) -> None:
    here, there = await nodes(0), await nodes(1)
    there.host("c#0", lambda d: None)
    here.dispatcher.assign({"c#0": 1}, {})
    await until(lambda: bool(there.server.inbound))
    assert not there.server.finished
    here.dispatcher.drained()
    await until(lambda: there.server.finished)


async def test_a_frame_beyond_the_limit_ends_the_connection(nodes, tmp_path: Path) -> None:
    await nodes(0)
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "bus-0.sock"))
    writer.write(b"\xff\xff\xff\xff")
    assert await asyncio.wait_for(reader.read(), 30) == b""
    writer.close()


async def test_what_is_acknowledged_crosses_before_its_receipt(nodes) -> None:
    here, there = await nodes(0), await nodes(1)

    def answer(delivery: Delivery) -> DeliveryRefused | None:
        if delivery.wanted is None:
            return None
        status = 400 if delivery.key == "bad" else 200
        delivery.wanted.answered(status, {"key": delivery.key})
        return DeliveryRefused("no", status=400) if status == 400 else None

    there.host("c#0", answer)
    here.dispatcher.assign({"c#0": 1}, {})
    made = here.make("good", "bad", "quiet")
    wanted = [Wanted("c:done", 100), Wanted("c:done", 100)]
    made[0].wanted, made[1].wanted = wanted
    here.dispatcher.send("c#0", made)
    await until(lambda: here.window.messages == 0)
    assert [(w.receipt().status, w.receipt().payload, w.kept) for w in wanted] == [
        (200, {"key": "good"}, False),
        (400, {"key": "bad"}, True),
    ]
    assert all(delivery.wanted is None for delivery in made)


async def test_an_acknowledgement_of_an_old_epoch_does_not_count(nodes) -> None:
    here, there = await nodes(0), await nodes(1)
    script = there.host("c#0", lambda d: "later")
    here.dispatcher.assign({"c#0": 1}, {})
    made = here.make("a")
    wanted = made[0].wanted = Wanted("c:done", 100)
    here.dispatcher.send("c#0", made)
    await until(lambda: len(script.flying) == 1)
    outbox = here.dispatcher._outboxes["c#0"]
    number = next(iter(outbox._sent))
    outbox.answered([(number, 500, None, True)])
    assert wanted.kept
    outbox.recall()
    outbox.answered([(number, 500, None, True)])
    assert not wanted.kept
    assert wanted.answer is None
