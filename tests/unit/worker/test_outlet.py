"""The target side of a client: every delivery ends delivered or parked, in order per key.

The connector is a script: it answers each write as the test says.
"""

from __future__ import annotations

import asyncio
import random

import pytest

from streamproc.config.service import Retry
from streamproc.errors import (
    DeliveryFailed,
    DeliveryRefused,
    Misconfigured,
    NotConnected,
    RunnerError,
)
from streamproc.kernels.delivery import Delivery
from streamproc.worker import link as link_module
from streamproc.worker.outlet import Outlet
from tests.unit.worker.script import Answer, Book, Script, by_key, until

QUICK = Retry(first_delay_s=0.001, max_delay_s=0.002)


def batch(*keys: str) -> list[Delivery]:
    return [Delivery(0, key, f"{key}/{i}", {}, b"x") for i, key in enumerate(keys)]


def outlet(
    answer: Answer,
    *,
    capacity: int = 4,
    depth: int = 1,
    retry: Retry = QUICK,
    room: int = 1 << 30,
    ordered: bool = True,
) -> tuple[Outlet, Script, Book]:
    book = Book(room)
    scripts: list[Script] = []

    def make(receipts: Outlet) -> Script:
        scripts.append(Script(receipts, capacity, answer))
        return scripts[0]

    built = Outlet(
        make, depth=depth, retry=retry, ledger=book, changed=lambda: None, ordered=ordered
    )
    return built, scripts[0], book


async def test_everything_is_delivered_in_order_per_key_whatever_fails() -> None:
    chance = random.Random(7)

    def answer(delivery: Delivery) -> RunnerError | None:
        return DeliveryFailed("busy") if chance.random() < 0.4 else None

    made, script, book = outlet(answer)
    items = batch(*(chance.choice("abcdef") for _ in range(200)))
    for start in range(0, 200, 10):
        made.offer(items[start : start + 10])
    await book.until(lambda: len(book.done) == 200)
    assert by_key(book.done) == by_key(items)
    assert len(book.again) > 20
    assert script.most == 4
    await made.close()


async def test_without_order_a_retry_holds_up_no_other_of_its_key() -> None:
    others: list[Delivery] = []

    def answer(delivery: Delivery) -> RunnerError | None:
        good = delivery.address != "a/0" or len(others) == 3
        return None if good else DeliveryFailed("busy")

    made, _, book = outlet(answer, capacity=101, ordered=False)
    made.offer(batch("a", "a", "a", "a"))
    await book.until(lambda: len(book.done) == 3)
    others += book.done
    assert [d.address for d in others] == ["a/1", "a/2", "a/3"]
    await book.until(lambda: len(book.done) == 4)
    await made.close()


async def test_a_refused_delivery_is_parked_and_those_behind_it_go_on() -> None:
    made, _, book = outlet(lambda d: DeliveryRefused("bad") if d.address == "a/0" else None)
    items = batch("a", "a", "a")
    made.offer(items)
    await book.until(lambda: len(book.done) == 2)
    assert [d.address for d, _ in book.refused] == ["a/0"]
    assert [d.address for d in book.done] == ["a/1", "a/2"]
    await made.close()


async def test_a_retry_holds_its_lane_and_no_other() -> None:
    failing = True
    made, script, book = outlet(
        lambda d: DeliveryFailed("busy") if d.key == "a" and failing else None, capacity=2
    )
    made.offer(batch("a", "a", "b", "b", "b", "c"))
    await book.until(lambda: len(book.done) == 4)
    assert "a/1" not in [d.address for d in script.written]
    failing = False
    await book.until(lambda: len(book.done) == 6)
    assert by_key(book.done)["a"] == ["a/0", "a/1"]
    await made.close()


async def test_after_its_last_attempt_a_delivery_is_parked() -> None:
    retry = Retry(first_delay_s=0.001, max_delay_s=0.002, max_attempts=3)
    made, _, book = outlet(lambda d: DeliveryFailed("busy"), retry=retry)
    (item,) = items = batch("a")
    made.offer(items)
    await book.until(lambda: bool(book.refused))
    assert item.attempts == 3
    assert isinstance(book.refused[0][1], DeliveryFailed)
    await made.close()


async def test_when_there_is_no_room_to_park_the_delivery_stays(monkeypatch) -> None:
    monkeypatch.setattr("streamproc.worker.retries.PARKING_FULL_WAIT_S", 0.0)
    made, _, book = outlet(lambda d: DeliveryRefused("bad"), room=0)
    made.offer(batch("a"))
    await book.until(lambda: len(book.again) >= 2)  # refused, kept, and tried again
    assert not book.refused
    assert len(made.lanes) == 1
    book.room = 1
    await book.until(lambda: bool(book.refused))
    await made.close()


