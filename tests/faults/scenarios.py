"""THE table of the fault matrix: what breaks, on which roads, and what may come twice for it.

Each acts on a stage whose messages flow, and returns when all is whole again. ``windows``: how
many windows of in-flight messages may be doubled; 0 where nothing is lost sight of.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.cimpl import NewPartitions

from tests.e2e.play import FULL
from tests.faults.stage import Stage, lasting

Act = Callable[[Stage], None]
KR, RK, KH, RH = "kafka-rabbitmq", "rabbitmq-kafka", "kafka-http", "rabbitmq-http"
BOTH = (KR, RK)
HOUR_S = 3600.0
STORM_MEMBER_S = lasting(0.7, 2.0)


@dataclass(frozen=True)
class Scenario:
    """One row."""

    name: str
    act: Act
    roads: tuple[str, ...] = BOTH
    windows: int = 1
    zipf: float = 0.0
    options: dict[str, Any] = field(default_factory=dict)
    in_short: bool = True  # whether it is part of the short form
    parks: bool = False  # whether something may end in the dead-letter store
    mid_load: float = 0.2  # share delivered when it begins
    pressed: bool = True  # the target is slow by itself, so that much is under way
    clock: bool = False  # whether it moves the service's


# Processes.


def kill_worker(side: str, stage: Stage) -> None:
    connection = stage.road.source_id if side == "source" else stage.road.target_id
    began = time.monotonic()
    stage.kill_worker_of(connection)
    stage.until_flowing(began)
    stage.service.eventually(stage.service.ready, "whole again")


def kill_master(stage: Stage) -> None:
    stage.kill_master()
    began = time.monotonic()
    stage.service.start()
    stage.until_flowing(began)


def kill_all(stage: Stage) -> None:
    """Master and workers at once, as when a machine loses power: nobody delivers what is left."""
    pids = [stage.service.pid, *stage.service.worker_pids().values()]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    stage.service.wait()
    began = time.monotonic()
    stage.service.start()
    stage.until_flowing(began)


def terminate(stage: Stage) -> None:
    assert stage.service.terminate() == 0
    began = time.monotonic()
    stage.service.start()
    stage.until_flowing(began)


def reload(stage: Stage) -> None:
    """Both connections change in turn, and are drained and opened anew."""
    for number in (0, 1):

        def rename(config: dict[str, Any], number: int = number) -> None:
            config["connections"][number]["name"] = f"changed {number}"

        began = time.monotonic()
        stage.reload(rename)
        stage.until_flowing(began)
        stage.service.eventually(stage.service.ready, "whole again")


# Brokers.


def stop_broker(side: str, stage: Stage) -> None:
    _broker_away(stage, side, lambda broker: broker.stop())


def kill_broker(side: str, stage: Stage) -> None:
    if stage.road.kinds[side] == "rabbitmq":
        # RabbitMQ holds back for some seconds what it notes of new queues.
        stage.road.ends.rabbitmq.ctl("eval", "mnesia:dump_log().")
    _broker_away(stage, side, lambda broker: broker.kill())


def _broker_away(stage: Stage, side: str, end: Callable[[Any], None]) -> None:
    broker = stage.road.broker(side)
    stage.publisher.pause()
    end(broker)
    time.sleep(lasting(3.0, 30.0))
    broker.start()
    stage.publisher.resume()
    stage.until_flowing()


def alarm(stage: Stage) -> None:
    """RabbitMQ out of memory: it takes nothing from whoever publishes."""
    rabbitmq = stage.road.ends.rabbitmq
    stage.publisher.pause()
    rabbitmq.ctl("set_vm_memory_high_watermark", "0.000001")
    if stage.road.kinds["source"] == "kafka":
        stage.publisher.resume()
    time.sleep(lasting(3.0, 30.0))
    rabbitmq.ctl("set_vm_memory_high_watermark", "0.6")
    stage.publisher.resume()
    stage.until_flowing()


# Links.


def cut(side: str, stage: Stage) -> None:
    for _ in range(3):
        stage.road.proxy(side).cut()
        stage.until_flowing()


def freeze(side: str, stage: Stage) -> None:
    proxy = stage.road.proxy(side)
    proxy.freeze()
    time.sleep(lasting(4.0, 90.0))
    proxy.thaw()
    stage.until_flowing()


def half_close(side: str, stage: Stage) -> None:
    stage.road.proxy(side).half_close()
    stage.until_flowing()


def down(side: str, stage: Stage) -> None:
    proxy = stage.road.proxy(side)
    proxy.refuse()
    proxy.cut()
    time.sleep(lasting(3.0, 60.0))
    proxy.accept()
    stage.until_flowing()


# The clock.


def clock_jumps(by_h: float, stage: Stage) -> None:
    """Under load, and then while nothing is said, for longer than a member may be silent."""
    if stage.road.kinds["target"] == "kafka":
        _take_any_time(stage)
    stage.jump(by_h * HOUR_S)
    stage.until_flowing()
    stage.publisher.pause()
    stage.jump(by_h * HOUR_S)
    stage.until_still()
    if stage.road.kinds["source"] == "kafka":
        stage.service.eventually(lambda: _committed(stage) == stage.publisher.said, "committed")
    time.sleep(lasting(0.0, 60.0))
    stage.publisher.resume()
    stage.until_flowing()


def _committed(stage: Stage) -> int:
    """How many messages of the source will not come again."""
    consumer = Consumer(stage.road.member_settings())
    try:
        topic = consumer.list_topics(stage.road.name, timeout=60).topics[stage.road.name]
        places = [TopicPartition(stage.road.name, number) for number in topic.partitions]
        return sum(max(0, place.offset) for place in consumer.committed(places, timeout=60))
    finally:
        consumer.close()


def _take_any_time(stage: Stage) -> None:
    """Brokers refuse, for good, what is from more than an hour ahead of their own clock."""
    kafka = stage.road.ends.kafka
    entry = ConfigEntry(
        "message.timestamp.after.max.ms",
        str(2**63 - 1),
        incremental_operation=AlterConfigOpType.SET,
    )
    resource = ConfigResource(
        ConfigResource.Type.TOPIC, stage.road.out, incremental_configs=[entry]
    )
    admin = kafka.admin()
    admin.incremental_alter_configs([resource])[resource].result(60)


# Kafka.


@contextmanager
def _member(stage: Stage, **more: Any) -> Any:
    """Another member of the group, that takes partitions and reads nothing."""
    consumer = Consumer(stage.road.member_settings(**more))
    over = threading.Event()
    joined = threading.Event()

    def hold(consumer: Consumer, partitions: Any) -> None:
        consumer.incremental_assign(partitions)
        consumer.pause(partitions)
        joined.set()

    def stay() -> None:
        while not over.is_set():
            consumer.poll(0.05)

    consumer.subscribe([stage.road.name], on_assign=hold)
    thread = threading.Thread(target=stay, daemon=True)
    thread.start()
    try:
        yield joined
    finally:
        over.set()
        thread.join()
        consumer.close()


def rebalance_storm(stage: Stage) -> None:
    ends = time.monotonic() + lasting(6.0, 60.0)
    while time.monotonic() < ends:
        with _member(stage):
            time.sleep(STORM_MEMBER_S)
        time.sleep(STORM_MEMBER_S)
    stage.until_flowing()


def fenced(stage: Stage) -> None:
    """Somebody joins under the name of our member, and leaves."""
    name = f"{stage.road.name}-member-0-0-0"
    with _member(stage, group_instance_id=name) as joined:
        assert joined.wait(60), "nobody was fenced"
    stage.until_flowing()


def more_partitions(stage: Stage) -> None:
    """Keys change their partition, so what was said before must be through: Kafka's own rule."""
    stage.until_still()
    kafka = stage.road.ends.kafka
    name = stage.road.name
    admin = kafka.admin()  # kept: its answers come only as long as it lives
    admin.create_partitions([NewPartitions(name, 8)])[name].result(60)
    stage.publisher.resume()
    stage.until_flowing()


