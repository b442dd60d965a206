"""The identities hold after a worker died, wherever it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.telemetry import metrics as m
from streamproc.telemetry.ledger import close_books
from streamproc.telemetry.readings import Reader
from streamproc.telemetry.render import Exposition
from streamproc.telemetry.slots import Block

SOURCE = {"connection": "c", "source": "0"}
TARGET = {"connection": "d", "target": "1"}


def totals(path: Path) -> dict[str, float]:
    reader = Reader(path)
    found = Exposition([reader]).totals()
    reader.close()
    return found


def test_what_was_open_is_returned_and_nothing_is_in_flight(tmp_path: Path) -> None:
    path = tmp_path / "b"
    block = Block.create(path)
    block.counter(m.MESSAGES_RECEIVED, **SOURCE).add(100)
    block.counter(m.MESSAGES_SETTLED, **SOURCE, verdict="accept").add(60)
    block.counter(m.MESSAGES_SETTLED, **SOURCE, verdict="reject").add(5)
    block.counter(m.MESSAGES_RETURNED, **SOURCE).add(10)
    block.gauge(m.MESSAGES_IN_FLIGHT, **SOURCE).set(3)  # killed before it was right
    block.counter(m.DELIVERIES_DUE, **TARGET).add(50)
    block.counter(m.DELIVERIES_DELIVERED, **TARGET).add(40)
    block.counter(m.DELIVERIES_PARKED, **TARGET, cause="x").add(3)
    assert close_books(path) == {m.MESSAGES_RETURNED.name: 25, m.DELIVERIES_RETURNED.name: 7}
    after = totals(path)
    assert after[m.MESSAGES_RETURNED.name] == 35
    assert after[m.MESSAGES_IN_FLIGHT.name] == 0
    assert after[m.DELIVERIES_RETURNED.name] == 7
    assert close_books(path) == {}
    assert totals(path) == after


def test_an_idle_worker_leaves_nothing(tmp_path: Path) -> None:
    Block.create(tmp_path / "b")
    assert close_books(tmp_path / "b") == {}


def test_books_whose_label_sets_overflowed_are_closed_as_a_sum(tmp_path: Path) -> None:
    path = tmp_path / "b"
    block = Block.create(path)
    count = m.MESSAGES_RECEIVED.limit + 10
    for number in range(count):
        labels = {"connection": "c", "source": f"{number}"}
        block.counter(m.MESSAGES_RECEIVED, **labels).add(2)
        block.counter(m.MESSAGES_SETTLED, **labels, verdict="accept").add(1)
    assert close_books(path) == {m.MESSAGES_RETURNED.name: count}
    assert close_books(path) == {}


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.integers(0, 9))))
def test_the_identity_holds_for_each_source_wherever_the_worker_was_killed(
    tmp_path_factory: pytest.TempPathFactory, batches: list[tuple[str, int, int]]
) -> None:
    path = tmp_path_factory.mktemp("l") / "b"
    block = Block.create(path)
    for name, received, settled in batches:
        labels = {"connection": name, "source": "0"}
        came = block.counter(m.MESSAGES_RECEIVED, **labels)
        gone = block.counter(m.MESSAGES_SETTLED, **labels, verdict="accept")
        came.add(received)
        gone.add(min(settled, came.value - gone.value))
    close_books(path)
    reader = Reader(path)
    values = reader.refresh()
    rest: dict[str, float] = {}
    for row in reader.rows:
        sign = 1 if row.metric is m.MESSAGES_RECEIVED else -1
        rest[row.labels[0]] = rest.get(row.labels[0], 0) + sign * values[row.at]
    assert set(rest.values()) <= {0}