async def test_a_cut_link_is_opened_again_and_nothing_is_lost() -> None:
    made, script, book = outlet(lambda d: "later")
    items = batch(*"abcabc")
    made.offer(items)
    await until(lambda: len(script.flying) == 3)
    script.answer = lambda d: None
    script.cut()
    await book.until(lambda: len(book.done) == 6)
    assert script.opens == 2
    assert by_key(book.done) == by_key(items)
    assert made.link.report().state == "open"
    await made.close()


async def test_what_fails_after_its_link_was_lost_goes_as_soon_as_it_is_back() -> None:
    patient = Retry(first_delay_s=300.0, max_delay_s=300.0)
    made, script, book = outlet(lambda d: "later", retry=patient)
    made.offer(batch("a"))
    await until(lambda: len(script.flying) == 1)
    script.answer = lambda d: None
    flying, script.flying = script.flying, []
    made.lost(NotConnected("cut"))
    made.failed(flying, NotConnected("cut"))
    await book.until(lambda: len(book.done) == 1)
    await made.close()


async def test_close_gives_back_what_was_not_delivered_in_order() -> None:
    made, script, book = outlet(lambda d: "later", capacity=2)
    items = batch(*"abcabc")
    made.offer(items)
    await until(lambda: len(script.flying) == 2)
    assert await made.close() == items
    assert not book.done


async def test_pipelined_deliveries_of_a_key_are_retried_in_order() -> None:
    answers = {"a/1": 1}  # fails once, while the others of its key are in flight too

    def answer(delivery: Delivery) -> RunnerError | None:
        if answers.get(delivery.address, 0) > 0:
            answers[delivery.address] -= 1
            return DeliveryFailed("busy")
        return None

    made, script, book = outlet(answer, capacity=1000, depth=1000)
    made.offer(batch("a", "a", "a"))
    await book.until(lambda: len(book.done) == 2)
    made.offer([Delivery(0, "a", "a/3", {}, b"")])
    await book.until(lambda: len(book.done) == 4)
    assert [d.address for d in script.written] == ["a/0", "a/1", "a/2", "a/1", "a/3"]
    await made.close()


async def test_drain_waits_for_the_last_receipt_and_no_longer_than_told() -> None:
    made, script, _ = outlet(lambda d: "later")
    made.offer(batch("a"))
    await until(lambda: bool(script.flying))
    await made.drain(0.01)  # its deadline passes: the receipt never comes
    assert len(made.lanes) == 1
    waiting = asyncio.create_task(made.drain(30))
    script.receipts.delivered([script.flying.pop()])
    await waiting
    assert len(made.lanes) == 0
    await made.close()


async def test_misconfigured_is_said_and_tried_again(monkeypatch) -> None:
    monkeypatch.setattr(link_module, "MISCONFIGURED_DELAY_S", 0.001)
    monkeypatch.setattr(link_module, "MAX_DELAY_S", 0.001)
    made, script, book = outlet(lambda d: None)
    script.refuse_open = Misconfigured("wrong password")
    made.offer(batch("a"))
    await until(lambda: made.link.report().state == "misconfigured")
    report = made.link.report()
    assert report.error == "wrong password"
    assert report.next_try is not None
    script.refuse_open = None
    await book.until(lambda: len(book.done) == 1)
    assert made.link.report().error is None
    await made.close()


@pytest.mark.parametrize("seed", range(5))
async def test_random_histories_lose_nothing(seed: int) -> None:
    """Failures, refusals, cuts and a full parking at random: the books balance."""
    chance = random.Random(seed)

    def answer(delivery: Delivery) -> RunnerError | str | None:
        roll = chance.random()
        if roll < 0.2:
            return DeliveryFailed("busy")
        if roll < 0.25:
            return DeliveryRefused("bad")
        if roll < 0.3:
            return NotConnected("one of many")
        return None

    depth = chance.choice([1, 1000])
    made, script, book = outlet(answer, capacity=200 if depth > 1 else 3, depth=depth)
    items = batch(*(chance.choice("abcd") for _ in range(150)))
    for start in range(0, 150, 15):
        made.offer(items[start : start + 15])
        await asyncio.sleep(0)
        if chance.random() < 0.3:
            script.cut()
    await book.until(lambda: len(book.done) + len(book.refused) == 150)
    ended = book.done + [delivery for delivery, _ in book.refused]
    assert sorted(d.address for d in ended) == sorted(d.address for d in items)
    if depth == 1:
        parked = {d.address for d, _ in book.refused}
        expected = [d for d in items if d.address not in parked]
        assert by_key(book.done) == by_key(expected)
    await made.close()
