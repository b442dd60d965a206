"""What consumers say of themselves adds up by source, and goes with them."""

from __future__ import annotations

import pytest

from streamproc.telemetry.readings import Reader
from streamproc.telemetry.slots import Block
from streamproc.worker.gauges import SourceGauges


class One:
    def __init__(self, connection: str, source: str, **numbers: float) -> None:
        self.connection = connection
        self.source = source
        self.said = numbers

    def numbers(self):
        return self.said


@pytest.fixture
def show(tmp_path):
    """Shows consumers, and says what a scrape then finds."""
    block = Block.create(tmp_path / "block")
    gauges = SourceGauges(block)

    def scrape(*consumers: One) -> dict[tuple[str, ...], float]:
        gauges.show(consumers)
        reader = Reader(tmp_path / "block")
        values = reader.refresh()
        found = {
            (row.metric.name.removeprefix("streamproc_"), *row.labels): values[row.at]
            for row in reader.rows
        }
        reader.close()
        return found

    yield scrape
    block.close()


def test_consumers_of_a_source_add_up_and_of_the_most_the_most_counts(show):
    found = show(
        One("a", "0", lag=5, lag_most=3),
        One("a", "0", lag=7, lag_most=7),
        One("a", "1", lag=1, lag_most=1),
    )
    assert found == {
        ("source_lag", "a", "0"): 12,
        ("source_lag_most", "a", "0"): 7,
        ("source_lag", "a", "1"): 1,
        ("source_lag_most", "a", "1"): 1,
    }


def test_counters_go_on_where_a_consumer_is_made_anew(show):
    first = One("a", "0", rebalances=2, expired=1)
    name = ("source_rebalances_total", "a", "0")
    assert show(first)[name] == 2
    first.said["rebalances"] = 3
    assert show(first)[name] == 3
    assert show(first)[name] == 3
    assert show(One("a", "0", rebalances=1))[name] == 4


def test_gauges_of_a_source_that_is_gone_are_zero(show):
    show(One("a", "0", lag=5, expired=2))
    found = show()
    assert found["source_lag", "a", "0"] == 0
    assert found["messages_expired_total", "a", "0"] == 2


def test_a_source_that_says_nothing_shows_nothing(show):
    assert show(One("a", "0")) == {}
