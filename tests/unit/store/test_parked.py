"""The dead-letter store: bounded, durable, shared, exact in its totals."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from streamproc.store.parked import Bounds, Parked, ParkedStore

WIDE = Bounds(1000, 1 << 20)


def parked(n: int, size: int = 10, connection: str = "c") -> Parked:
    return Parked(float(n), connection, 0, "refused", "no", 1, "a", f"k{n}", {}, b"x" * size)


@given(
    sizes=st.lists(st.integers(0, 400), max_size=12),
    most=st.integers(0, 10),
    room=st.integers(0, 3000),
    drop=st.sets(st.integers(0, 15)),
)
def test_totals_are_what_is_there_and_bounds_hold(
    tmp_path_factory, sizes, most, room, drop
) -> None:
    store = ParkedStore(tmp_path_factory.mktemp("parked"), Bounds(most, room))
    taken = store.add([parked(n, size) for n, size in enumerate(sizes)])
    assert taken <= min(most, len(sizes))
    before = dict(store.select(lambda _: True))
    assert len(before) == taken
    assert [e.payload for e in before.values()] == [b"x" * size for size in sizes[:taken]]
    assert store.drop(drop) == len(drop & before.keys())
    left = dict(store.select(lambda _: True))
    assert left == {number: e for number, e in before.items() if number not in drop}
    count, size, _ = store.totals()
    assert count == len(left)
    assert size <= room
    assert (size == 0) == (count == 0)
    store.close()


def test_two_processes_worth_of_stores_see_each_other(tmp_path: Path) -> None:
    first = ParkedStore(tmp_path, WIDE)
    first.add([parked(1), parked(2, connection="d")])
    first.close()
    second = ParkedStore(tmp_path, WIDE)
    assert [e.key for _, e in second.select(lambda e: e.connection == "d")] == ["k2"]
    second.add([parked(3)])
    assert [number for number, _ in second.select(lambda _: True)] == [1, 2, 3]
    assert second.get(3) == parked(3)
    assert second.get(99) is None
    second.close()


def test_reading_goes_on_after_an_id(tmp_path: Path) -> None:
    store = ParkedStore(tmp_path, WIDE)
    store.add([parked(n) for n in range(5)])
    assert [number for number, _ in store.select(lambda _: True, after=3)] == [4, 5]
    store.close()


def test_only_what_is_too_old_expires(tmp_path: Path) -> None:
    store = ParkedStore(tmp_path, WIDE)
    store.add([parked(n) for n in (10, 20, 30)])
    assert store.expire(15, now=36) == 2
    assert [e.time for _, e in store.select(lambda _: True)] == [30.0]
    store.close()
