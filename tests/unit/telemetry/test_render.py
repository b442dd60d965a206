"""What a scrape says, judged by prometheus_client's own parsers."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as open_metrics_families,
)
from prometheus_client.parser import text_string_to_metric_families

from streamproc.telemetry.metrics import (
    BUILD_INFO,
    DELIVERIES_DUE,
    DELIVERY_SECONDS,
    LANE_DEPTH,
    METRICS,
    OLDEST_UNSETTLED,
    WORKER_RESTARTS,
    WORKERS_UP,
)
from streamproc.telemetry.readings import Reader
from streamproc.telemetry.render import Exposition, Reading
from streamproc.telemetry.slots import Block

OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8, text/plain;q=0.5"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scraped(exposition: Exposition, accept: str) -> Samples:
    body, content_type = exposition.scrape(accept)
    is_open = content_type.startswith("application/openmetrics-text")
    assert is_open == (accept == OPEN_METRICS)
    parse = open_metrics_families if is_open else text_string_to_metric_families
    samples: Samples = {}
    for family in parse(body.decode()):
        assert family.documentation, family.name
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in samples, "no sample twice"
            samples[key] = sample.value
    return samples


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


@pytest.fixture
def blocks(tmp_path: Path) -> list[Block]:
    return [Block.create(tmp_path / f"{index}") for index in range(2)]


@pytest.fixture
def exposition(blocks: list[Block], tmp_path: Path) -> Exposition:
    return Exposition([Reader(tmp_path / f"{index}") for index in range(len(blocks))])


@pytest.mark.parametrize("accept", ["", "*/*", OPEN_METRICS])
def test_workers_are_summed_and_the_oldest_age_is_the_greatest(
    blocks: list[Block], exposition: Exposition, accept: str
) -> None:
    for index, block in enumerate(blocks):
        block.counter(DELIVERIES_DUE, connection="c", target="0").add(10 + index)
        block.gauge(LANE_DEPTH, connection="c").set(3)
        block.gauge(OLDEST_UNSETTLED, connection="c", source="0").set(7 - index)
    blocks[1].counter(DELIVERIES_DUE, connection="c", target="1").add(5)
    samples = scraped(exposition, accept)
    assert value(samples, DELIVERIES_DUE.name, connection="c", target="0") == 21
    assert value(samples, DELIVERIES_DUE.name, connection="c", target="1") == 5
    assert value(samples, LANE_DEPTH.name, connection="c") == 6
    assert value(samples, OLDEST_UNSETTLED.name, connection="c", source="0") == 7


@pytest.mark.parametrize("accept", ["", OPEN_METRICS])
def test_a_histogram_is_cumulative_over_workers(
    blocks: list[Block], exposition: Exposition, accept: str
) -> None:
    for block in blocks:
        block.histogram(DELIVERY_SECONDS, connection="c").observe(0.02, 3)
    blocks[0].histogram(DELIVERY_SECONDS, connection="c").observe(1000)
    samples = scraped(exposition, accept)
    name = DELIVERY_SECONDS.name
    assert value(samples, f"{name}_bucket", connection="c", le="0.01") == 0
    assert value(samples, f"{name}_bucket", connection="c", le="0.025") == 6
    assert value(samples, f"{name}_bucket", connection="c", le="60.0") == 6
    assert value(samples, f"{name}_bucket", connection="c", le="+Inf") == 7
    assert value(samples, f"{name}_count", connection="c") == 7
    assert value(samples, f"{name}_sum", connection="c") == pytest.approx(1000.12)


def test_a_label_set_that_comes_later_shows(blocks: list[Block], exposition: Exposition) -> None:
    assert scraped(exposition, "") == {}
    blocks[1].gauge(LANE_DEPTH, connection="late").set(2)
    assert value(scraped(exposition, ""), LANE_DEPTH.name, connection="late") == 2


@pytest.mark.parametrize("accept", ["", OPEN_METRICS])
def test_the_master_adds_its_own_readings(accept: str) -> None:
    own: list[Reading] = [
        (WORKERS_UP, (), 2),
        (WORKER_RESTARTS, ("0",), 4),
        (BUILD_INFO, ("1", "3.11", "cpython"), 1),
        (WORKER_RESTARTS, ("1",), 5),
    ]
    samples = scraped(Exposition([], lambda: own), accept)
    assert value(samples, WORKERS_UP.name) == 2
    assert value(samples, WORKER_RESTARTS.name, worker="1") == 5
    assert len(samples) == 4


@given(st.lists(st.text(max_size=20), min_size=1, max_size=8, unique=True))
def test_any_label_value_comes_back_from_a_scrape(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    path = tmp_path_factory.mktemp("r") / "b"
    block = Block.create(path)
    for number, name in enumerate(names):
        block.counter(DELIVERIES_DUE, connection=name, target="0").add(number)
    samples = scraped(Exposition([Reader(path)]), OPEN_METRICS)
    for number, name in enumerate(names):
        assert value(samples, DELIVERIES_DUE.name, connection=name, target="0") == number


def test_totals_sum_what_can_be_summed(blocks: list[Block], exposition: Exposition) -> None:
    for block in blocks:
        block.counter(DELIVERIES_DUE, connection="c", target="0").add(2)
        block.counter(DELIVERIES_DUE, connection="d", target="0").add(3)
        block.histogram(DELIVERY_SECONDS, connection="c").observe(50, 4)
        block.gauge(OLDEST_UNSETTLED, connection="c", source="0").set(9)
    assert exposition.totals() == {DELIVERIES_DUE.name: 10, DELIVERY_SECONDS.name: 8}


def test_every_metric_is_named_and_described() -> None:
    for name, metric in METRICS.items():
        assert metric.help.endswith("."), name
        assert name.startswith(("streamproc_", "process_")), name
        assert name.endswith("_total") == (metric.kind == "counter"), name
        assert (metric.kind == "histogram") == bool(metric.buckets), name
        assert metric.combine == "sum" or metric.kind == "gauge", name
        assert list(metric.buckets) == sorted(set(metric.buckets)), name
