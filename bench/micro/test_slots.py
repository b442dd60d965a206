"""What counting costs a worker, and what a scrape costs the master.

The goal of a scrape is 15 ms with 8 workers of 500 label sets each.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from streamproc.telemetry.metrics import DELIVERIES_DUE, DELIVERY_SECONDS, METRICS, Metric
from streamproc.telemetry.readings import Reader
from streamproc.telemetry.render import Exposition
from streamproc.telemetry.slots import Block

WORKERS = 8
LABEL_SETS = 500
OPEN_METRICS = "application/openmetrics-text; version=1.0.0"


def test_count_one(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    slot = Block.create(tmp_path / "block").counter(DELIVERIES_DUE, connection="c", target="t")
    benchmark.pedantic(slot.add, (100,), rounds=100, iterations=10_000)


def test_observe_one(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    histogram = Block.create(tmp_path / "block").histogram(DELIVERY_SECONDS, connection="c")
    benchmark.pedantic(histogram.observe, (0.02, 100), rounds=100, iterations=10_000)


def test_bind_500(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    def blocks() -> tuple[tuple[Block], dict[str, str]]:
        path.unlink(missing_ok=True)
        return (Block.create(path),), {}

    def bind(block: Block) -> None:
        for number in range(LABEL_SETS):
            block.counter(DELIVERIES_DUE, connection="c", target=f"{number}")

    path = tmp_path / "block"
    benchmark.pedantic(bind, setup=blocks, rounds=20)


def fill(path: Path, worker: int, *, same: bool) -> Reader:
    """A worker of 500 label sets, as even as the table allows: 20 of them histograms."""
    block = Block.create(path / f"{worker}")
    metrics = [m for m in METRICS.values() if m.labels[:1] == ("connection",)]
    metrics = [m for m in metrics if m.counted_by == "worker" and m.kind != "histogram"]
    made = 0
    while made < LABEL_SETS:
        owner = f"connection-{made}" if same else f"connection-{worker}-{made}"
        if made % 25 == 0:
            block.histogram(DELIVERY_SECONDS, connection=owner).observe(0.003, made + 1)
        else:
            count(block, metrics[made % len(metrics)], owner, made)
        made += 1
    return Reader(path / f"{worker}")


def count(block: Block, metric: Metric, owner: str, number: int) -> None:
    labels = dict.fromkeys(metric.labels, "factory") | {"connection": owner}
    slot = block.counter if metric.kind == "counter" else block.gauge
    slot(metric, **labels).add(number * 1.5)


@pytest.mark.parametrize("accept", ["text/plain", OPEN_METRICS], ids=["text", "openmetrics"])
@pytest.mark.parametrize("same", [True, False], ids=["same-sets", "distinct-sets"])
def test_scrape(benchmark: BenchmarkFixture, tmp_path: Path, same: bool, accept: str) -> None:
    readers = [fill(tmp_path, worker, same=same) for worker in range(WORKERS)]
    body, _ = benchmark(Exposition(readers).scrape, accept)
    assert body.count(b"\n") > LABEL_SETS