# RabbitMQ.


def queue_recreated(stage: Stage) -> None:
    """The source's: what is in it would go with it, so it is empty."""
    stage.until_still()
    rabbitmq = stage.road.ends.rabbitmq
    rabbitmq.delete_queue(stage.road.name)
    time.sleep(lasting(1.0, 10.0))
    rabbitmq.declare_queue(stage.road.name)
    stage.publisher.resume()
    stage.until_flowing()


def out_queue_recreated(stage: Stage) -> None:
    """The target's: what reaches no queue meanwhile is returned by the broker, and parked."""
    stage.until_still()
    stage.road.collect()
    rabbitmq = stage.road.ends.rabbitmq
    rabbitmq.delete_queue(stage.road.out)
    stage.publisher.resume()
    time.sleep(lasting(2.0, 10.0))
    stage.road.declare_out()
    stage.until_flowing()


# HTTP.


def slow_target(stage: Stage) -> None:
    assert stage.road.receiver is not None
    stage.road.receiver.behave(delayMs=50)
    time.sleep(lasting(3.0, 30.0))
    stage.road.receiver.behave()
    stage.until_flowing()


def failing_target(stage: Stage) -> None:
    assert stage.road.receiver is not None
    stage.road.receiver.behave(status=503)
    time.sleep(lasting(3.0, 60.0))
    stage.road.receiver.behave(failedShare=0.3)
    stage.until_flowing()


