"""The disk in front of a target: nothing lost, order kept, others not held up."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from streamproc.config.service import Retry
from streamproc.errors import DeliveryFailed, DeliveryRefused, NotConnected, RunnerError
from streamproc.kernels.delivery import Delivery
from streamproc.kernels.settlement import Ticket, receipts
from streamproc.store.environment import StoreError
from streamproc.store.queue import Queue
from streamproc.worker.gate import Rules
from streamproc.worker.outlet import Outlet
from streamproc.worker.overflow import SpillRule
from streamproc.worker.spill import Spill
from streamproc.worker.writer import Writer
from tests.unit.worker.script import Answer, Book, Script, by_key, until

QUICK = Retry(first_delay_s=0.001, max_delay_s=0.002)
PATIENCE_S = 60


class Sender:
    """Where deliveries come from, and who gets their receipts."""

    def receipts(self, client: str, numbers: list[int]) -> None: ...

    def parked(self, client: str, numbers: list[int], cause: str) -> None: ...


SENDER = Sender()


class DiskBook(Book):
    """Gives receipts as a tally does, and keeps the spill's books."""

    def __init__(self) -> None:
        super().__init__()
        self.on_disk: list[Delivery] = []
        self.out: dict[str, int] = {"delivered": 0, "parked": 0}
        self.failures: list[StoreError] = []

    def delivered(self, deliveries) -> None:
        super().delivered(deliveries)
        for (peer, client), numbers in receipts(deliveries)[1].items():
            peer.receipts(client, numbers)

    def park(self, deliveries, error, then) -> None:
        def done(count: int) -> None:
            for (peer, client), numbers in receipts(deliveries[:count])[1].items():
                peer.parked(client, numbers, error.code)
            then(count)

        super().park(deliveries, error, done)

    def spilled(self, deliveries: list[Delivery]) -> None:
        receipts(deliveries)
        self.on_disk += deliveries
        self.changed.set()

    def drained(self, outcome: str, count: int) -> None:
        self.out[outcome] += count
        self.changed.set()

    def spill_failed(self, error: StoreError) -> None:
        self.failures.append(error)
        self.changed.set()


class Bench:
    """An outlet with a disk, whose target is a script."""

    def __init__(
        self,
        path: Path,
        answer: Answer,
        *,
        window: int = 10,
        room: int = 1 << 20,
        capacity: int = 4,
        rules: Rules | None = None,
    ) -> None:
        self.writer = Writer()
        self.book = DiskBook()
        self.path = path
        scripts: list[Script] = []

        def target(outlet: Outlet) -> Script:
            scripts.append(Script(outlet, capacity, answer))
            return scripts[0]

        def disk(out: Callable[[list[Delivery]], None]) -> Spill:
            later = asyncio.get_running_loop().call_later
            return Spill("c#0", Queue(path, room), self.writer, self.book, out, later)

        self.outlet = Outlet(
            target,
            depth=1,
            retry=QUICK,
            ledger=self.book,
            changed=lambda: None,
            spill=SpillRule(disk, path.exists, True, 0.001, window),
            rules=rules,
        )
        self.outlet.shares_sources = True
        self.script = scripts[0]

    async def close(self) -> list[Delivery]:
        left = await self.outlet.close()
        self.writer.close()
        return left


def batch(*keys: str, start: int = 0) -> list[Delivery]:
    return [
        Delivery(0, key, f"{key}/{i}", {}, b"x" * 50, Ticket((SENDER, "c#0"), i))
        for i, key in enumerate(keys, start)
    ]


def own(deliveries: list[Delivery]) -> list[Delivery]:
    """Those that their sender must send again."""
    return [d for d in deliveries if d.owner.peer[0] is SENDER]


def firsts(deliveries: list[Delivery]) -> list[Delivery]:
    """Without what came twice."""
    seen: set[str] = set()
    return [d for d in deliveries if not (d.address in seen or seen.add(d.address))]


