"""A message is settled exactly once, when its last receipt is in; windows count right."""

from __future__ import annotations

import pytest
from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streamproc.errors import SignalError
from streamproc.kernels.delivery import Delivery
from streamproc.kernels.settlement import Ticket, Window, deliveries, receipts


class WindowMachine(RuleBasedStateMachine):
    """Random receipts, rejections and lost links against a model of plain dicts."""

    @initialize()
    def start(self) -> None:
        self.called = 0
        self.window = Window(1 << 30, 1 << 30, self._done)
        self.flying: list[tuple[int, Delivery]] = []  # token, delivery without receipt
        self.awaited: dict[int, int] = {}  # token -> open receipts
        self.settled: list[int] = []
        self.finished: set[int] = set()  # tokens that should be told, and are not yet
        self.errors: dict[int, SignalError] = {}
        self.lost: set[int] = set()
        self.next = 0

    def _done(self) -> None:
        self.called += 1

    @rule(fans=st.lists(st.integers(0, 3), min_size=1, max_size=5), reject=st.booleans())
    def read(self, fans: list[int], reject: bool) -> None:
        tokens = list(range(self.next, self.next + len(fans)))
        self.next += len(fans)
        entries = self.window.admit("origin", tokens, [b"12345"] * len(fans), 1.0)
        for token, entry, fan in zip(tokens, entries, fans, strict=True):
            made = deliveries(0, [entry] * fan, ["k"] * fan, ["a"] * fan, [{}] * fan, [b""] * fan)
            assert len(made) == fan
            self.flying += [(token, item) for item in made]
            self.awaited[token] = fan
            if reject and fan == 0:
                error = SignalError("internal", "no")
                self.window.reject(entry, error)
                self.errors[token] = error
        self.window.release(entries)
        self.finished |= {t for t, fan in zip(tokens, fans, strict=True) if fan == 0}

    @precondition(lambda self: self.flying)
    @rule(data=st.data())
    def receipt(self, data: st.DataObject) -> None:
        chosen = data.draw(
            st.lists(st.sampled_from(self.flying), min_size=1, unique_by=lambda pair: id(pair[1]))
        )
        for pair in chosen:
            self.flying.remove(pair)
            token = pair[0]
            self.awaited[token] -= 1
            if self.awaited[token] == 0 and token not in self.lost:
                self.finished.add(token)
        targets, peers = receipts([item for _, item in chosen])
        assert targets == {0: len(chosen)}
        assert peers == {}

    @rule()
    def settle(self) -> None:
        told = []
        for origin, tokens, errors in self.window.take():
            assert origin == "origin"
            told += tokens
            for token, error in errors.items():
                assert self.errors[token] is error
        assert sorted(told) == sorted(self.finished)
        self.settled += told
        self.finished.clear()

    @rule()
    def lose_the_link(self) -> None:
        open_tokens = {
            token
            for token, fan in self.awaited.items()
            if token not in self.lost and token not in self.settled
        }
        assert self.window.forget() == len(open_tokens)
        self.lost |= open_tokens
        self.finished.clear()
        event("link lost")

    @invariant()
    def counts_agree(self) -> None:
        if not hasattr(self, "window"):
            return
        unfinished = [token for token, fan in self.awaited.items() if fan > 0]
        assert self.window.messages == len(unfinished)
        assert self.window.message_bytes == 5 * len(unfinished)
        assert self.window.unsettled == len([t for t in unfinished if t not in self.lost])
        assert len(self.settled) == len(set(self.settled)), "settled twice"


WindowMachine.TestCase.settings = settings(max_examples=200, deadline=None)
test_histories = WindowMachine.TestCase


def test_full_by_count_and_by_bytes() -> None:
    window = Window(2, 100, lambda: None)
    assert not window.full
    window.admit(None, [1], [b"x" * 10], 0.0)
    assert not window.full
    window.admit(None, [2], [b"x"], 0.0)
    assert window.full
    large = Window(10, 100, lambda: None)
    large.admit(None, [1], [b"x" * 100], 0.0)
    assert large.full


def test_what_is_done_of_one_origin_is_settled_together_in_its_order() -> None:
    window = Window(10, 1000, lambda: None)
    first = window.admit("p0", [1, 2, 3], [b"", b"", b""], 0.0)
    second = window.admit("p1", [1, 2], [b"", b""], 0.0)
    error = SignalError("internal", "no")
    window.reject(second[0], error)
    for entry in (first[2], second[0], first[0], second[1], first[1]):
        window.release([entry])
    assert window.take() == [("p0", [3, 1, 2], {}), ("p1", [1, 2], {1: error})]
    assert window.take() == []


def test_the_callback_comes_once_a_round() -> None:
    calls: list[int] = []
    window = Window(10, 1000, lambda: calls.append(1))
    window.release(window.admit(None, [1, 2, 3], [b"", b"", b""], 0.0))
    assert calls == [1]
    window.take()
    window.release(window.admit(None, [4], [b""], 0.0))
    assert calls == [1, 1]


def test_at_once_bounds_memory_and_settles_nothing() -> None:
    window = Window(10, 1000, lambda: None, at_once=True)
    entries = window.admit(None, [1], [b"x"], 0.0)
    assert window.messages == 1
    assert window.unsettled == 0
    window.release(entries)
    assert window.messages == 0
    assert window.take() == []


def test_oldest_is_the_age_of_the_oldest_in_memory() -> None:
    window = Window(10, 1000, lambda: None)
    first = window.admit(None, [1], [b""], 10.0)
    second = window.admit(None, [2], [b""], 20.0)
    assert window.oldest(25.0) == 15.0
    window.release(first)
    assert window.oldest(25.0) == 5.0
    window.release(second)
    assert window.oldest(25.0) == 0.0


def test_an_unresolved_address_makes_no_delivery_and_waits_for_nothing() -> None:
    window = Window(10, 1000, lambda: None)
    entries = window.admit(None, [1, 2], [b"", b""], 0.0)
    made = deliveries(3, entries, ["k", "k"], [None, "a"], [{}, {}], [b"", b""])
    assert [d.target for d in made] == [3]
    window.release(entries)
    assert [t for _, t, _ in window.take()] == [[1]]


def test_tickets_are_grouped_by_peer() -> None:
    window = Window(10, 1000, lambda: None)
    entries = window.admit(None, [1], [b""], 0.0)
    made = deliveries(0, entries, ["k"], ["a"], [{}], [b""])
    window.release(entries)
    (own,) = made
    other = deliveries(0, [], [], [], [], [])
    assert other == []
    foreign = Delivery(0, "k", "a", {}, b"", Ticket("peer", 7))
    assert receipts([foreign, own]) == ({0: 1}, {"peer": [7]})
    with pytest.raises(ValueError, match="has had its receipt"):
        receipts([own])
