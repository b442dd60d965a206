"""What consumers say of themselves adds up by source, and goes with them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from streamproc.telemetry.readings import Reader
from streamproc.telemetry.slots import Block
from streamproc.worker.gate import STANDINGS
from streamproc.worker.gauges import ClientGauges, SourceGauges


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


def client(connection: str, waiting: int, oldest_s: float = 0.0, standing: str = STANDINGS[0]):
    pace = SimpleNamespace(
        standing=lambda: SimpleNamespace(state=standing),
        limit=8,
        take_holds=lambda: {"breaker": 1},
    )
    outlet = SimpleNamespace(
        lanes=SimpleNamespace(waiting=waiting), pace=pace, on_disk=(waiting * 10, waiting * 1000)
    )
    return SimpleNamespace(
        connection=SimpleNamespace(id=connection), outlet=outlet, oldest_s=lambda: {0: oldest_s}
    )


@pytest.fixture
def show_clients(tmp_path):
    block = Block.create(tmp_path / "clients")
    gauges = ClientGauges(block)

    def scrape(*clients, **waiting: int) -> dict[tuple[str, ...], float]:
        gauges.show(clients, {int(peer.removeprefix("peer")): n for peer, n in waiting.items()})
        reader = Reader(tmp_path / "clients")
        values = reader.refresh()
        found = {
            (row.metric.name.removeprefix("streamproc_"), *row.labels): values[row.at]
            for row in reader.rows
        }
        reader.close()
        return found

    yield scrape
    block.close()


def test_clients_of_a_connection_add_up_and_the_worst_counts(show_clients):
    found = show_clients(client("a", 3, 5.0, STANDINGS[-1]), client("a", 4, 2.0), client("b", 1))
    assert found["lane_depth", "a"] == 7
    assert found["spill_depth", "a"] == 70
    assert found["spill_bytes", "a"] == 7000
    assert found["endpoint_limit", "a"] == 16
    assert found["oldest_unsettled_seconds", "a", "0"] == 5.0
    assert found["endpoint_state", "a"] == len(STANDINGS) - 1
    assert found["lane_depth", "b"] == 1
    assert found["endpoint_holds_total", "a", "breaker"] == 2


def test_what_has_moved_to_another_worker_is_counted_there_alone(show_clients):
    show_clients(client("a", 3, 5.0, STANDINGS[-1]), client("b", 1), peer1=9)
    found = show_clients(client("b", 2))
    gone = {key: value for key, value in found.items() if key[1] in ("a", "1")}
    holds = ("endpoint_holds_total", "a", "breaker")
    assert gone.pop(holds) == 1
    assert len(gone) == 7
    assert set(gone.values()) == {0.0}
    assert found["lane_depth", "b"] == 2
    assert show_clients(client("a", 3), peer1=4)["bus_waiting", "1"] == 4


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
