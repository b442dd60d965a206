"""The durable queue against a list: appended, read, deleted, reopened at random."""

from __future__ import annotations

import contextlib
from pathlib import Path

import lmdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.store.environment import StoreError, StoreFull
from streamproc.store.queue import Entry, Queue

steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 5)),
        st.tuples(st.just("delete"), st.sets(st.integers(0, 30), max_size=5)),
        st.tuples(st.just("reopen"), st.none()),
    ),
    max_size=20,
)


def entry(n: int) -> Entry:
    return Entry(0, f"k{n}", "address", {"h": str(n)}, b"\x00" * n, 1)


@given(steps=steps)
def test_any_history_leaves_what_was_not_deleted_in_order(tmp_path_factory, steps) -> None:
    path = tmp_path_factory.mktemp("queue")
    queue = Queue(path, 1 << 20)
    model: dict[int, Entry] = {}
    made = 0
    for what, argument in steps:
        if what == "append":
            new = [entry(made + i) for i in range(argument)]
            made += argument
            assert queue.append(new) == argument
            kept = queue.read(max(model, default=0) + 1, 1000)
            assert [e for _, e in kept] == new
            model |= dict(kept)
        elif what == "delete":
            queue.delete(argument)
            model = {number: e for number, e in model.items() if number not in argument}
        else:
            queue.close()
            queue = Queue(path, 1 << 20)
        assert queue.read(0, 1000) == sorted(model.items())
        assert queue.count == len(model)
    if model:
        start = sorted(model)[len(model) // 2]
        assert queue.read(start, 2) == [i for i in sorted(model.items()) if i[0] >= start][:2]
    queue.close()


def test_beyond_its_bound_nothing_is_kept_and_it_says_so(tmp_path: Path) -> None:
    queue = Queue(tmp_path, 2000)
    queue.append([entry(1000)])
    assert queue.append([entry(1), entry(1500), entry(2)]) == 1
    assert queue.count == 2
    with pytest.raises(StoreFull):
        queue.append([entry(1500)])
    queue.delete([1])
    assert queue.append([entry(1500)]) == 1
    queue.close()


# Sizes at which a value just misses a page, so that the file is full long before the bound.
@pytest.mark.parametrize("size", [60, 2060, 4090, 8190])
def test_what_is_full_to_the_last_page_can_be_drained(tmp_path: Path, size: int) -> None:
    queue = Queue(tmp_path, 2 << 20)
    with contextlib.suppress(StoreFull):
        for most in (50, 1):
            with contextlib.suppress(StoreFull):
                while queue.append([entry(size)] * most) == most:
                    pass
    count = queue.count
    assert count * size > 1 << 20
    newest = [number for number, _ in queue.read(count - 20, 40)]
    queue.delete(newest)
    queue.delete(range(1, 500, 7))
    while found := queue.read(0, 500):
        queue.delete([number for number, _ in found])
    assert (queue.count, queue.size_bytes) == (0, 0)
    assert queue.append([entry(size)]) == 1
    queue.close()


def test_what_was_noted_is_what_is_there_after_a_reopen(tmp_path: Path) -> None:
    queue = Queue(tmp_path, 1 << 20)
    queue.append([entry(n) for n in range(1, 9)])
    queue.delete([2, 8])
    before = (queue.count, queue.size_bytes, queue.next)
    queue.close()
    queue = Queue(tmp_path, 1 << 20)
    assert (queue.count, queue.size_bytes, queue.next) == before
    queue.delete(range(9))
    queue.close()
    queue = Queue(tmp_path, 1 << 20)
    assert (queue.count, queue.size_bytes, queue.next) == (0, 0, 9)
    queue.close()


@pytest.mark.parametrize("later", ["appended", "deleted", "nothing noted"])
def test_a_queue_that_an_older_version_wrote_is_counted_anew(tmp_path: Path, later: str) -> None:
    """It knows of no totals: what it did since is not in them."""
    queue = Queue(tmp_path, 1 << 20)
    queue.append([entry(n) for n in (1, 2, 3)])
    names = [number.to_bytes(8, "big") for number, _ in queue.read(0, 9)]
    queue.close()
    with lmdb.open(str(tmp_path), max_dbs=2) as environment, environment.begin(write=True) as txn:
        entries = environment.open_db(b"entries", txn)
        last = txn.get(names[-1], db=entries)
        if later == "appended":
            txn.put((9).to_bytes(8, "big"), last, db=entries)
        elif later == "deleted":
            txn.delete(names[0], db=entries)
        else:
            txn.drop(environment.open_db(b"meta", txn))
    queue = Queue(tmp_path, 1 << 20)
    found = queue.read(0, 9)
    assert queue.count == len(found) == {"appended": 4, "deleted": 2, "nothing noted": 3}[later]
    assert queue.next == found[-1][0] + 1
    size = queue.size_bytes
    queue.delete([number for number, _ in found])
    assert queue.size_bytes == 0 < size
    queue.close()


def test_two_owners_at_once_are_refused(tmp_path: Path) -> None:
    queue = Queue(tmp_path, 2000)
    with pytest.raises(StoreError, match="in use"):
        Queue(tmp_path, 2000)
    queue.close()
    Queue(tmp_path, 2000).close()


def test_numbers_are_not_used_again_after_a_reopen_while_something_is_left(tmp_path: Path) -> None:
    queue = Queue(tmp_path, 1 << 20)
    queue.append([entry(1), entry(2)])
    queue.delete([1])
    queue.close()
    queue = Queue(tmp_path, 1 << 20)
    queue.append([entry(3)])
    assert [number for number, _ in queue.read(0, 9)] == [2, 3]
    queue.close()


def test_a_file_in_the_way_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("not a folder")
    with pytest.raises(StoreError):
        Queue(tmp_path / "x", 2000)