def both(act: Callable[[str, Stage], None], side: str) -> Act:
    return partial(act, side)


QUICK_RETRY = {"retry": {"firstDelayS": 0.05, "maxDelayS": 0.5}}

SCENARIOS: tuple[Scenario, ...] = (
    Scenario("source's worker killed", both(kill_worker, "source"), (KH, RK, KR)),
    Scenario("target's worker killed", both(kill_worker, "target"), (RK, KR, KH)),
    Scenario("master killed", kill_master, (KH, RK, KR), in_short=False),
    Scenario("everything killed", kill_all, (KH, RK, KR)),
    Scenario("SIGTERM under load", terminate, (KR, RK, KH), windows=0),
    Scenario("SIGHUP under load", reload, windows=0),
    Scenario("source's broker stopped", both(stop_broker, "source"), in_short=False),
    Scenario("target's broker stopped", both(stop_broker, "target"), in_short=False),
    Scenario("source's broker killed", both(kill_broker, "source")),
    Scenario("target's broker killed", both(kill_broker, "target")),
    Scenario("source's link cut", both(cut, "source"), windows=3),
    Scenario("target's link cut", both(cut, "target"), windows=3),
    Scenario("source's link frozen", both(freeze, "source")),
    Scenario("target's link frozen", both(freeze, "target"), in_short=False),
    Scenario("source's link half closed", both(half_close, "source"), in_short=False),
    Scenario("target's link half closed", both(half_close, "target")),
    Scenario("rebalance storm", rebalance_storm, (KR, KH)),
    Scenario("member fenced", fenced, (KR,)),
    Scenario("partitions added", more_partitions, (KR,), windows=0),
    Scenario("source's queue recreated", queue_recreated, (RK,), windows=0),
    Scenario("target's queue recreated", out_queue_recreated, (KR,), windows=0, parks=True),
    Scenario("clock jumps ahead", partial(clock_jumps, 2.0), (RK, KR, KH), windows=0, clock=True),
    Scenario("clock jumps back", partial(clock_jumps, -2.0), (KR, RK, KH), windows=0, clock=True),
    Scenario("memory alarm", alarm, BOTH, windows=0, in_short=False),
    Scenario(
        "slow target, Zipf keys",
        slow_target,
        (KH, RH),
        windows=0,
        zipf=1.1,
        in_short=False,
        pressed=False,
    ),
    Scenario("target answers 503", failing_target, (KH,), windows=0, options=QUICK_RETRY),
    Scenario("target down", both(down, "target"), (KH, RH)),
)

# In `make test` there is time for one road of each; the long form takes all.
SHORT_ROADS = {
    "source's broker killed": RK,
    "source's link cut": RK,
    "source's link frozen": RK,
    "target's link half closed": RK,
    "target down": RH,
}


def rows() -> list[tuple[Scenario, str]]:
    """What to run: a scenario and a road each."""
    return [
        (scenario, road)
        for scenario in SCENARIOS
        for road in scenario.roads
        if FULL or (scenario.in_short and road == _short_road(scenario))
    ]


def _short_road(scenario: Scenario) -> str:
    return SHORT_ROADS.get(scenario.name, scenario.roads[0])