async def test_what_a_slow_target_leaves_goes_to_disk_and_comes_back_in_order(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path / "q", lambda d: "later")
    items = batch(*(random.Random(3).choice("abcdefgh") for _ in range(100)))
    for start in range(0, 100, 5):
        bench.outlet.offer(items[start : start + 5])
        await asyncio.sleep(0.002)
    await bench.book.until(lambda: len(bench.book.on_disk) >= 50)
    assert not bench.book.done
    bench.script.answer = lambda d: None
    flying, bench.script.flying = bench.script.flying, []
    bench.script.receipts.delivered(flying)
    await bench.book.until(lambda: len(bench.book.done) == 100)
    assert by_key(bench.book.done) == by_key(items)
    await until(lambda: bench.writer.idle)
    assert bench.book.out["delivered"] == len(bench.book.on_disk)
    assert own(await bench.close()) == []
    assert Queue(bench.path, 1 << 20).count == 0


async def test_the_only_target_of_its_sources_pushes_back_instead(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "q", lambda d: "later")
    bench.outlet.shares_sources = False
    bench.outlet.offer(batch(*"abcdefgh" * 10))
    await asyncio.sleep(0.05)  # fifty times what begins a spill elsewhere
    assert bench.book.on_disk == []
    assert len(bench.outlet.lanes) == 80
    await bench.close()


async def test_a_target_that_is_away_spills_and_drains_when_it_is_back(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "q", lambda d: None, window=1000)
    bench.script.refuse_open = NotConnected("away")
    items = batch(*"abcabcabc")
    bench.outlet.offer(items[:5])
    await bench.book.until(lambda: len(bench.book.on_disk) == 5)
    bench.outlet.offer(items[5:])
    await bench.book.until(lambda: len(bench.book.on_disk) == 9)
    bench.script.refuse_open = None
    await bench.book.until(lambda: len(bench.book.done) == 9)
    assert by_key(bench.book.done) == by_key(items)
    await bench.close()


async def test_what_is_on_disk_survives_and_goes_before_what_comes(tmp_path: Path) -> None:
    first = Bench(tmp_path / "q", lambda d: "later")
    old = batch(*"abcd" * 10)
    first.outlet.offer(old)
    await first.book.until(lambda: len(first.book.on_disk) == 40)
    assert own(await first.close()) == []
    second = Bench(tmp_path / "q", lambda d: None)
    new = batch(*"abcd", start=40)
    second.outlet.offer(new)
    await second.book.until(lambda: len(second.book.done) == 44)
    assert by_key(second.book.done) == by_key(old + new)
    await second.close()


async def test_a_full_disk_keeps_the_rest_waiting_and_loses_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "q", lambda d: "later", room=2000)
    items = batch(*"abcdefgh" * 10)
    for start in range(0, 80, 8):
        bench.outlet.offer(items[start : start + 8])
        await asyncio.sleep(0.002)
    await bench.book.until(lambda: bool(bench.book.failures))
    bench.script.answer = lambda d: None
    flying, bench.script.flying = bench.script.flying, []
    bench.script.receipts.delivered(flying)
    left = 80
    async with asyncio.timeout(PATIENCE_S):
        while len(bench.book.done) < left:
            await asyncio.sleep(0.01)
    assert by_key(bench.book.done) == by_key(items)
    await bench.close()


@pytest.mark.parametrize("seed", range(4))
async def test_random_histories_with_restarts_lose_nothing_and_keep_order(
    tmp_path: Path, seed: int
) -> None:
    """First deliveries per key come in order, over slow phases, cuts and restarts."""
    chance = random.Random(seed)
    mood = {"slow": False}

    def answer(delivery: Delivery) -> RunnerError | str | None:
        if mood["slow"]:
            return "later" if chance.random() < 0.5 else DeliveryFailed("busy")
        return DeliveryFailed("busy") if chance.random() < 0.1 else None

    bench = Bench(tmp_path / "q", answer)
    done: list[Delivery] = []
    sent: list[Delivery] = []
    again: list[Delivery] = []
    for _ in range(12):
        mood["slow"] = chance.random() < 0.5
        fresh = batch(*(chance.choice("abcdef") for _ in range(20)), start=len(sent))
        sent += fresh
        bench.outlet.offer(again + fresh)
        again = []
        await asyncio.sleep(0.01)
        roll = chance.random()
        if roll < 0.2:
            bench.script.cut()
        elif roll < 0.5:
            left = await bench.close()
            done += bench.book.done
            again = [_copy(d) for d in own(left)]
            bench = Bench(tmp_path / "q", answer)
    mood["slow"] = False
    bench.outlet.offer(again)
    flying, bench.script.flying = bench.script.flying, []
    bench.script.receipts.failed(flying, NotConnected("slow no more"))
    wanted = {d.address for d in sent}
    async with asyncio.timeout(PATIENCE_S):
        while {d.address for d in done + bench.book.done} != wanted:
            await asyncio.sleep(0.01)
    assert by_key(firsts(done + bench.book.done)) == by_key(sent)
    await bench.close()


