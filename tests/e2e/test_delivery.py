"""Messages cross the whole service on real brokers, from a worker to another one: exactly
those that should, in order per thing, and the ledger balances. 100,000 in the long form.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import ways
from tests.e2e.play import Play
from tests.e2e.service import PATIENCE_S, Service, alive
from tests.e2e.ways import Way

Build = Callable[[Play], Way]
WINDOW = 4096  # limits.sourceWindowMessages: what may be in flight at a crash


@pytest.fixture
def build(request: pytest.FixtureRequest, fresh_name: str) -> Build:
    """Makes the way of the test's parameter."""

    def broker(name: str) -> Any:
        return request.getfixturevalue(name)

    makers: dict[str, Build] = {
        "kafka-http": lambda play: ways.kafka_to_http(broker("kafka"), fresh_name, play),
        "rabbitmq-kafka": lambda play: ways.rabbitmq_to_kafka(
            broker("rabbitmq"), broker("kafka"), fresh_name, play
        ),
        "kafka-rabbitmq": lambda play: ways.kafka_to_rabbitmq(
            broker("kafka"), broker("rabbitmq"), fresh_name, play
        ),
        "ingest-http": ways.ingest_to_http,
    }
    return makers[request.param]


ALL = pytest.mark.parametrize(
    "build", ["kafka-http", "rabbitmq-kafka", "kafka-rabbitmq", "ingest-http"], indirect=True
)


def settled(service: Service, way: Way) -> bool:
    """Whether every message has been read and is done."""
    source = way.source["id"]
    return (
        service.metric("messages_received_total", source) >= way.play.count
        and service.metric("messages_in_flight", source) == 0
        and service.metric("deliveries_in_flight", way.target["id"]) == 0
    )


def complete(service: Service, way: Way) -> None:
    """Everything wanted comes out, in order; nothing unwanted; duplicates within bounds."""
    found: dict[str, int] = {}

    def whole() -> bool:
        found.update(way.figures())
        return found["unique"] >= way.play.wanted

    if way.at_the_end:
        source = way.source["id"]
        service.eventually(
            lambda: service.metric("messages_in_flight", source) == 0, "nothing in flight", 300
        )
    service.eventually(whole, "all arrived", 300)
    assert found["unique"] == way.play.wanted
    assert found["forbidden"] == 0
    assert found["out_of_order"] == 0
    assert found["duplicated"] <= 2 * WINDOW, "more came twice than was in flight"


def kill(service: Service, worker: int) -> None:
    """SIGKILL, and wait until it is another process."""
    pid = service.worker_pids()[worker]
    os.kill(pid, signal.SIGKILL)
    service.eventually(
        lambda: service.worker_pids().get(worker, pid) != pid, f"worker {worker} started again"
    )


def kill_master(service: Service) -> None:
    """SIGKILL; its workers must end by themselves."""
    workers = list(service.worker_pids().values())
    service.signal(signal.SIGKILL)
    service.wait()
    deadline = time.monotonic() + PATIENCE_S
    while any(alive(pid) for pid in workers):
        assert time.monotonic() < deadline, "workers outlive their master"
        time.sleep(0.1)


@ALL
def test_all_that_should_arrive_does_in_order_and_nothing_else(
    build: Build, tmp_path: Path
) -> None:
    way = build(Play())
    with way.held, way.service(tmp_path) as service:
        service.start()
        source, target = way.source["id"], way.target["id"]
        assert service.workers_of(source) != service.workers_of(target)
        way.publish()
        service.eventually(lambda: settled(service, way), "all settled", 300)
        figures = way.figures()
        assert figures["unique"] == way.play.wanted
        assert figures["forbidden"] == 0
        assert figures["duplicated"] == 0
        assert figures["out_of_order"] == 0
        ledger = service.balanced(source, target)
        assert ledger["received"] == way.play.count
        assert ledger["accepted"] == way.play.count - way.play.intruders
        assert ledger["rejected"] == way.play.intruders
        assert ledger["filtered"] == way.play.filtered
        assert ledger["delivered"] == way.play.wanted
        assert service.terminate() == 0


@ALL
def test_nothing_is_missing_after_a_worker_was_killed(build: Build, tmp_path: Path) -> None:
    """First the worker of the target, then that of the source: no hand is needed."""
    way = build(Play())
    with way.held, way.service(tmp_path) as service:
        service.start()
        source, target = way.source["id"], way.target["id"]
        publishing = threading.Thread(target=way.publish)
        publishing.start()
        for connection, share in ((target, 0.2), (source, 0.5)):
            wanted = way.play.wanted * share
            service.eventually(
                lambda wanted=wanted: service.metric("deliveries_delivered_total", target) > wanted,
                f"{share:.0%} delivered",
            )
            (worker,) = service.workers_of(connection)
            kill(service, worker)
            service.eventually(service.ready, "whole again")
        publishing.join()
        complete(service, way)
        service.balanced(source, target)
        assert service.terminate() == 0


@ALL
def test_nothing_is_missing_after_a_stop_and_a_start_in_the_middle(
    build: Build, tmp_path: Path
) -> None:
    way = build(Play())
    with way.held, way.service(tmp_path) as service:
        service.start()
        target = way.target["id"]
        publishing = threading.Thread(target=way.publish)
        publishing.start()
        service.eventually(
            lambda: service.metric("deliveries_delivered_total", target) > way.play.wanted * 0.2,
            "some delivered",
        )
        assert service.terminate() == 0
        service.start()
        publishing.join()
        complete(service, way)
        assert service.terminate() == 0


@ALL
def test_workers_drain_and_end_when_the_master_is_killed(build: Build, tmp_path: Path) -> None:
    way = build(Play())
    with way.held, way.service(tmp_path) as service:
        service.start()
        target = way.target["id"]
        publishing = threading.Thread(target=way.publish)
        publishing.start()
        service.eventually(
            lambda: service.metric("deliveries_delivered_total", target) > way.play.wanted * 0.2,
            "some delivered",
        )
        kill_master(service)
        service.start()
        publishing.join()
        complete(service, way)
        assert service.terminate() == 0
