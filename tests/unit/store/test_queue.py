"""The durable queue against a list: appended, read, deleted, reopened at random."""

from __future__ import annotations

from pathlib import Path

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
