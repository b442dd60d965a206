"""Parked deliveries on their way again: none leaves the store before its receipt is in."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from streamproc.config.service import Retry
from streamproc.control import Replay, Replayed
from streamproc.errors import DeliveryRefused, NotConnected
from streamproc.store.environment import StoreError
from streamproc.store.parked import Bounds, Parked, ParkedStore
from streamproc.telemetry import metrics
from streamproc.telemetry.slots import Block
from streamproc.worker import replays as module
from streamproc.worker.ledger import ClientLedger
from streamproc.worker.outlet import Outlet
from streamproc.worker.parking import Parking
from streamproc.worker.replays import Replays
from streamproc.worker.tally import Tally
from streamproc.worker.writer import Writer
from tests.unit.worker.script import Answer, Script, until

QUICK = Retry(first_delay_s=0.001, max_delay_s=0.002)


def parked(n: int, **more: Any) -> Parked:
    fields = {
        "time": 100.0 + n,
        "connection": "c",
        "target": 0,
        "reason": "old",
        "message": "once",
        "attempts": 3,
        "address": f"a/{n}",
        "key": f"k{n % 3}",
        "headers": {"n": str(n)},
        "payload": b"x" * 10,
        **more,
    }
    return Parked(**fields)


class Bench:
    """Client c#0 with a script for a target, and a store."""

    def __init__(self, folder: Path, answer: Answer, entries: list[Parked]) -> None:
        self.store = ParkedStore(folder / "parked", Bounds(1000, 1 << 20))
        self.store.add(entries)
        self.writer = Writer()
        self.block = Block.create(folder / "metrics")
        tally = Tally(self.block)
        self.parking = Parking(lambda: self.store, self.writer)
        scripts: list[Script] = []

        def target(outlet: Outlet) -> Script:
            scripts.append(Script(outlet, 8, answer))
            return scripts[0]

        self.outlet = Outlet(
            target,
            depth=1,
            retry=QUICK,
            ledger=ClientLedger("c", tally, self.parking, QUICK, self.block),
            changed=lambda: None,
        )
        self.script = scripts[0]
        self.homes: dict[str, Outlet] = {"c#0": self.outlet}
        self.replays = Replays(self.parking, tally, self.block, self.homes.get)
        self.replays.client_counts = {"c": 1}

    async def replay(self, *numbers: int) -> dict[int, str]:
        answers: list[Replayed] = []
        self.replays.replay(Replay(7, list(numbers)), answers.append)
        await until(lambda: bool(answers))
        await asyncio.sleep(0)
        (answer,) = answers
        assert answer.number == 7
        return dict(answer.outcomes)

    def left(self) -> dict[int, Parked]:
        return dict(self.store.select(lambda _: True))

    def count(self, outcome: str) -> int:
        slot = self.block.counter(metrics.PARKED_REPLAYED, connection="c", outcome=outcome)
        return int(slot.value)

    async def close(self) -> None:
        await self.outlet.close()
        self.writer.close()
        self.parking.close()
        self.store.close()


async def test_what_is_delivered_leaves_the_store_in_the_order_it_was_parked(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path, lambda d: None, [parked(n) for n in range(9)])
    assert await bench.replay(*range(1, 9)) == dict.fromkeys(range(1, 9), "delivered")
    assert list(bench.left()) == [9]
    for key in ("k0", "k1", "k2"):
        numbers = [int(d.headers["n"]) for d in bench.script.written if d.key == key]
        assert numbers == sorted(numbers)
    assert bench.count("delivered") == 8
    await bench.close()


async def test_nothing_leaves_the_store_before_its_receipt(tmp_path: Path, soon: None) -> None:
    bench = Bench(tmp_path, lambda d: "later", [parked(1)])
    assert await bench.replay(1) == {1: "waiting"}
    assert list(bench.left()) == [1]
    assert len(bench.script.written) == 1
    # Asked again it waits for the one that is on its way.
    assert await bench.replay(1, 1) == {1: "waiting"}
    assert len(bench.outlet.lanes) == 1
    flying, bench.script.flying = bench.script.flying, []
    bench.script.receipts.delivered(flying)
    await until(lambda: not bench.left())
    await until(lambda: bench.count("delivered") == 1)
    assert await bench.replay(1) == {1: "delivered"}  # as it turned out meanwhile
    assert await bench.replay(1) == {1: "missing"}
    await bench.close()


