"""The fault matrix: whatever breaks, nothing is missing or out of order, and little comes twice.

``make faults`` runs the long form on all roads, REPEAT times. The table (``table.py``) is
printed at the end.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.play import FULL, Play
from tests.faults import table
from tests.faults.clock import Clock
from tests.faults.clock import available as clock_available
from tests.faults.road import Ends, Road, brokers
from tests.faults.scenarios import Scenario, rows
from tests.faults.stage import PATIENCE_S, WINDOW, Stage
from tests.faults.table import Row

MESSAGES = 20_000 if FULL else 4_000
THINGS = 200
REPEAT = int(os.environ.get("STREAMPROC_REPEAT", "1"))


def _slug(name: str) -> str:
    return name.replace("'s", "").replace(",", "").replace(" ", "-")


CASES = [
    pytest.param(scenario, road, id=f"{_slug(scenario.name)}-{road}-{turn}")
    for turn in range(REPEAT)
    for scenario, road in rows()
]


@pytest.fixture(scope="module")
def broken() -> Iterator[Ends]:
    with brokers() as ends:
        yield ends


@pytest.mark.parametrize(("scenario", "road"), CASES)
def test_nothing_is_missing_out_of_order_or_stuck(
    scenario: Scenario,
    road: str,
    tmp_path: Path,
    real_kafka: object,
    real_rabbitmq: object,
    broken: Ends,
) -> None:
    if scenario.clock and not clock_available():
        pytest.skip("a C compiler and glibc are needed")
    began = time.monotonic()
    source, _, target = road.partition("-")
    play = Play(MESSAGES, THINGS, zipf=scenario.zipf)
    with ExitStack() as held:
        way = held.enter_context(Road(broken, source, target))
        clock = held.enter_context(Clock(tmp_path)) if scenario.clock else None
        stage = Stage(way, play, tmp_path, scenario.options, clock=clock)
        with stage.service as service:
            service.start()
            if scenario.pressed:
                stage.press()
            stage.publisher.start()
            try:
                stage.until_delivered(scenario.mid_load)
                scenario.act(stage)
                stage.publisher.end()
            finally:
                stage.publisher.give_up()
                stage.relax()
            figures: dict[str, int] = {}

            def arrived() -> bool:
                figures.update(way.collect())
                return figures["unique"] + stage.parked() >= play.wanted

            service.eventually(stage.at_rest, "at rest", PATIENCE_S)
            service.eventually(arrived, "all arrived", PATIENCE_S)
            stage.until_settled()
            figures.update(way.collect())
            row = Row(
                scenario.name,
                road,
                play.wanted,
                play.wanted - figures["unique"] - stage.parked(),
                stage.parked(),
                figures["duplicated"],
                scenario.windows * WINDOW,
                figures["out_of_order"],
                max(stage.recovered_s, default=0.0),
                time.monotonic() - began,
            )
            table.note(row)
            service.balanced(way.source_id, way.target_id)
            service.eventually(service.ready, "whole again")
            assert service.terminate() == 0
    assert row.missing == 0
    assert row.parked == 0 or scenario.parks
    assert figures["forbidden"] == 0
    assert row.out_of_order == 0
    assert row.duplicates <= row.allowed, "more came twice than was in flight"
