"""An outlet under its gate: what the endpoint says is kept, and in the end all is delivered."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from streamproc.config.service import Breaker, Retry
from streamproc.errors import (
    DeliveryFailed,
    DeliveryRefused,
    EndpointGone,
    NotConnected,
    RunnerError,
)
from streamproc.kernels.delivery import Delivery
from streamproc.worker.gate import Rules
from streamproc.worker.outlet import Outlet
from tests.unit.worker.script import Answer, Book, Script, by_key, until

RETRY = Retry(first_delay_s=0.001, max_delay_s=0.002, budget_per_s=10_000.0)
BREAKER = Breaker(min_requests=4, first_open_s=0.02, max_open_s=0.05, probes=2)


def outlet(
    answer: Answer, *, capacity: int = 4, retry: Retry = RETRY, **rules: object
) -> tuple[Outlet, Script, Book]:
    book = Book()
    scripts: list[Script] = []

    def make(receipts: Outlet) -> Script:
        scripts.append(Script(receipts, capacity, answer))
        return scripts[0]

    built = Outlet(
        make,
        depth=1,
        retry=retry,
        ledger=book,
        changed=lambda: None,
        rules=Rules(**{"retry": retry, "breaker": BREAKER, "budget": True, **rules}),
    )
    return built, scripts[0], book


def batch(*keys: str) -> list[Delivery]:
    return [Delivery(0, key, f"{key}/{i}", {}, b"x") for i, key in enumerate(keys)]


def ill(delivery: Delivery) -> RunnerError:
    return DeliveryFailed("endpoint answered 503", status=503)


async def test_retry_after_holds_all_lanes_and_not_just_the_one_that_was_told() -> None:
    asked = DeliveryFailed("endpoint answered 429", retry_after_s=0.2, status=429)
    made, script, book = outlet(lambda d: asked if d.address == "a/0" else None)
    made.offer(batch("a"))
    await book.until(lambda: bool(book.again))
    told = time.monotonic()
    link = made.link.report()
    assert link.state == "held"
    assert link.error is not None
    assert link.error.startswith("left alone until 20")
    assert link.error.endswith("because endpoint answered 429")
    assert link.next_try is not None
    made.offer(batch("b", "c"))
    script.answer = lambda d: None
    await until(lambda: len(script.written) > 1)
    assert time.monotonic() - told >= 0.2 - 0.01
    await book.until(lambda: len(book.done) == 3)
    assert made.link.report().state == "open"
    await made.close()


async def test_an_open_breaker_stops_requests_and_says_so_and_probes() -> None:
    rules = Breaker(min_requests=4, first_open_s=0.3, max_open_s=0.3, probes=2)
    made, script, book = outlet(ill, breaker=rules)
    items = batch(*"abcdefgh")
    made.offer(items)
    await until(lambda: made.pace.standing().state == "broken")
    asked = len(script.written)
    assert asked <= 8
    link = made.link.report()
    assert link.state == "held"
    assert link.error is not None
    assert link.error.startswith("breaker open until 20")
    assert "deliveries failed within 10 s, at last: endpoint answered 503" in link.error
    made.offer(batch("x", "y"))
    script.answer = lambda d: "later"
    await until(lambda: len(script.written) > asked)
    assert len(script.flying) == 1  # a probe
    assert made.pace.limit == 1
    script.answer = lambda d: None
    script.receipts.delivered([script.flying.pop()])
    await book.until(lambda: len(book.done) == 10)
    assert made.pace.idle
    assert made.pace.limit == 4
    assert made.link.report().state == "open"
    assert made.pace.take_holds() == {"breaker": 1}
    assert not made.pace.take_holds()
    await made.close()


async def test_what_was_in_flight_when_the_breaker_opened_is_no_probe() -> None:
    made, script, book = outlet(lambda d: "later", capacity=8)
    made.offer(batch(*"abcdefgh"))
    await until(lambda: len(script.flying) == 8)
    failing, old = script.flying[:4], script.flying[4:]
    script.flying = old[:]
    script.receipts.failed(failing, ill(failing[0]))
    assert made.pace.standing().state == "broken"
    await until(lambda: len(script.flying) == 5)  # a probe beside them
    assert made.pace.limit == 5
    probe = script.flying.pop()
    script.flying = [probe]
    script.receipts.failed(old[:2], ill(old[0]))  # they time out at last
    assert made.pace.standing().state == "recovering"
    script.receipts.delivered(old[2:])
    await asyncio.sleep(0)
    assert made.pace.limit == 1  # nor do they prove that it is well
    script.answer = lambda d: None
    script.flying.clear()
    script.receipts.delivered([probe])
    await book.until(lambda: len(book.done) == 8)
    await made.close()


async def test_when_the_endpoint_is_well_again_no_lane_waits_out_its_back_off() -> None:
    retry = Retry(first_delay_s=3600.0, max_delay_s=3600.0, budget_per_s=1000.0)
    made, script, book = outlet(ill, capacity=100, retry=retry)
    made.offer(batch(*(f"k{i}" for i in range(50))))
    await until(lambda: made.pace.standing().state == "broken")
    script.answer = lambda d: None
    made.offer(batch("fresh", "new"))  # what probes
    await book.until(lambda: len(book.done) == 52)
    await made.close()


async def test_gone_stops_the_target_keeps_all_and_goes_on_when_told() -> None:
    gone = EndpointGone("endpoint answered 410 Gone")
    retry = Retry(first_delay_s=3600.0, max_delay_s=3600.0)
    answer: Answer = lambda d: gone if d.address == "a/0" else None  # noqa: E731
    made, script, book = outlet(answer, capacity=1, retry=retry)
    items = batch("a", "a", "b")
    made.offer(items)
    await until(lambda: made.link.report().state == "misconfigured")
    assert made.link.report().error == "stopped until a reload: endpoint answered 410 Gone"
    asked = len(script.written)
    made.offer(batch("c", "d"))
    script.cut()
    await until(lambda: script.opens == 2)
    assert made.link.report().state == "misconfigured"
    assert made.pace.shut
    assert len(script.written) == asked
    assert not book.refused
    script.answer = lambda d: None
    made.pace.resume()
    await book.until(lambda: len(book.done) == 5)
    assert by_key(book.done)["a"] == ["a/0", "a/1"]
    assert made.link.report().state == "open"
    await made.close()


async def test_after_a_loss_of_the_link_it_starts_slowly() -> None:
    made, script, book = outlet(lambda d: "later", capacity=8)
    made.offer(batch(*"abcdefgh"))
    await until(lambda: len(script.flying) == 8)
    script.cut()
    await until(lambda: script.opens == 2 and len(script.flying) > 0)
    assert len(script.flying) == 1
    script.answer = lambda d: None
    script.receipts.delivered([script.flying.pop()])
    await book.until(lambda: len(book.done) == 8)
    await made.close()


async def test_a_target_without_rules_of_an_endpoint_is_bounded_by_its_capacity_alone() -> None:
    made, script, book = outlet(ill, breaker=None, budget=False)
    made.offer(batch(*"abcdefgh"))
    await until(lambda: len(book.again) > 100)
    assert made.pace.idle
    script.cut()
    script.answer = lambda d: None
    await book.until(lambda: len(book.done) == 8)
    assert made.pace.idle
    await made.close()


async def test_failing_retries_use_up_the_budget_and_those_that_succeed_do_not() -> None:
    retry = Retry(first_delay_s=0.0001, max_delay_s=0.0001, budget_per_s=1.0, budget_ratio=0.0)
    made, script, book = outlet(ill, retry=retry, breaker=None, capacity=100)
    begun = time.monotonic()
    made.offer(batch(*(f"k{i}" for i in range(30))))
    await book.until(lambda: len(book.again) >= 41)  # 30 tries, 10 retries saved up, one more
    assert time.monotonic() - begun >= 0.9
    assert len(book.again) <= 30 + 10 + 1 + (time.monotonic() - begun)
    script.answer = lambda d: None
    well = time.monotonic()
    await book.until(lambda: len(book.done) == 30)
    assert time.monotonic() - well < 5.0  # not one a second
    await made.close()


async def test_a_retry_that_was_not_sent_after_all_costs_the_budget_nothing() -> None:
    retry = Retry(first_delay_s=0.0001, max_delay_s=0.0001, budget_per_s=1.0, budget_ratio=0.0)
    left = 100

    def answer(delivery: Delivery) -> RunnerError | None:
        nonlocal left
        left -= 1
        if left == 99:
            return ill(delivery)
        if left > 0:  # as connectors do whose endpoint wants nothing now
            delivery.attempts -= 1
            return DeliveryFailed("not sent", unsent=True)
        return None

    made, _, book = outlet(answer, retry=retry, capacity=1)
    begun = time.monotonic()
    made.offer(batch("a"))
    await book.until(lambda: len(book.done) == 1)
    assert time.monotonic() - begun < 60.0  # at one retry a second it would be 90
    assert made.pace.standing().state == "well"
    await made.close()


async def test_a_message_that_cannot_be_sent_is_no_probe() -> None:
    made, script, book = outlet(ill)
    made.offer(batch(*"abcd"))
    await until(lambda: made.pace.standing().state == "broken")
    failing = script.answer
    script.answer = lambda d: DeliveryRefused("a header with a line end")
    made.offer(batch(*"efghijkl"))
    await book.until(lambda: len(book.refused) >= 6)
    script.answer = failing
    assert made.pace.standing().state != "well"
    await made.close()


async def test_a_message_past_its_deadline_is_parked_unsent_also_when_it_was_never_tried() -> None:
    retry = Retry(first_delay_s=0.001, max_delay_s=0.002, max_age_s=0.1)
    made, script, book = outlet(lambda d: "later", retry=retry, capacity=1)
    items = batch("a", "a", "b")
    made.offer(items)
    await until(lambda: len(script.flying) == 1)
    await asyncio.sleep(0.12)  # the endpoint takes its time
    script.answer = lambda d: None
    script.receipts.delivered([script.flying.pop()])
    fresh = batch("c")
    made.offer(fresh)
    await book.until(lambda: len(book.refused) == 2 and len(book.done) == 2)
    assert book.done == [items[0], fresh[0]]
    assert [d.attempts for d, _ in book.refused] == [0, 0]
    assert str(book.refused[0][1]) == "older than its deadline of 0.1 s"
    assert len(made.lanes) == 0
    await made.close()


async def test_a_rate_limit_is_kept() -> None:
    made, _, book = outlet(lambda d: None, capacity=100, max_rate=100.0)
    begun = time.monotonic()
    made.offer(batch(*(f"k{i}" for i in range(35))))
    await book.until(lambda: len(book.done) == 35)
    assert time.monotonic() - begun >= (35 - 5) / 100.0 - 0.001
    await made.close()


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_the_endpoint_does_all_is_delivered_in_order(seed: int) -> None:
    chance = random.Random(seed)

    def answer(delivery: Delivery) -> RunnerError | None:
        roll = chance.random()
        if roll < 0.4:
            return ill(delivery)
        if roll < 0.45:
            return DeliveryFailed("429", retry_after_s=chance.random() * 0.01, status=429)
        if roll < 0.5:
            return NotConnected("one of many")
        if roll < 0.55:
            return EndpointGone("410")
        return None

    rules = {
        "adaptive": chance.random() < 0.5,
        "max_rate": chance.choice([None, 3000.0]),
    }
    made, script, book = outlet(answer, capacity=chance.choice([1, 5, 50]), **rules)
    items = batch(*(chance.choice("abcdefghij") for _ in range(100)))
    for start in range(0, 100, 10):
        made.offer(items[start : start + 10])
        if chance.random() < 0.2:
            script.cut()

    def ended() -> bool:
        if made.pace.standing().state == "stopped":
            made.pace.resume()
        return len(book.done) == 100

    await until(ended)
    assert by_key(book.done) == by_key(items)
    assert len(made.lanes) == 0
    await made.close()
