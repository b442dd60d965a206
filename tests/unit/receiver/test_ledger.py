"""The receiver's books: each message counted once, whatever it is called."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from streamproc.receiver.ledger import CHUNK, Ids, Ledger

numbers = st.integers(0, 20) | st.sampled_from([CHUNK - 1, CHUNK, 999_999_999, 1_000_000_000])
ids = st.one_of(
    st.builds("{}-{}".format, st.sampled_from(["a", "b", "", "a-1"]), numbers),
    st.builds("{}-{:03}".format, st.sampled_from(["a", "b"]), numbers),
    st.sampled_from(["a", "-", "a-", "a-x", "a-٣", "a-+1", "a--1"]),
    st.text(max_size=3),
)


@given(st.lists(ids, max_size=60))
def test_a_set_of_ids_is_a_set(names: list[str]) -> None:
    found, known = Ids(), set[str]()
    for name in names:
        new = found.add(name)
        event("new" if new else "known")
        assert new == (name not in known)
        known.add(name)


def test_ids_that_are_equal_as_numbers_are_not_equal() -> None:
    found = Ids()
    assert all(found.add(name) for name in ("a-7", "a-07", "a-007", "b-7", "7", "-7", "a-a-7"))
    assert not any(found.add(name) for name in ("a-7", "a-07", "a-007", "b-7", "7", "-7", "a-a-7"))


def body(**value: Any) -> bytes:
    return orjson.dumps({"value": value})


def test_what_is_counted() -> None:
    ledger = Ledger(forbidden="/value/intruder")
    ledger.take(b"/a/1", body(id="x-1", device="d", seq=0))
    ledger.take(b"/a/2", body(id="x-2", device="d", seq=2))
    ledger.take(b"/a/2", body(id="x-2", device="d", seq=2))  # doubled, not out of order
    ledger.take(b"/a/2", body(id="x-3", device="d", seq=1))  # late
    ledger.take(b"/b?q", body(id="x-3", device="d", seq=1))  # another group
    ledger.take(b"/b", body(id="x-4", intruder=True))
    ledger.take(b"/b", b"not JSON")
    ledger.take(b"/b", b"[]")
    figures = ledger.figures()
    groups = figures.pop("groups")
    assert groups["a"] == {
        "received": 4,
        "unique": 3,
        "duplicated": 1,
        "out_of_order": 1,
        "unreadable": 0,
        "forbidden": 0,
        "bytes": groups["a"]["bytes"],
        "keys": 1,
    }
    assert groups["b"]["unreadable"] == 2
    assert groups["b"]["forbidden"] == 1
    assert figures["received"] == 8
    assert figures["unique"] == 5
    ledger.reset()
    assert ledger.figures()["received"] == 0


@pytest.mark.parametrize(
    ("batch", "unique", "unreadable"),
    [
        (b'[{"id": "x-1"}, {"id": "x-2"}, {"no": 1}]', 2, 1),
        (b'{"id": "x-1"}\n{"id": "x-2"}\n', 2, 0),
        (b'{"id": "x-1"}\nspoilt\n', 0, 1),
        (b"", 0, 1),
    ],
)
def test_batches_are_counted_by_the_message(batch: bytes, unique: int, unreadable: int) -> None:
    ledger = Ledger(name="/id")
    ledger.take(b"/a", batch)
    figures = ledger.figures()
    assert (figures["unique"], figures["unreadable"]) == (unique, unreadable)
    assert figures["received"] == unique + unreadable


@given(st.permutations(range(6)), st.data())
def test_order_is_judged_by_first_arrivals(order: list[int], data: st.DataObject) -> None:
    ledger = Ledger()
    arrived: list[int] = []
    for seq in order:
        ledger.take(b"/a", body(id=f"x-{seq}", device="d", seq=seq))
        if arrived and data.draw(st.booleans()):
            again = data.draw(st.sampled_from(arrived))
            ledger.take(b"/a", body(id=f"x-{again}", device="d", seq=again))
        arrived.append(seq)
    late = sum(seq < max(arrived[:i], default=-1) for i, seq in enumerate(arrived))
    assert ledger.figures()["out_of_order"] == late


@pytest.mark.parametrize("pointer", ["/id", "/a~1b/c~0d"])
def test_pointers_are_escaped_as_json_pointers_are(pointer: str) -> None:
    ledger = Ledger(name=pointer)
    ledger.take(b"/", orjson.dumps({"id": 1, "a/b": {"c~d": 1}}))
    assert ledger.figures()["unique"] == 1
