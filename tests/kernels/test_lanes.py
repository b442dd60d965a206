"""Lanes keep the order of a key, lose nothing, and let other keys go on."""

from __future__ import annotations

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streamproc.kernels.delivery import Delivery
from streamproc.kernels.lanes import Lane, Lanes

KEYS = ["a", "b", "c"]


def delivery(key: str, payload: bytes = b"x") -> Delivery:
    return Delivery(0, key, "addr", {}, payload)


class LanesMachine(RuleBasedStateMachine):
    """Random histories of offers, receipts and retries against an obvious model.

    The model knows, per key, what has arrived and not yet finished, in order.
    """

    @initialize(capacity=st.integers(1, 6), depth=st.sampled_from([1, 2, 100]))
    def start(self, capacity: int, depth: int) -> None:
        self.lanes = Lanes(capacity, depth)
        self.capacity, self.depth = capacity, depth
        self.open: dict[str, list[Delivery]] = {key: [] for key in KEYS}  # not finished
        self.flying: list[Delivery] = []
        self.failed: dict[str, list[Delivery]] = {key: [] for key in KEYS}
        self.awaiting = {}  # key -> Lane that awaits release
        self.offered = 0
        self.finished = 0

    @rule(keys=st.lists(st.sampled_from(KEYS), max_size=5))
    def offer(self, keys: list[str]) -> None:
        batch = [delivery(key) for key in keys]
        self.lanes.offer(batch, 1.0)
        for item in batch:
            self.open[item.key].append(item)
        self.offered += len(batch)

    @rule()
    def take(self) -> None:
        for item in self.lanes.take():
            assert item.key not in self.awaiting, "a held lane let one go"
            assert not self.failed[item.key], "one went past a failed one"
            waiting = [d for d in self.open[item.key] if d not in self.flying]
            assert item is waiting[0], "one went before an older one of its key"
            self.flying.append(item)
        assert len(self.flying) <= self.capacity
        for key in KEYS:
            assert sum(d.key == key for d in self.flying) <= self.depth

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), good=st.booleans())
    def receipt(self, data: st.DataObject, good: bool) -> None:
        chosen = data.draw(
            st.lists(st.sampled_from(self.flying), min_size=1, unique_by=id), label="receipts"
        )
        for item in chosen:
            self.flying.remove(item)
        if good:
            back = self.lanes.done(chosen)
            for item in chosen:
                self.open[item.key].remove(item)
                self.finished += 1
        else:
            back = self.lanes.failed(chosen)
            for item in chosen:
                self.failed[item.key].append(item)
            event("failed")
        expected = {
            key
            for key in {item.key for item in chosen}
            if self.failed[key] and not any(d.key == key for d in self.flying)
        }
        assert {lane.key for lane in back} == expected
        for lane in back:
            self.awaiting[lane.key] = lane
            self.failed[lane.key].clear()
            event("held lane is whole again")

    @precondition(lambda self: self.awaiting)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.awaiting)))
        self.lanes.release(self.awaiting.pop(key))

    @rule()
    def shed(self) -> None:
        """What was never written comes out, in order, and nothing else."""
        expected = {key: [d for d in items if d.attempts == 0] for key, items in self.open.items()}
        out = self.lanes.shed()
        for key, items in expected.items():
            assert [d for d in out if d.key == key] == items
            for item in items:
                self.open[key].remove(item)
        self.finished += len(out)
        if out:
            event("shed")

    @invariant()
    def counts_agree(self) -> None:
        if hasattr(self, "lanes"):
            unfinished = sum(len(items) for items in self.open.values())
            assert unfinished == self.offered - self.finished == len(self.lanes)
            assert self.lanes.in_flight == len(self.flying)
            assert self.lanes.size_bytes == sum(d.size for ds in self.open.values() for d in ds)

    def teardown(self) -> None:
        """Whatever happened, all that was offered can still be delivered, in order."""
        if not hasattr(self, "lanes"):
            return
        for lane in self.lanes.failed(list(self.flying)):
            self.awaiting[lane.key] = lane
        for lane in self.awaiting.values():
            self.lanes.release(lane)
        seen: dict[str, list[Delivery]] = {key: [] for key in KEYS}
        while batch := self.lanes.take():
            for item in batch:
                seen[item.key].append(item)
            assert self.lanes.done(batch) == []
        assert seen == self.open
        assert len(self.lanes) == 0
        assert self.lanes.busy == 0


