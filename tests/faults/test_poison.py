"""A message that workers die of is parked with that reason; all others arrive, in order."""

from __future__ import annotations

import json
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from streamproc.config.service import Service as Settings
from streamproc.store.parked import Parked, ParkedStore, parked_store
from tests.e2e import ends
from tests.e2e.play import NAMESPACE, Play, Said
from tests.e2e.service import Service

MESSAGES = 600
PLANTED = Path(__file__).parent / "planted"


def deadly(words: str, device: str) -> Said:
    """A message that is good but for what its value does to workers."""
    body = {
        "topic": f"{NAMESPACE}/{device}/things/twin/commands/modify",
        "headers": {},
        "path": "/attributes/reading",
        "value": {"id": words, "device": f"{NAMESPACE}:{device}", "seq": 0, "level": 99},
    }
    return Said(f"{NAMESPACE}:{device}", json.dumps(body).encode())


def config(source: dict[str, Any], url: str) -> dict[str, Any]:
    push = {
        "id": "push",
        "connectionType": "http-push",
        "connectionStatus": "open",
        "uri": url,
        "specificConfig": {"parallelism": "8"},
        "targets": [ends.target("POST:/e2e/{{ thing:id }}", "gt(attributes/reading/level,10)")],
    }
    return {
        "workers": 2,
        "supervision": {"firstBackoffS": 0.1, "silenceS": 2.0, "heartbeatS": 0.2},
        **ends.policies(),
        "connections": [source, push],
    }


def rabbitmq_source(rabbitmq: Any, queue: str) -> dict[str, Any]:
    return {
        "id": "in",
        "connectionType": "amqp-091",
        "connectionStatus": "open",
        "uri": rabbitmq.uri,
        "sources": [ends.source(queue)],
    }


def kafka_source(kafka: Any, topic: str) -> dict[str, Any]:
    return {
        "id": "in",
        "connectionType": "kafka",
        "connectionStatus": "open",
        "uri": f"tcp://{kafka.bootstrap}",
        "specificConfig": {
            "bootstrapServers": kafka.bootstrap,
            "consumerOffsetReset": "earliest",
        },
        "sources": [ends.source(topic)],
    }


def parked(folder: Path) -> list[Parked]:
    """What the service of *folder* has parked. It must have ended."""
    store: ParkedStore = parked_store(Settings(data_dir=str(folder / "data")))
    try:
        return [entry for _, entry in store.select(lambda _: True)]
    finally:
        store.close()


def with_bad(play: Play, bad: Said) -> Play:
    """In the middle, where others wait before and behind it."""
    play.said.insert(len(play.said) // 2, bad)
    return play


@pytest.mark.parametrize("way", ["die:abort", "die:segv", "die:hang", "die-writing:exit"])
def test_a_message_that_workers_die_of_is_parked_and_all_others_arrive(
    way: str, tmp_path: Path, rabbitmq: Any, fresh_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(PLANTED))
    queue = fresh_name.replace("[", "-").replace("]", "").replace(":", "-")
    rabbitmq.declare_queue(queue)
    play = with_bad(Play(MESSAGES, 20), deadly(way, "bad"))
    ends.publish_to_rabbitmq(rabbitmq, queue, play)
    with ends.Receiver() as receiver:
        service = Service(tmp_path, config(rabbitmq_source(rabbitmq, queue), receiver.url))
        _lives_through(service, receiver, play)
    assert rabbitmq.depth(queue) == 0
    (entry,) = parked(tmp_path)
    assert way.encode() in entry.payload
    assert entry.reason == "poison"
    assert entry.connection == ("push" if "writing" in way else "in")
    # Three deaths, and one more where one only named the place to another worker.
    deaths = service.log.read_text().count('"event":"worker_died"')
    assert 3 <= deaths <= 4


def test_a_record_that_workers_die_of_is_parked_and_all_others_arrive(
    tmp_path: Path, kafka: Any, fresh_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(PLANTED))
    kafka.create_topic(fresh_name, 2)
    play = with_bad(Play(MESSAGES, 20), deadly("die:abort", "bad"))
    ends.publish_to_kafka(kafka, fresh_name, play)
    with ends.Receiver() as receiver:
        service = Service(tmp_path, config(kafka_source(kafka, fresh_name), receiver.url))
        _lives_through(service, receiver, play)
    (entry,) = parked(tmp_path)
    assert b"die:abort" in entry.payload
    assert (entry.reason, entry.connection, entry.target) == ("poison", "in", -1)


def test_workers_killed_under_load_park_nothing(
    tmp_path: Path, rabbitmq: Any, fresh_name: str
) -> None:
    """Killed from outside, however often, nobody is poison."""
    rabbitmq.declare_queue(fresh_name)
    play = Play(4 * MESSAGES, 20)
    with ends.Receiver() as receiver:
        settings = config(rabbitmq_source(rabbitmq, fresh_name), receiver.url)
        with Service(tmp_path, settings) as service:
            service.start()
            for number in range(4):
                share = play.said[number * MESSAGES : (number + 1) * MESSAGES]
                rabbitmq.publish(fresh_name, ((s.body, {"device_id": s.device}) for s in share))
                before = set(service.worker_pids().values())
                for pid in before:
                    os.kill(pid, signal.SIGKILL)
                service.eventually(partial(_replaced, service, before), "in other processes")
                service.eventually(service.ready, "whole again")
            service.eventually(lambda: receiver.figures()["unique"] == play.wanted, "all arrived")
            assert receiver.figures()["out_of_order"] == 0
            assert service.terminate() == 0
    assert parked(tmp_path) == []


def _replaced(service: Service, before: set[int]) -> bool:
    """Whether as many others run (killed ones are shown until their end was noticed)."""
    now = set(service.worker_pids().values())
    return len(now) == len(before) and now.isdisjoint(before)


def _lives_through(service: Service, receiver: ends.Receiver, play: Play) -> None:
    with service:
        service.launch()
        service.eventually(lambda: receiver.figures()["unique"] == play.wanted, "all arrived")
        service.eventually(
            lambda: (
                service.metric("messages_in_flight", "in") == 0
                and service.metric("deliveries_in_flight", "push") == 0
            ),
            "all settled",
        )
        figures = receiver.figures()
        assert figures["out_of_order"] == 0
        assert figures["forbidden"] == 0
        service.balanced("in", "push")
        assert service.terminate() == 0
