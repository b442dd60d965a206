"""What a worker does for the stores: queues of clients that are no more, figures, age."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import quote

import pytest

from streamproc.store.environment import StoreError
from streamproc.store.parked import Bounds, Parked, ParkedStore
from streamproc.store.queue import Entry, Queue
from streamproc.telemetry import metrics
from streamproc.telemetry.slots import Block
from streamproc.worker import upkeep as module
from streamproc.worker.parking import Parking
from streamproc.worker.upkeep import Upkeep
from streamproc.worker.writer import Writer
from tests.unit.worker.script import until


class Bench:
    def __init__(self, folder: Path, bounds: Bounds) -> None:
        self.folder = folder
        self.store = ParkedStore(folder / "parked", bounds)
        self.writer = Writer()
        self.block = Block.create(folder / "metrics")
        self.parking = Parking(lambda: self.store, self.writer)
        self.upkeep = Upkeep(self.parking, self.writer, self.block, folder / "spill")

    def path(self, client: str) -> Path:
        return self.folder / "spill" / quote(client, safe="")

    def spill(self, client: str, count: int) -> None:
        queue = Queue(self.path(client), 1 << 20)
        queue.append([Entry(0, f"k{n}", f"a/{n}", {}, b"x" * 100, 2) for n in range(count)])
        queue.close()

    def addresses(self) -> list[str]:
        return [entry.address for _, entry in self.store.select(lambda _: True)]

    async def settle(self) -> None:
        await until(lambda: self.writer.idle and not self.upkeep._moving)

    def close(self) -> None:
        self.writer.close()
        self.parking.close()
        self.store.close()


async def test_queues_of_clients_that_are_no_more_are_parked_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOVED_AT_ONCE", 3)
    bench = Bench(tmp_path, Bounds(1000, 1 << 20))
    bench.spill("gone/a#0", 10)
    bench.spill("here#0", 4)
    bench.upkeep.park_what_is_nobodys(["here#0"])
    await bench.settle()
    assert bench.addresses() == [f"a/{n}" for n in range(10)]
    entry = bench.store.get(1)
    assert entry is not None
    assert (entry.connection, entry.reason) == ("gone/a", "client_not_configured")
    assert "gone/a#0" in entry.message
    assert not bench.path("gone/a#0").exists()
    assert Queue(bench.path("here#0"), 1 << 20).count == 4
    drained = bench.block.counter(metrics.SPILL_DRAINED, connection="gone/a", outcome="parked")
    assert drained.value == 10
    bench.close()


async def test_what_somebody_has_open_is_left_alone(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Bounds(1000, 1 << 20))
    bench.spill("gone#0", 3)
    queue = Queue(bench.path("gone#0"), 1 << 20)
    bench.upkeep.park_what_is_nobodys([])
    await bench.settle()
    assert bench.addresses() == []
    queue.close()
    bench.upkeep.park_what_is_nobodys([])
    await bench.settle()
    assert len(bench.addresses()) == 3
    bench.close()


async def test_what_finds_no_room_stays_on_disk_until_there_is_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOVE_AGAIN_S", 0.01)
    bench = Bench(tmp_path, Bounds(4, 1 << 20))
    bench.spill("gone#0", 10)
    bench.upkeep.park_what_is_nobodys([])
    await until(lambda: len(bench.addresses()) == 4)
    seen = bench.addresses()
    while len(seen) < 10:
        await until(lambda: bool(bench.addresses()))
        fresh = dict(bench.store.select(lambda _: True))
        seen += [entry.address for entry in fresh.values() if entry.address not in seen]
        bench.store.drop(fresh)
    assert seen == [f"a/{n}" for n in range(10)]
    await bench.settle()
    bench.close()


async def test_a_damaged_queue_stops_no_other(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Bounds(1000, 1 << 20))
    bench.spill("a-damaged#0", 3)
    (bench.path("a-damaged#0") / "data.mdb").write_bytes(b"rubbish" * 2000)
    bench.spill("b-whole#0", 3)
    bench.upkeep.park_what_is_nobodys([])
    await bench.settle()
    assert len(bench.addresses()) == 3
    assert bench.path("a-damaged#0").exists()
    bench.close()


async def test_figures_and_age(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Bounds(1000, 1 << 20))
    now = time.time()
    for age_s in (500.0, 400.0, 10.0):
        bench.store.add([Parked(now - age_s, "c", 0, "r", "m", 1, "a", "k", {}, b"x")])
    bench.upkeep.look(None)
    await bench.settle()
    assert bench.block.gauge(metrics.PARKED_MESSAGES).value == 3
    assert bench.block.gauge(metrics.PARKED_BYTES).value == bench.store.totals().size_bytes
    assert 499 < bench.block.gauge(metrics.PARKED_OLDEST).value < 600
    bench.upkeep.look(450.0)
    await bench.settle()
    assert bench.block.gauge(metrics.PARKED_MESSAGES).value == 2
    assert bench.block.counter(metrics.PARKED_EXPIRED).value == 1
    bench.upkeep.look(1.0)
    await bench.settle()
    assert bench.block.gauge(metrics.PARKED_OLDEST).value == 0
    assert bench.block.counter(metrics.PARKED_EXPIRED).value == 3
    bench.close()


async def test_a_store_that_cannot_be_read_is_told_once_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, Bounds(1000, 1 << 20))
    monkeypatch.setattr(bench.store, "close", lambda: None)
    told: list[str] = []
    monkeypatch.setattr(module.tell, "parking_failed", told.append)
    totals, broken = bench.store.totals, True

    def fails() -> object:
        if broken:
            raise StoreError("damaged")
        return totals()

    monkeypatch.setattr(bench.store, "totals", fails)
    for broken, count in ((True, 1), (True, 1), (False, 1), (True, 2)):  # noqa: B007 - seen by fails
        bench.upkeep.look(None)
        await bench.settle()
        assert len(told) == count
    monkeypatch.undo()
    bench.close()
