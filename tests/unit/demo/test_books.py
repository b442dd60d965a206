"""The demo's ledger balances when all is well, and says what is wrong when it is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from streamproc.demo.books import ENFORCEMENT, Ledger, Service, service
from streamproc.telemetry import metrics as m
from streamproc.telemetry.readings import Reader
from streamproc.telemetry.slots import Block

GOOD = Service(
    received=100,
    accepted=90,
    rejected=10,
    rejected_otherwise=0,
    filtered=20,
    unsettled=0,
    due=75,
    delivered=73,
    retried=5,
    parked=2,
    returned=0,
    in_flight=0,
)
RECEIVER = {"unique": 73, "duplicated": 1, "out_of_order": 0, "forbidden": 0, "unreadable": 0}


def test_good_books_balance() -> None:
    ledger = Ledger(GOOD, RECEIVER)
    assert ledger.problems() == []
    assert dict(ledger.lines()) == {
        "generated": 100,
        "accepted": 90,
        "rejected by enforcement": 10,
        "filtered": 20,
        "due": 75,
        "delivered": 73,
        "parked": 2,
        "in flight": 0,
        "lost": 0,
        "duplicated": 1,
        "out of order": 0,
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"received": 101},
        {"accepted": 91},
        {"rejected": 11},
        {"rejected_otherwise": 1},
        {"filtered": 91},
        {"unsettled": 1},
        {"due": 76},
        {"delivered": 74},
        {"parked": 3},
        {"returned": 1},
        {"in_flight": 1},
        {"due": 76, "delivered": 74},
        {"due": 76, "in_flight": 1},
        {"due": 76, "returned": 1},
        {"received": 0, "accepted": 0, "rejected": 0, "filtered": 0},
    ],
)
def test_one_wrong_figure_of_the_service_is_seen(wrong: dict[str, int]) -> None:
    assert Ledger(replace(GOOD, **wrong), RECEIVER).problems()


@pytest.mark.parametrize(
    "wrong",
    [{"unique": 72}, {"unique": 74}, {"out_of_order": 1}, {"forbidden": 1}, {"unreadable": 1}],
)
def test_one_wrong_figure_of_the_receiver_is_seen(wrong: dict[str, int]) -> None:
    assert Ledger(GOOD, {**RECEIVER, **wrong}).problems()


def test_the_figures_are_summed_over_workers_and_outlive_their_files(tmp_path: Path) -> None:
    readers = []
    for worker in range(2):
        path = tmp_path / f"metrics-{worker}"
        block = Block.create(path)
        source = {"connection": "c", "source": "0"}
        target = {"connection": "p", "target": "0"}
        block.counter(m.MESSAGES_RECEIVED, **source).add(50)
        block.counter(m.MESSAGES_ACCEPTED, **source).add(45)
        block.counter(m.MESSAGES_REJECTED, **source, cause=ENFORCEMENT).add(4)
        block.counter(m.MESSAGES_REJECTED, **source, cause="json.format.invalid").add(1)
        block.counter(m.DELIVERIES_DUE, **target).add(40)
        block.counter(m.DELIVERIES_DELIVERED, **target).add(39)
        block.gauge(m.DELIVERIES_IN_FLIGHT, **target).set(1)
        block.histogram(m.DELIVERY_SECONDS, connection="p").observe(0.1, 39)
        readers.append(Reader(path))
        path.unlink()
    found = service(readers)
    assert (found.received, found.accepted) == (100, 90)
    assert (found.rejected, found.rejected_otherwise) == (8, 2)
    assert (found.due, found.delivered, found.in_flight) == (80, 78, 2)
