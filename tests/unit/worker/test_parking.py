"""Parking: safe before it counts as a receipt; full or failing means that lanes keep it."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamproc.errors import DeliveryRefused
from streamproc.kernels.delivery import Delivery
from streamproc.store.environment import StoreError
from streamproc.store.parked import Bounds, ParkedStore
from streamproc.worker.parking import Parking
from streamproc.worker.writer import Writer
from tests.unit.worker.script import until

REFUSED = DeliveryRefused("the endpoint answered 400")


def delivery(payload: bytes) -> Delivery:
    made = Delivery(1, "ns:thing", "POST:/x", {"a": "b"}, payload)
    made.attempts = 3
    return made


async def test_an_entry_says_what_where_and_why_and_is_there_when_it_is_told(
    tmp_path: Path,
) -> None:
    store, writer = ParkedStore(tmp_path / "parked", Bounds(10, 1 << 20)), Writer()
    seen: list[tuple[int, int]] = []
    Parking(lambda: store, writer).park(
        "conn",
        [delivery(b"{}"), delivery(b"\xff")],
        REFUSED,
        lambda count: seen.append((count, store.totals()[0])),
    )
    assert seen == []
    await until(lambda: bool(seen))
    assert seen == [(2, 2)]
    entry = store.get(2)
    assert entry is not None
    assert (entry.connection, entry.target, entry.reason) == ("conn", 1, "delivery_refused")
    assert (entry.message, entry.attempts) == ("the endpoint answered 400", 3)
    assert (entry.address, entry.key, entry.headers) == ("POST:/x", "ns:thing", {"a": "b"})
    assert entry.payload == b"\xff"
    writer.close()
    store.close()


async def test_what_does_not_fit_is_told(tmp_path: Path) -> None:
    store, writer = ParkedStore(tmp_path / "parked", Bounds(1, 1 << 20)), Writer()
    seen: list[int] = []
    Parking(lambda: store, writer).park("c", [delivery(b""), delivery(b"")], REFUSED, seen.append)
    await until(lambda: bool(seen))
    assert seen == [1]
    writer.close()
    store.close()


async def test_a_store_that_fails_parks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, writer = ParkedStore(tmp_path / "parked", Bounds(1, 1 << 20)), Writer()

    def fail(*_: object) -> int:
        raise StoreError("disk full")

    monkeypatch.setattr(store, "add", fail)
    seen: list[int] = []
    Parking(lambda: store, writer).park("c", [delivery(b"")], REFUSED, seen.append)
    await until(lambda: bool(seen))
    assert seen == [0]
    writer.close()
    store.close()


async def test_others_cannot_read_it(tmp_path: Path) -> None:
    store = ParkedStore(tmp_path / "parked", Bounds(1, 1 << 20))
    for path in [tmp_path / "parked", *(tmp_path / "parked").iterdir()]:
        assert path.stat().st_mode & 0o077 == 0, path
    store.close()