async def test_one_that_fails_again_keeps_its_place_and_says_why(tmp_path: Path) -> None:
    refused = DeliveryRefused("still not")
    bench = Bench(tmp_path, lambda d: refused, [parked(1), parked(2)])
    assert await bench.replay(2) == {2: "parked"}
    left = bench.left()
    assert left[1] == parked(1)
    assert (left[2].reason, left[2].message) == ("delivery_refused", "still not")
    assert (left[2].attempts, left[2].time) == (4, parked(2).time)
    assert await bench.replay(2) == {2: "parked"}
    assert bench.left()[2].attempts == 5
    assert len(bench.left()) == 2
    await bench.close()


async def test_a_store_without_room_takes_back_what_was_in_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, lambda d: DeliveryRefused("a longer reason" * 9), [parked(1)])
    bench.store._bounds = Bounds(1, 1)
    assert await bench.replay(1) == {1: "parked"}
    assert bench.left()[1].attempts == 4
    await bench.close()


async def test_what_is_for_others_is_left_to_them(tmp_path: Path) -> None:
    entries = [
        parked(1, connection="d"),
        parked(2, target=-1),
        parked(3),
    ]
    bench = Bench(tmp_path, lambda d: None, entries)
    assert await bench.replay(1, 2, 99) == {99: "missing"}
    bench.homes.clear()
    assert await bench.replay(3) == {}
    assert len(bench.left()) == 3
    assert bench.script.written == []
    await bench.close()


async def test_a_client_that_leaves_gives_back_and_the_store_still_has_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, lambda d: "later", [parked(1)])
    answers: list[Replayed] = []
    bench.replays.replay(Replay(1, [1]), answers.append)
    await until(lambda: bool(bench.script.flying))
    (delivery,) = await bench.outlet.close()
    bench.replays.back("c#0", [delivery.owner.number])
    assert [answer.outcomes for answer in answers] == [{1: "waiting"}]
    assert list(bench.left()) == [1]
    assert bench.parking.known == {}
    await bench.close()


async def test_retries_go_on_until_the_target_takes_it(tmp_path: Path) -> None:
    failures = iter([NotConnected("x"), NotConnected("y")])
    bench = Bench(tmp_path, lambda d: next(failures, None), [parked(1)])
    assert await bench.replay(1) == {1: "delivered"}
    await bench.close()


async def test_a_store_that_cannot_forget_is_asked_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, soon: None
) -> None:
    bench = Bench(tmp_path, lambda d: None, [parked(1)])
    monkeypatch.setattr(bench.store, "close", lambda: None)
    drop = bench.store.drop
    tries: list[int] = []

    def fails_twice(numbers: Any) -> int:
        tries.append(1)
        if len(tries) < 3:
            raise StoreError("disk full")
        return drop(numbers)

    monkeypatch.setattr(bench.store, "drop", fails_twice)
    while await bench.replay(1) == {1: "waiting"}:
        pass
    assert len(tries) == 3
    assert bench.left() == {}
    assert len(bench.script.written) == 1
    await bench.close()


async def test_no_more_is_on_its_way_than_there_is_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, soon: None
) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 250)
    bench = Bench(tmp_path, lambda d: "later", [parked(n) for n in range(6)])
    assert await bench.replay(*range(1, 7)) == dict.fromkeys(range(1, 7), "waiting")
    first = len(bench.script.flying) + bench.outlet.lanes.waiting
    assert 1 <= first < 6
    bench.script.answer = lambda d: None
    flying, bench.script.flying = bench.script.flying, []
    bench.script.receipts.delivered(flying)
    done: set[int] = set()
    async with asyncio.timeout(30):
        while len(done) < 6:
            found = await bench.replay(*(set(range(1, 7)) - done))
            done |= {number for number, outcome in found.items() if outcome == "delivered"}
    assert len(bench.script.written) == 6
    await bench.close()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers do not wait as long as in life."""
    monkeypatch.setattr(module, "WAIT_S", 0.05)
    monkeypatch.setattr(module, "RETRY_S", 0.01)
