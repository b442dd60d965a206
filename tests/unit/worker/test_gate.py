"""The gate: what it must never allow, and that it never stays shut.

An endpoint is played against the gate by random histories: requests go when it allows them,
answers come as the endpoint feels, time passes. No clock, no loop.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from streamproc.config.endpoint import EndpointOptions
from streamproc.config.service import Breaker, Retry, Service
from streamproc.connectors.generator.config import GeneratorOptions
from streamproc.worker.gate import RATE_BURST_S, Gate, Rules, Trouble

CAPACITY = 16
RETRY = Retry(first_delay_s=0.2, max_retry_after_s=100.0)
BREAKER = Breaker(
    failure_ratio=0.5, min_requests=10, window_s=10, first_open_s=1, max_open_s=8, probes=3
)


def gate(capacity: int = CAPACITY, **rules: object) -> Gate:
    return Gate(Rules(**{"retry": RETRY, "breaker": BREAKER, **rules}), capacity, 0.0)


class Play:
    """A gate, a clock, and requests in flight; keeps the rules of an outlet."""

    def __init__(self, made: Gate, capacity: int = CAPACITY) -> None:
        self.gate = made
        self.capacity = capacity
        self.now = 0.0
        self.flying = 0
        self.stale = 0
        self.sent: list[float] = []

    def send(self) -> int:
        """All that is allowed now. -> how many."""
        allowed = self.gate.look(self.flying, self.stale, self.now)
        assert 0 <= allowed.limit <= self.capacity
        count = max(0, allowed.limit - self.flying)
        if count:
            self.gate.took(count, self.now)
            self.flying += count
            self.sent += [self.now] * count
        return count

    def answer(self, count: int) -> None:
        fresh = self._back(count)
        if fresh:
            self.gate.answered(fresh, self.now)

    def fail(self, count: int, trouble: Trouble = Trouble.ILL) -> None:
        fresh = self._back(count)
        if fresh:
            self.gate.failed(fresh, trouble, "503", self.now, 0.5)
        self._see()

    def ask(self, seconds: float) -> None:
        self._back(1)
        self.gate.asked_to_wait(seconds, "429", self.now, 0.0)
        self._see()

    def _back(self, count: int) -> int:
        assert count <= self.flying
        self.flying -= count
        old = min(self.stale, count)
        self.stale -= old
        return count - old

    def _see(self) -> None:
        """As the outlet does: what is in flight when it shuts says nothing of it afterwards."""
        if self.gate.look(self.flying, self.stale, self.now).limit == 0:
            self.stale = self.flying


def heal(play: Play, patience_s: float = 300.0) -> None:
    """The endpoint is well from now on: everything is answered, after 10 ms."""
    end = play.now + patience_s
    while play.now < end:
        if play.flying:
            play.gate.latency(0.01, play.flying, play.now)
        play.answer(play.flying)
        play.now += 0.01
        if play.send() == 0 and play.flying == 0:
            again_at = play.gate.look(0, 0, play.now).again_at
            assert again_at is not None, "shut, and nothing will ever open it"
            play.now = max(play.now, again_at)
        if play.flying == play.capacity:
            return
    raise AssertionError(f"not back to full capacity: {play.gate.standing(play.now)}")


steps = st.lists(
    st.tuples(
        st.sampled_from(["answer", "ill", "ill", "busy", "away", "ask", "pass", "reopen"]),
        st.floats(0, 30),
    ),
    max_size=80,
)
options = st.fixed_dictionaries(
    {
        "breaker": st.sampled_from([None, BREAKER]),
        "max_rate": st.sampled_from([None, 5000.0]),
        "adaptive": st.booleans(),
        "budget": st.booleans(),
    }
)


@given(rules=options, history=steps)
@settings(max_examples=300, deadline=None)
def test_whatever_happened_a_healthy_endpoint_gets_back_to_full_capacity(rules, history) -> None:
    made = gate(**rules)
    play = Play(made)
    for what, size in history:
        play.send()
        count = min(play.flying, 1 + int(size))
        if what == "pass":
            play.now += size
        elif what == "reopen":
            made.reopened()
        elif count and what == "answer":
            play.answer(count)
            made.latency(size, count, play.now)
        elif count and what == "ask":
            play.ask(size)
        elif count:
            play.fail(count, Trouble(what))
    event(made.standing(play.now).state)
    heal(play)


@given(history=steps, asked=st.floats(0.001, 200))
@settings(max_examples=200, deadline=None)
def test_nothing_goes_before_retry_after_is_over_however_often_it_is_asked(history, asked) -> None:
    play = Play(gate())
    quiet_until = 0.0
    for what, size in [*history, ("ask", asked), ("pass", asked / 2), ("pass", 0.0)]:
        before = len(play.sent)
        play.send()
        assert all(at >= quiet_until for at in play.sent[before:])
        if what == "pass":
            play.now += size
        elif what == "ask" and play.flying:
            play.ask(size)
            quiet_until = max(quiet_until, play.now + min(size, RETRY.max_retry_after_s))
        elif what == "answer" and play.flying:
            play.answer(1)
        elif play.flying:
            play.fail(1)


def test_retry_after_is_capped_and_jittered() -> None:
    made = gate()
    made.asked_to_wait(10_000.0, "429", 0.0, 0.5)
    shut = made.look(0, 0, 0.0)
    assert shut.limit == 0
    assert shut.again_at == pytest.approx(100.0 + 0.1)
    assert made.standing(1.0).state == "waiting"
    assert made.look(0, 0, 100.2).limit == 1  # a slow start


def test_the_breaker_opens_at_its_ratio_and_not_before_its_minimum() -> None:
    play = Play(gate())
    play.send()
    play.fail(9)
    assert play.gate.standing(play.now).state == "well"
    play.send()
    play.fail(1)
    standing = play.gate.standing(play.now)
    assert standing.state == "broken"
    assert standing.why == "10 of 10 deliveries failed within 10 s, at last: 503"
    assert standing.until == pytest.approx(0.75)


def test_fewer_failures_than_its_ratio_never_open_it() -> None:
    play = Play(gate())
    for _ in range(1000):
        play.send()
        play.answer(9)
        play.fail(7)
        play.now += 0.01
        assert play.gate.steady


def test_what_is_older_than_the_window_counts_no_more() -> None:
    play = Play(gate())
    for _ in range(20):  # nine failures in each window, in which ten would open it
        play.send()
        play.fail(9)
        play.now += 10.1
        assert play.gate.standing(play.now).state == "well"


def test_long_good_times_do_not_hide_what_happens_now() -> None:
    play = Play(gate())
    for _ in range(100):
        play.send()
        play.answer(16)
        play.now += 0.001
    play.now += 11.0
    play.send()
    play.fail(10)
    assert play.gate.standing(play.now).state == "broken"


def test_good_answers_of_the_same_moment_do_count() -> None:
    """One batch of failures among a thousand good answers opens nothing, also after an hour."""
    play = Play(gate())
    play.now += 3600
    play.send()
    play.answer(16)
    play.send()
    play.fail(12)
    assert play.gate.standing(play.now).state == "well"


def opened() -> Play:
    play = Play(gate())
    play.send()
    play.fail(10)
    assert play.send() == 0
    return play


def test_an_open_breaker_lets_one_probe_go_then_more_and_closes() -> None:
    play = opened()
    play.answer(play.flying)  # of before: says nothing
    play.now = 0.74
    assert play.send() == 0
    play.now = 0.75
    assert play.send() == 1
    assert play.send() == 0
    assert play.gate.standing(play.now).state == "recovering"
    play.answer(1)
    assert play.send() == 2
    play.answer(2)
    assert play.gate.standing(play.now).state == "recovering"  # a slow start
    assert 1 < play.send() < CAPACITY
    heal(play)
    assert play.gate.standing(play.now).state == "well"
    assert play.gate.steady


def test_a_probe_that_fails_doubles_the_wait_up_to_its_longest() -> None:
    play = opened()
    play.answer(play.flying)
    waits = []
    for _ in range(8):
        until = play.gate.standing(play.now).until
        assert until is not None
        waits.append(round(until - play.now, 6))
        play.now = until
        assert play.send() == 1
        play.fail(1)
    assert waits == [0.75, 1.5, 3.0, 6.0, 6.0, 6.0, 6.0, 6.0]


def test_what_was_in_flight_when_it_opened_neither_closes_it_nor_opens_it_again() -> None:
    play = opened()
    assert play.stale == 6
    play.now = 0.75
    assert play.send() == 1  # beside the six
    play.fail(6)  # they time out at last
    assert play.gate.standing(play.now).state == "recovering"
    play.answer(1)
    assert play.send() == 2


@pytest.mark.parametrize("trouble", [Trouble.BUSY, Trouble.AWAY])
def test_what_does_not_speak_against_the_endpoint_does_not_open_it(trouble: Trouble) -> None:
    play = Play(gate())
    for _ in range(50):
        play.send()
        play.fail(1, trouble)
    assert play.gate.standing(play.now).state == "well"


def test_stopped_means_stopped_until_a_person_acts() -> None:
    play = Play(gate())
    play.gate.stop("410 Gone")
    play.gate.stop("again")
    play.now = 1e9
    assert play.gate.look(0, 0, play.now) == (0, None)
    assert play.gate.standing(play.now) == ("stopped", "410 Gone", None)
    play.gate.resume()
    assert play.send() == 1
    heal(play)


@given(
    rate=st.floats(0.5, 5000),
    gaps=st.lists(st.floats(0.0, 0.5), min_size=1, max_size=200),
)
@settings(max_examples=100, deadline=None)
def test_a_rate_limit_holds_over_every_stretch_of_time(rate, gaps) -> None:
    play = Play(gate(max_rate=rate))
    for gap in gaps:
        play.send()
        if play.flying:
            play.answer(play.flying)
        play.now += gap
    burst = max(1.0, rate * RATE_BURST_S)
    sent = play.sent
    for first in range(0, len(sent), 7):
        for last in range(first, len(sent), 11):
            most = burst + rate * (sent[last] - sent[first])
            assert last - first + 1 <= most + 1e-6


def test_a_rate_limit_is_used_to_the_full() -> None:
    play = Play(gate(max_rate=100.0))
    while play.now < 20.0:
        play.send()
        if play.flying:
            play.answer(play.flying)
        again_at = play.gate.look(0, 0, play.now).again_at
        play.now = again_at if again_at is not None else play.now + 0.001
    assert len(play.sent) == pytest.approx(2000, rel=0.01)


@given(
    outcomes=st.lists(st.booleans(), min_size=1, max_size=400),
    fresh=st.integers(0, 3),
)
@settings(max_examples=100, deadline=None)
def test_failed_retries_are_bounded_by_the_budget(outcomes, fresh) -> None:
    retry = Retry(budget_ratio=0.2, budget_per_s=2.0)
    made = gate(retry=retry, breaker=None, budget=True)
    now, failed, taken = 0.0, 0, 0
    for good in outcomes:
        now = made.retry_at(now)
        made.retried(now)
        made.retries_ended(int(good), int(not good), now)
        failed += not good
        made.answered(fresh, now)
        taken += fresh
        assert failed <= 20.0 + 2.0 * now + 0.2 * taken + 1e-6


def test_retries_that_succeed_are_free_and_the_budget_always_fills_again() -> None:
    made = gate(retry=Retry(budget_ratio=0.0, budget_per_s=1.0), breaker=None, budget=True)
    for _ in range(1000):
        assert made.retry_at(0.0) == 0.0
        made.retried(0.0)
        made.retries_ended(1, 0, 0.0)
    for _ in range(10):
        assert made.retry_at(0.0) == 0.0
        made.retried(0.0)
        made.retries_ended(0, 1, 0.0)
    assert made.retry_at(0.0) == pytest.approx(1.0)
    assert made.retry_at(5.0) == 5.0


class Server:
    """Bears *room* requests at once; beyond, answers take longer in proportion."""

    def __init__(self, room: int, base_s: float) -> None:
        self.room, self.base_s = room, base_s

    def latency_s(self, in_flight: int) -> float:
        return self.base_s * max(1.0, in_flight / self.room)


def settle_down(made: Gate, server: Server, capacity: int, answers: int, now: float) -> list[int]:
    """The limits that the gate comes to, when all that it allows is always used."""
    chance = random.Random(3)
    limits = []
    for _ in range(answers):
        limit = made.look(0, 0, now).limit
        limits.append(limit)
        latency_s = server.latency_s(limit) * chance.uniform(0.9, 1.1)
        now += latency_s / min(16, limit)
        made.latency(latency_s, limit, now)
    return limits


def test_adaptive_concurrency_finds_what_an_endpoint_bears() -> None:
    made = gate(capacity=1000, adaptive=True)
    limits = settle_down(made, Server(50, 0.02), 1000, 20_000, 0.0)
    later = sorted(limits[5_000:])
    assert 40 <= later[len(later) // 2] <= 200
    assert later[-1] <= 400


def test_adaptive_concurrency_goes_to_the_ceiling_where_nothing_is_slow() -> None:
    made = gate(capacity=1000, adaptive=True)
    limits = settle_down(made, Server(10_000, 0.02), 1000, 5_000, 0.0)
    assert limits[-1] == 1000


def test_an_endpoint_that_became_slow_by_nature_gets_its_concurrency_back() -> None:
    made = gate(capacity=100, adaptive=True)
    settle_down(made, Server(1000, 0.01), 100, 2_000, 0.0)
    limits = settle_down(made, Server(1000, 0.2), 100, 20_000, 1000.0)
    later = sorted(limits[10_000:])
    assert later[len(later) // 2] >= 90


def test_adaptive_concurrency_falls_under_refusals_to_no_less_than_one() -> None:
    made = gate(capacity=100, adaptive=True, breaker=None)
    for second in range(200):
        made.failed(5, Trouble.BUSY, "429", float(second), 0.0)
    assert made.look(0, 0, 500.0).limit == 1


def test_the_rules_of_a_client_are_those_of_its_connection() -> None:
    service = Service(retry=Retry(max_attempts=7))
    hook = Rules.of(service, EndpointOptions(max_rate=100.0, retry_max_age_s=5.0), clients=4)
    assert hook.retry == Retry(max_attempts=7, max_age_s=5.0)
    assert hook.breaker == Breaker()
    assert hook.max_rate == 25.0
    assert hook.budget
    assert not hook.adaptive
    assert Rules.of(service, EndpointOptions(breaker_mode="off"), clients=1).breaker is None
    other = Rules.of(service, GeneratorOptions(), clients=4)
    assert other == Rules(retry=service.retry)
    assert other.breaker is None
    assert not other.budget


def test_in_good_times_it_has_nothing_to_say() -> None:
    made = gate(budget=True)
    made.answered(10, 1.0)
    made.failed(1, Trouble.ILL, "503", 1.0, 0.0)
    assert made.steady
    assert made.look(16, 0, 1.0) == (CAPACITY, None)
    assert not gate(max_rate=1.0).steady
    assert not gate(adaptive=True).steady