def _copy(delivery: Delivery) -> Delivery:
    owner = Ticket((SENDER, "c#0"), delivery.owner.number)
    return Delivery(0, delivery.key, delivery.address, {}, delivery.payload, owner)


async def test_a_refused_delivery_from_disk_is_parked_and_deleted(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "q", lambda d: "later")
    bench.outlet.offer(batch(*"abcdefghijklmnopqrst"))
    await bench.book.until(lambda: len(bench.book.on_disk) == 20)
    bench.script.answer = lambda d: DeliveryRefused("bad")
    flying, bench.script.flying = bench.script.flying, []
    bench.script.receipts.delivered(flying)
    await bench.book.until(lambda: bench.book.out["parked"] == 16)
    await until(lambda: bench.writer.idle)
    await bench.close()
    assert Queue(bench.path, 1 << 20).count == 0


class HeldWriter:
    """Does at once what it is told, but to delete: that is done when the test says so."""

    def __init__(self) -> None:
        self.held: list[tuple[Callable[[], object], Callable[[object], None]]] = []
        self.holding = False

    def submit(self, job, done) -> None:
        if self.holding and "delete" in job.__code__.co_names:
            self.held.append((job, done))
        else:
            done(job())

    def let_go(self) -> None:
        held, self.held = self.held, []
        for job, done in held:
            done(job())


def test_a_crash_repeats_no_more_than_the_lanes_hold_however_slow_the_disk(tmp_path: Path) -> None:
    """What is delivered and not yet deleted counts as much as what is in flight."""
    writer, book, room = HeldWriter(), DiskBook(), 10
    came: list[Delivery] = []
    queue = Queue(tmp_path / "queue", 1 << 20)

    def out(found: list[Delivery]) -> None:
        came.extend(found)
        spill.feed(room - spill.in_lanes)

    spill = Spill("c#0", queue, writer, book, out, lambda *_: None)  # type: ignore[arg-type]
    owner = Ticket((SENDER, "c#0"), 0)
    spill.take([Delivery(0, str(n), str(n), {}, b"x", owner) for n in range(100)])
    writer.holding = True
    spill.feed(room - spill.in_lanes)
    for _ in range(5):  # delivered at once; the disk does not follow
        waiting, came[:] = list(came), []
        spill.receipts("c#0", [d.owner.number for d in waiting])
        spill.feed(room - spill.in_lanes)
        assert queue.count == 100
    assert book.out["delivered"] <= room
    while spill.depth:
        writer.let_go()
        waiting, came[:] = list(came), []
        spill.receipts("c#0", [d.owner.number for d in waiting])
    assert book.out["delivered"] == 100
    queue.close()


def test_a_deadline_goes_on_while_a_delivery_is_on_disk(tmp_path: Path) -> None:
    came: list[Delivery] = []
    queue = Queue(tmp_path / "queue", 1 << 20)
    old, new = batch("a", "b")
    old.born = time.monotonic() - 1000.0
    began = time.monotonic()
    for _ in range(2):  # the second has it from the first, which is gone
        spill = Spill(
            "c#0",
            queue,
            HeldWriter(),  # type: ignore[arg-type]
            DiskBook(),
            came.extend,
            lambda *_: None,
        )
        if not queue.count:
            spill.take([old, new])
        came.clear()
        spill.feed(10)
        first, second = came
        assert first.born == pytest.approx(old.born, abs=1.0)
        assert began - 1.0 <= second.born <= time.monotonic() + 1.0
    queue.close()
