"""What is refused goes to a target of choice, and to the store where that does not take it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from streamproc.config.connection import Connection, Target
from streamproc.config.service import Parking as ParkingConfig
from streamproc.config.service import Service
from streamproc.kernels.delivery import Delivery
from streamproc.kernels.settlement import Ticket
from streamproc.store.parked import Parked
from streamproc.telemetry import metrics
from streamproc.telemetry.slots import Block
from streamproc.worker import deadletters as module
from streamproc.worker.deadletters import DeadLetters, Rule, headers_of
from streamproc.worker.parking import Then
from streamproc.worker.tally import Tally
from tests.unit.worker.script import until

RULE = Rule("dead", 1, 0, "POST:/dead", 60.0)


def entry(n: int) -> Parked:
    headers = {"content-type": "application/json", "Authorization": "Bearer x", "x-api-key": "k"}
    return Parked(9.5, "c", 2, "refused", "no\r\nnö", 4, "POST:/x?token=1", f"k{n}", headers, b"p")


def refused(n: int) -> Delivery:
    return Delivery(2, f"k{n}", "a", {}, b"p", Ticket((object(), "c#0"), n))


class Bench:
    def __init__(self, folder: Path, rule: Rule | None = RULE) -> None:
        self.sent: list[Delivery] = []
        self.kept: list[Parked] = []
        self.room = 1000
        self.told: list[int] = []
        self.block = Block.create(folder / "metrics")
        self.letters = DeadLetters(
            lambda client, deliveries: self.sent.extend(deliveries),
            self.keep,
            Tally(self.block),
            self.block,
        )
        self.letters.rule = rule

    def keep(self, entries: list[Parked], then: Then) -> None:
        taken = entries[: self.room]
        self.room -= len(taken)
        self.kept += taken
        then(len(taken))

    def take(self, count: int) -> None:
        self.letters.take([entry(n) for n in range(count)], self.told.append)

    def answer(self, deliveries: list[Delivery]) -> None:
        self.letters.receipts("dead#0", [delivery.owner.number for delivery in deliveries])

    def count(self, outcome: str) -> int:
        return int(self.block.counter(metrics.DEAD_LETTERS, outcome=outcome).value)


async def test_it_is_parked_when_that_target_has_all_of_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.take(3)
    assert [d.address for d in bench.sent] == ["POST:/dead"] * 3
    bench.answer(bench.sent[1:])
    assert bench.told == []
    bench.answer(bench.sent[:1])
    assert bench.told == [3]
    assert bench.kept == []
    assert (bench.count("delivered"), bench.count("stored")) == (3, 0)
    assert bench.letters.wants("c", [refused(1)])


def test_what_it_says_and_what_it_does_not() -> None:
    headers = headers_of(entry(1))
    assert headers["content-type"] == "application/json"
    assert headers["parked-connection"] == "c"
    assert headers["parked-message"] == "no??n?"
    assert (headers["parked-attempts"], headers["parked-reason"]) == ("4", "refused")
    assert headers["parked-address"] == "POST:/x"
    assert not {"Authorization", "x-api-key"} & headers.keys()


async def test_what_takes_too_long_goes_to_the_store_and_so_does_all_until_it_is_there(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path, Rule("dead", 1, 0, "POST:/dead", 0.01))
    bench.take(3)
    bench.answer(bench.sent[:1])
    await until(lambda: bench.told == [3])
    assert [e.key for e in bench.kept] == ["k1", "k2"]
    assert not bench.letters.wants("c", [refused(1)])
    bench.answer(bench.sent[1:])  # late
    assert bench.told == [3]
    assert bench.letters.wants("c", [refused(1)])
    assert (bench.count("delivered"), bench.count("stored")) == (1, 2)


async def test_a_full_store_says_how_far_it_got(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.room = 1
    bench.take(4)
    bench.answer([bench.sent[1]])
    bench.letters.end()
    assert [e.key for e in bench.kept] == ["k0"]
    assert bench.told == [2], "the first, from the store, and the second, delivered"
    assert not bench.letters.wants("c", [refused(1)])
    bench.letters.end()
    assert bench.told == [2]


async def test_it_may_be_on_disk_there_or_refused_there_or_on_the_move(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.take(3)
    numbers = [delivery.owner.number for delivery in bench.sent]
    bench.letters.spilled("dead#0", numbers[:1])
    bench.letters.parked("dead#0", numbers[1:2], "refused")
    moved = bench.sent[2]
    bench.letters.back("dead#0", numbers[2:])
    assert bench.sent[3] is moved
    assert bench.told == []
    bench.answer([moved])
    assert bench.told == [3]
    labels = {"connection": "dead", "target": "0"}
    assert bench.block.counter(metrics.DELIVERIES_DUE, **labels).value == 1
    assert bench.block.counter(metrics.DELIVERIES_SPILLED, **labels).value == 1


async def test_what_is_not_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path)
    assert not bench.letters.wants("dead", [refused(1)])
    bench.take(2)
    assert not bench.letters.wants("c", bench.sent[:1]), "its own never come back to it"
    monkeypatch.setattr(module, "MAX_OPEN", 3)
    assert bench.letters.wants("c", [refused(1)])
    assert not bench.letters.wants("c", [refused(1), refused(2)])
    monkeypatch.setattr(module, "MAX_OPEN_BYTES", 1)
    assert not bench.letters.wants("c", [refused(1)])
    bench.letters.rule = None
    assert not bench.letters.wants("c", [])


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_happens_what_is_told_to_be_safe_is(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    bench = Bench(tmp_path)
    bench.room = chance.randrange(12)
    bench.take(10)
    order = list(bench.sent)
    chance.shuffle(order)
    has = order[: chance.randrange(11)]
    for delivery in has:
        bench.answer([delivery])
    bench.letters.end()
    assert len(bench.told) == 1
    safe = {d.key for d in has} | {e.key for e in bench.kept}
    assert {f"k{n}" for n in range(bench.told[0])} <= safe
    bench.answer([delivery for delivery in order if delivery.owner is not None][len(has) :])
    assert len(bench.told) == 1


def test_where_they_go() -> None:
    def rule(**parking: object) -> Rule | None:
        connections = [
            Connection(
                id="dead",
                connection_type="http-push",
                client_count=2,
                targets=[
                    Target(address=f"POST:/{name}", topics=[], authorization_context=["a:b"])
                    for name in "ab"
                ],
            )
        ]
        return Rule.of(Service(parking=ParkingConfig(**parking)), connections)  # type: ignore[arg-type]

    assert rule() is None
    assert rule(connection="closed") is None
    assert rule(connection="dead", target=2) is None
    assert rule(connection="dead", target=1, after_s=5.0) == Rule("dead", 2, 1, "POST:/b", 5.0)
