"""Counters live on, gauges do not, and no flood of labels can hurt."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.telemetry.metrics import (
    DELIVERIES_DUE,
    DELIVERIES_IN_FLIGHT,
    DELIVERY_SECONDS,
    METRICS,
    METRICS_OVERFLOWED,
    OLDEST_UNSETTLED,
    OTHER,
    Metric,
)
from streamproc.telemetry.readings import Reader
from streamproc.telemetry.slots import HEADER_BYTES, Block


def read(path: Path) -> dict[tuple[str, ...], float]:
    """Every slot but those of histograms, summed by name and labels."""
    reader = Reader(path)
    values = reader.refresh()
    found: dict[tuple[str, ...], float] = {}
    for metric, labels, at in reader.rows:
        key = (metric.name, *labels)
        found[key] = found.get(key, 0.0) + values[at]
    reader.close()
    return found


def test_what_a_worker_counts_is_what_the_master_reads(tmp_path: Path) -> None:
    block = Block.create(tmp_path / "b")
    due = block.counter(DELIVERIES_DUE, connection="c", target="0")
    reader = Reader(tmp_path / "b")
    due.add(3)
    due.add(4)
    assert reader.refresh()[reader.rows[0].at] == due.value == 7
    block.gauge(DELIVERIES_IN_FLIGHT, connection="c", target="0").set(5)
    values = reader.refresh()
    assert [(row.metric.name, row.labels, values[row.at]) for row in reader.rows] == [
        (DELIVERIES_DUE.name, ("c", "0"), 7),
        (DELIVERIES_IN_FLIGHT.name, ("c", "0"), 5),
    ]


def test_asking_again_gives_the_same_slot(tmp_path: Path) -> None:
    block = Block.create(tmp_path / "b")
    first = block.counter(DELIVERIES_DUE, connection="c", target="0")
    again = block.counter(DELIVERIES_DUE, target="0", connection="c")
    assert first is again


def test_after_a_restart_counters_go_on_and_gauges_start_from_0(tmp_path: Path) -> None:
    before = Block.create(tmp_path / "b")
    before.counter(DELIVERIES_DUE, connection="c", target="0").add(10)
    before.gauge(DELIVERIES_IN_FLIGHT, connection="c", target="0").set(6)
    before.histogram(DELIVERY_SECONDS, connection="c").observe(0.3, 2)

    after = Block.open(tmp_path / "b")
    assert read(tmp_path / "b")[DELIVERIES_IN_FLIGHT.name, "c", "0"] == 0
    due = after.counter(DELIVERIES_DUE, connection="c", target="0")
    due.add(1)
    assert due.value == 11
    histogram = after.histogram(DELIVERY_SECONDS, connection="c")
    histogram.observe(0.3)
    assert histogram.count == 3
    assert len(read(tmp_path / "b")) == 3, "no label set was entered twice"


def test_a_new_label_set_after_a_restart_takes_a_free_slot(tmp_path: Path) -> None:
    before = Block.create(tmp_path / "b")
    before.histogram(DELIVERY_SECONDS, connection="c").observe(100)
    after = Block.open(tmp_path / "b")
    after.counter(DELIVERIES_DUE, connection="c", target="0").add(1)
    assert after.histogram(DELIVERY_SECONDS, connection="c").count == 1
    assert read(tmp_path / "b")[DELIVERIES_DUE.name, "c", "0"] == 1


def test_beyond_the_limit_all_counts_go_to_other(tmp_path: Path) -> None:
    block = Block.create(tmp_path / "b")
    for number in range(DELIVERIES_DUE.limit + 3):
        block.counter(DELIVERIES_DUE, connection=f"c{number}", target="0").add(2)
    found = read(tmp_path / "b")
    assert found[DELIVERIES_DUE.name, OTHER, OTHER] == 6
    assert found[METRICS_OVERFLOWED.name, DELIVERIES_DUE.name] == 3
    assert found[DELIVERIES_DUE.name, "c5", "0"] == 2


def test_gauges_beyond_the_limit_are_combined_not_overwritten(tmp_path: Path) -> None:
    block = Block.create(tmp_path / "b")
    for metric in (DELIVERIES_IN_FLIGHT, OLDEST_UNSETTLED):
        for number in range(metric.limit):
            block.gauge(metric, **dict.fromkeys(metric.labels, f"{number}"))
    flight = [block.gauge(DELIVERIES_IN_FLIGHT, connection="x", target=f"{i}") for i in range(3)]
    ages = [block.gauge(OLDEST_UNSETTLED, connection="x", source=f"{i}") for i in range(3)]
    for slot in flight + ages:
        slot.set(4)
    flight[0].set(1)
    flight[1].add(2)
    ages[0].set(9)
    ages[0].set(3)
    found = read(tmp_path / "b")
    assert found[DELIVERIES_IN_FLIGHT.name, OTHER, OTHER] == 1 + 6 + 4
    assert found[OLDEST_UNSETTLED.name, OTHER, OTHER] == 4
    assert flight[1].value == 6


def test_a_block_that_is_full_still_counts_every_metric(tmp_path: Path) -> None:
    block = Block.create(tmp_path / "b", capacity=1024)
    for number in range(2000):
        block.counter(DELIVERIES_DUE, connection=f"c{number}", target="0").add(1)
    for metric in METRICS.values():
        labels = dict.fromkeys(metric.labels, "late")
        if metric.kind == "histogram":
            block.histogram(metric, **labels).observe(1)
        else:
            (block.counter if metric.kind == "counter" else block.gauge)(metric, **labels).add(1)
    found = read(tmp_path / "b")
    dues = [value for key, value in found.items() if key[0] == DELIVERIES_DUE.name]
    assert sum(dues) == 2001
    assert {key[0] for key in found} == METRICS.keys()


def test_a_label_too_long_for_the_directory_goes_to_other(tmp_path: Path) -> None:
    block = Block.create(tmp_path / "b")
    block.counter(DELIVERIES_DUE, connection="c" * 5000, target="0").add(1)
    assert read(tmp_path / "b")[DELIVERIES_DUE.name, OTHER, OTHER] == 1


def test_an_entry_that_was_not_published_is_no_entry(tmp_path: Path) -> None:
    path = tmp_path / "b"
    block = Block.create(path)
    block.counter(DELIVERIES_DUE, connection="a", target="0").add(1)
    block.counter(DELIVERIES_DUE, connection="b", target="0").add(2)
    with path.open("r+b") as file:  # as if killed before the count was raised
        file.seek(24)
        file.write((1).to_bytes(8, "little"))
    assert read(path) == {(DELIVERIES_DUE.name, "a", "0"): 1}
    again = Block.open(path)
    again.counter(DELIVERIES_DUE, connection="c", target="0").add(0)
    assert set(read(path)) == {(DELIVERIES_DUE.name, "a", "0"), (DELIVERIES_DUE.name, "c", "0")}


def test_a_reader_waits_for_an_entry_that_is_not_yet_visible(tmp_path: Path) -> None:
    path = tmp_path / "b"
    block = Block.create(path)
    block.counter(DELIVERIES_DUE, connection="a", target="0").add(1)
    reader = Reader(path)
    reader.refresh()
    whole = path.read_bytes()
    block.counter(DELIVERIES_DUE, connection="b", target="0").add(2)
    later = path.read_bytes()
    with path.open("r+b") as file:  # the count is there before the text is
        file.write(later[:HEADER_BYTES] + whole[HEADER_BYTES:])
    assert len(reader.refresh()) == 1
    with path.open("r+b") as file:
        file.write(later)
    values = reader.refresh()
    assert [values[row.at] for row in reader.rows] == [1, 2]


def test_entries_of_another_version_are_stepped_over(tmp_path: Path) -> None:
    path = tmp_path / "b"
    block = Block.create(path)
    future = Metric("streamproc_not_known_here", "histogram", "", ("connection",), buckets=(1, 2))
    block.histogram(future, connection="c").observe(1)
    block.counter(DELIVERIES_DUE, connection="c", target="0").add(3)
    assert read(path) == {(DELIVERIES_DUE.name, "c", "0"): 3}
    again = Block.open(path)
    assert again.counter(DELIVERIES_DUE, connection="c", target="0").value == 3


def test_counting_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "b"
    Block.create(path).close()
    script = (
        "import sys, time\n"
        "from streamproc.telemetry.metrics import DELIVERIES_DUE\n"
        "from streamproc.telemetry.slots import Block\n"
        "slot = Block.open(sys.argv[1]).counter(DELIVERIES_DUE, connection='c', target='0')\n"
        "slot.add(41); slot.add(1); print('counted', flush=True)\n"
        "time.sleep(600)\n"
    )
    command = [sys.executable, "-c", script, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"counted\n"
        process.send_signal(signal.SIGKILL)
    assert read(path) == {(DELIVERIES_DUE.name, "c", "0"): 42}


@pytest.mark.parametrize(
    "labels", [{"connection": "c"}, {"connection": "c", "target": "0", "cause": "x"}, {}]
)
def test_wrong_labels_are_a_bug_that_shows_at_once(tmp_path: Path, labels: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="labels"):
        Block.create(tmp_path / "b").counter(DELIVERIES_DUE, **labels)


def test_a_gauge_is_no_counter(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a gauge"):
        Block.create(tmp_path / "b").counter(DELIVERIES_IN_FLIGHT, connection="c", target="0")


def test_a_file_that_is_no_block_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"\0" * 4096)
    for taker in (Block.open, Reader):
        with pytest.raises(ValueError, match="not a block"):
            taker(tmp_path / "b")
    assert oct(os.stat(_private(tmp_path / "p")).st_mode)[-3:] == "600"


def _private(path: Path) -> Path:
    Block.create(path).close()
    return path


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(1, 50)), max_size=40))
def test_a_histogram_puts_each_value_into_its_bucket(
    tmp_path_factory: pytest.TempPathFactory, values: list[tuple[float, int]]
) -> None:
    path = tmp_path_factory.mktemp("h") / "b"
    histogram = Block.create(path).histogram(DELIVERY_SECONDS, connection="c")
    for value, count in values:
        histogram.observe(value, count)
    reader = Reader(path)
    *counts, total = reader.refresh()
    bounds = [*DELIVERY_SECONDS.buckets, float("inf")]
    lowest = [-1.0, *DELIVERY_SECONDS.buckets]
    for low, bound, count in zip(lowest, bounds, counts, strict=True):
        assert count == sum(n for value, n in values if low < value <= bound)
    assert total == pytest.approx(sum(value * n for value, n in values))


def test_all_of_a_block_is_on_the_disk_from_the_start(tmp_path: Path) -> None:
    """Where a page is missing and the disk is full, whoever counts there is killed."""
    Block.create(tmp_path / "block").close()
    status = (tmp_path / "block").stat()
    assert status.st_blocks * 512 >= status.st_size > 1 << 20
