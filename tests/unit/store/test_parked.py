"""The dead-letter store: bounded, durable, shared, exact in its totals."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.store import parked as module
from streamproc.store.environment import StoreFull
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


def test_one_that_comes_back_takes_its_place_and_no_other(tmp_path: Path) -> None:
    store = ParkedStore(tmp_path, Bounds(2, 1 << 20))
    store.add([parked(1), parked(2)])
    longer = parked(9, size=500)
    assert store.add([longer, parked(8), parked(3)], [1, None, 2]) == 1
    assert dict(store.select(lambda _: True)) == {1: longer, 2: parked(2)}
    store.drop([2])
    # It was dropped while it was on its way: it stays dropped.
    assert store.add([parked(7), parked(8)], [2, None]) == 2
    assert dict(store.select(lambda _: True)) == {1: longer, 3: parked(8)}
    messages, size, oldest = store.totals()
    assert (messages, oldest) == (2, 9.0)
    store.drop([1, 3])
    assert store.totals() == (0, 0, None)
    assert size > 500
    store.close()


def test_many_stops_where_there_is_no_room(tmp_path: Path) -> None:
    store = ParkedStore(tmp_path, WIDE)
    store.add([parked(n, size=1000) for n in range(4)])
    assert store.many([3, 99, 1], 1 << 20) == {3: parked(2, 1000), 99: None, 1: parked(0, 1000)}
    assert list(store.many([1, 2, 3], 2500)) == [1, 2]
    assert list(store.many([1, 2], 1)) == [1]
    store.close()


def test_expiry_takes_no_more_at_once_than_it_should(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EXPIRE_AT_ONCE", 2)
    store = ParkedStore(tmp_path, WIDE)
    store.add([parked(n) for n in range(5)])
    assert [store.expire(1, now=100) for _ in range(4)] == [2, 2, 1, 0]
    store.close()


def test_a_store_that_another_process_made_larger_is_followed(tmp_path: Path) -> None:
    small = ParkedStore(tmp_path, Bounds(10_000, 1 << 20))
    script = (
        "import sys; from pathlib import Path;"
        "from streamproc.store.parked import Bounds, Parked, ParkedStore\n"
        "store = ParkedStore(Path(sys.argv[1]), Bounds(10_000, 1 << 24))\n"
        "for _ in range(8): store.add("
        "[Parked(1.0, 'c', 0, 'r', 'm', 1, 'a', 'k', {}, b'x' * 100_000)] * 10)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, timeout=60)
    assert small.totals().messages == 80
    assert len(list(small.select(lambda _: True))) == 80
    assert small.drop(range(1, 81)) == 80
    small.close()


def test_readers_that_were_killed_are_forgotten(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path;"
        "from streamproc.store.parked import Bounds, ParkedStore\n"
        "store = ParkedStore(Path(sys.argv[1]), Bounds(10, 1 << 20))\n"
        "txn = store._environment.begin(); txn.cursor(store._entries).first()\n"
        "print(flush=True); sys.stdin.read()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    # The first one stays: with nobody there the table of readers would be made anew.
    with (
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as holder,
    ):
        assert holder.stdout is not None
        holder.stdout.readline()
        for _ in range(3):
            subprocess.run(
                [sys.executable, "-c", script, str(tmp_path)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                check=False,
                timeout=60,
            )
        store = ParkedStore(tmp_path, WIDE)
        assert store._environment.reader_check() == 0
        store.close()
        holder.kill()


def test_what_is_full_to_the_last_page_can_be_emptied(tmp_path: Path) -> None:
    """A payload that just misses a page fills the file before the bound is reached."""
    store = ParkedStore(tmp_path, Bounds(1_000_000, 2 << 20))
    with contextlib.suppress(StoreFull):
        while store.add([parked(1, 4060)]):
            pass
    count, _, _ = store.totals()
    assert count * 4060 > 1 << 20
    # In its old place something larger goes, room or not.
    assert store.add([parked(1, 9000)] * 300, list(range(1, 301))) == 300
    assert store.drop(range(1, count, 3)) == len(range(1, count, 3))
    while store.expire(1.0, now=1000.0):
        pass
    assert store.totals() == (0, 0, None)
    store.close()
