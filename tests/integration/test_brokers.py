"""The broker controllers do what tests that break things rely on."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.brokers.broker import Broker, BrokerFailed, eventually
from tests.brokers.kafka import Kafka
from tests.brokers.mock_kafka import MockKafka
from tests.brokers.mosquitto import Mosquitto
from tests.brokers.ports import Port, accepts
from tests.brokers.rabbitmq import RabbitMQ

ROOT = Path(__file__).parents[2]


class Use:
    """Put a value into a broker and take it out again; the same for all three."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    def put(self, value: bytes) -> None:
        match self.broker:
            case Kafka() as kafka:
                if "t" not in kafka.admin().list_topics(timeout=60).topics:
                    kafka.create_topic("t", 3)
                kafka.produce("t", [(b"key", value, [("h", b"x")])])
            case RabbitMQ() as rabbitmq:
                rabbitmq.declare_queue("q")
                rabbitmq.publish("q", [(value, {"h": "x"})])
            case Mosquitto() as mosquitto:
                with mosquitto.client() as client:
                    client.publish("a/b", value, retain=True)
            case other:
                raise AssertionError(other)

    def take(self) -> bytes:
        """The last value put."""
        match self.broker:
            case Kafka() as kafka:
                return kafka.consume("t", sum(kafka.end_offsets("t").values()))[-1].value
            case RabbitMQ() as rabbitmq:
                return rabbitmq.get("q", rabbitmq.depth("q"))[-1][0]
            case Mosquitto() as mosquitto:
                with mosquitto.client() as client:
                    client.subscribe("a/#")
                    return client.receive().payload
            case other:
                raise AssertionError(other)


@pytest.fixture(params=["kafka", "rabbitmq", "mosquitto"])
def kind(request: pytest.FixtureRequest) -> type[Broker]:
    found: type[Broker] = request.getfixturevalue(f"real_{request.param}")
    return found


@pytest.fixture
def own(kind: type[Broker]) -> Iterator[Use]:
    with kind() as broker:
        yield Use(broker)


def belonging_to(directory: Path) -> list[str]:
    """The processes that name *directory* in their command or run in it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            inside = (process / "cwd").readlink().is_relative_to(directory)
        except OSError:
            continue
        if inside or str(directory) in command:
            found.append(f"{process.name} {command}")
    return found


def test_a_restart_and_a_kill_keep_what_was_confirmed(own: Use) -> None:
    for stop in (own.broker.stop, own.broker.kill):
        own.put(b"before")
        stop()
        assert not own.broker.alive
        own.broker.start()
        assert own.take() == b"before"
    own.put(b"after")
    assert own.take() == b"after"


def test_two_run_side_by_side_and_share_nothing(own: Use, kind: type[Broker]) -> None:
    with kind() as other:
        own.put(b"one")
        Use(other).put(b"two")
        assert own.take() == b"one"
        assert Use(other).take() == b"two"
        other.kill()
    own.put(b"three")
    assert own.take() == b"three"


def test_close_leaves_no_process_no_file_and_no_port(kind: type[Broker]) -> None:
    broker = kind()
    with broker:
        port: int = broker.port  # type: ignore[attr-defined]
        assert belonging_to(broker.directory)
    assert belonging_to(broker.directory) == []
    assert not broker.directory.exists()
    assert not accepts(port)
    broker.close()


def test_a_broker_dies_with_the_process_that_started_it(kind: type[Broker]) -> None:
    script = (
        f"import signal; from {kind.__module__} import {kind.__name__} as Broker;"
        "broker = Broker(); broker.start();"
        "broker.freeze(); print(broker.directory, flush=True); signal.pause()"
    )
    owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT)
    assert owner.stdout is not None
    with owner, owner.stdout:
        directory = Path(owner.stdout.readline().decode().strip())
        assert belonging_to(directory)
        owner.kill()
    assert eventually(lambda: not belonging_to(directory) and not directory.exists())


def test_a_broker_outlives_the_thread_that_started_it(real_mosquitto: type[Mosquitto]) -> None:
    broker = real_mosquitto()
    starter = threading.Thread(target=broker.start)
    starter.start()
    starter.join()
    with broker:
        pid = broker.pid
        broker.client().close()
        assert broker.pid == pid


async def test_a_broker_restarts_from_a_coroutine(real_rabbitmq: type[RabbitMQ]) -> None:
    broker = real_rabbitmq()
    try:
        await asyncio.to_thread(broker.start)
        broker.declare_queue("q")  # blocking, but on a loop of its own
        await asyncio.to_thread(broker.restart)
        assert await asyncio.to_thread(broker.depth, "q") == 0
    finally:
        await asyncio.to_thread(broker.close)


def test_frozen_answers_nothing_and_thawed_answers_again(
    real_mosquitto: type[Mosquitto],
) -> None:
    with real_mosquitto() as broker, broker.client() as client:
        client.subscribe("a")
        broker.freeze()
        client.publish("a", b"x", qos=0)
        with pytest.raises(TimeoutError):
            client.receive(deadline=0.2)
        broker.thaw()
        with broker.client() as another:
            another.publish("a", b"y")


def test_a_broker_that_cannot_start_says_why(real_mosquitto: type[Mosquitto]) -> None:
    with pytest.raises(BrokerFailed, match="no_such_option"), real_mosquitto(["no_such_option 1"]):
        pass


def test_rabbitmq_has_the_helpers_that_tests_need(real_rabbitmq: type[RabbitMQ]) -> None:
    with real_rabbitmq() as broker:
        broker.declare_exchange("x", "topic")
        broker.declare_queue("q", arguments={"x-max-length": 5})
        broker.bind("q", "x", "a.*")
        broker.publish("a.b", [b"1", b"2"], exchange="x")
        assert broker.depth("q") == 2
        assert broker.consumers("q") == 0
        assert broker.unsettled("q") == 0
        broker.purge("q")
        assert broker.get("q") == []
        broker.drop_connections()
        broker.delete_queue("q")


def test_kafka_has_the_helpers_that_tests_need(real_kafka: type[Kafka]) -> None:
    with real_kafka({"num.partitions": 2}) as broker:
        broker.create_topic("t", 2, {"retention.ms": "60000"})
        assert broker.partitions("t") == [0, 1]
        broker.produce("t", [(b"%d" % n, b"v", [("h", b"x")]) for n in range(100)])
        assert sum(broker.end_offsets("t").values()) == 100
        assert broker.consume("t", 1)[0].headers == {"h": b"x"}
        assert broker.committed("nobody", "t") == {}
        broker.delete_topic("t")


def test_the_mock_cluster_serves_another_process_until_it_is_closed() -> None:
    with MockKafka() as broker:
        broker.create_topic("t")
        broker.produce("t", [(b"k", b"v1"), (b"k", b"v2")])
        assert [record.value for record in broker.consume("t", 2)] == [b"v1", b"v2"]
    assert belonging_to(broker.directory) == []


def test_ports_are_reserved_until_released() -> None:
    ports = [Port() for _ in range(20)]
    assert len({int(port) for port in ports}) == 20
    first_ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(int(port) < first_ephemeral for port in ports) or first_ephemeral < 16_000
    for port in ports:
        port.release()
        port.release()