LanesMachine.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
test_histories = LanesMachine.TestCase


def test_clear_gives_everything_back_in_order_of_arrival() -> None:
    lanes = Lanes(2)
    batch = [delivery(key) for key in "abacab"]
    lanes.offer(batch, 0.0)
    flying = lanes.take()
    lanes.failed(flying)
    assert lanes.clear() == batch
    assert len(lanes) == 0
    assert lanes.size_bytes == 0
    lanes.offer(batch, 0.0)  # they may go elsewhere afterwards
    assert len(lanes.take()) == 2


def test_a_second_receipt_is_refused() -> None:
    lanes = Lanes(2)
    lanes.offer([delivery("a")], 0.0)
    flying = lanes.take()
    lanes.done(flying)
    with pytest.raises(ValueError, match="has had its receipt"):
        lanes.done(flying)


def test_a_delivery_cannot_be_in_two_lanes() -> None:
    lanes = Lanes(2)
    item = delivery("a")
    lanes.offer([item], 0.0)
    with pytest.raises(ValueError, match="in a lane already"):
        Lanes(1).offer([item], 0.0)


def test_clear_with_deliveries_in_flight_is_refused() -> None:
    lanes = Lanes(2)
    lanes.offer([delivery("a")], 0.0)
    lanes.take()
    with pytest.raises(ValueError, match="in flight"):
        lanes.clear()


def test_attempts_count_writes() -> None:
    lanes = Lanes(1)
    item = delivery("a")
    lanes.offer([item], 5.0)
    assert item.born == 5.0
    for attempt in (1, 2, 3):
        assert lanes.take() == [item]
        assert item.attempts == attempt
        (lane,) = lanes.failed([item])
        assert lane.attempts == attempt
        lanes.release(lane)


def test_the_age_counts_from_the_first_lanes_that_had_it() -> None:
    old, new = delivery("a"), delivery("b")
    first = Lanes(4)
    first.offer([old], 1.0)
    first.clear()
    Lanes(4).offer([old, new], 5.0)
    assert (old.born, new.born) == (1.0, 5.0)


@given(st.data())
def test_without_order_a_retry_holds_up_nobody(data: st.DataObject) -> None:
    """Deliveries of one key go as those of many do; each has its receipt, none comes twice."""
    lanes = Lanes(capacity := data.draw(st.integers(1, 6), label="capacity"), ordered=False)
    items = [delivery("a") for _ in range(data.draw(st.integers(1, 20), label="count"))]
    lanes.offer(items, 0.0)
    waiting, flying, done = list(items), [], []
    held: list[tuple[Delivery, Lane]] = []
    for _ in range(data.draw(st.integers(0, 30), label="steps")):
        free = capacity - len(flying)
        assert lanes.take() == waiting[:free]
        flying += waiting[:free]
        del waiting[:free]
        if held and data.draw(st.booleans(), label="release"):
            item, lane = held.pop()
            lanes.release(lane)
            waiting.append(item)
        if flying and data.draw(st.booleans(), label="fail"):
            event("failed")
            failed, flying = flying, []
            found = lanes.failed(failed, "why")
            assert len(found) == len(failed)
            assert all(lane.why == "why" and lane.key == "a" for lane in found)
            held += zip(failed, found, strict=True)
        elif flying:
            done.append(flying.pop())
            assert lanes.done(done[-1:]) == []
        assert len(lanes) == lanes.busy == len(items) - len(done)
        assert lanes.held == len(held)
    lanes.failed(flying)
    assert set(lanes.clear()) == set(items) - set(done)
