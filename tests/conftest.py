"""What all tests share: brokers started on first use, a marker a folder, and patience."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings

from tests.brokers import available
from tests.brokers.broker import Broker, BrokerMissing
from tests.brokers.kafka import Kafka
from tests.brokers.mock_kafka import MockKafka
from tests.brokers.mosquitto import Mosquitto
from tests.brokers.rabbitmq import RabbitMQ

HERE = Path(__file__).parent
FOLDERS = (
    "bench",
    "conformance",
    "docs",
    "e2e",
    "faults",
    "integration",
    "kernels",
    "typing",
    "unit",
)
WAITING = ("faults", "e2e", "integration")
B = TypeVar("B", bound=Broker)

# No deadline: a busy machine is not a slow program.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("dev", PATIENT)
settings.register_profile("ci", PATIENT, print_blob=True)
settings.register_profile("nightly", PATIENT, print_blob=True, max_examples=10_000)
settings.load_profile(
    os.environ.get("STREAMPROC_HYPOTHESIS", "ci" if "CI" in os.environ else "dev")
)


def pytest_configure(config: pytest.Config) -> None:
    for folder in FOLDERS:
        config.addinivalue_line("markers", f"{folder}: all tests of tests/{folder}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The folder is the marker. Files that wait for brokers begin first: run side by side, the
    others fill the gaps.
    """
    for item in items:
        if folder(item) in FOLDERS:
            item.add_marker(folder(item))
    items.sort(key=lambda item: folder(item) not in WAITING)


def folder(item: pytest.Item) -> str:
    """The folder of tests/ that it is in."""
    return item.path.relative_to(HERE).parts[0] if item.path.is_relative_to(HERE) else ""


def pytest_report_header() -> list[str]:
    return [f"broker {line}" for line in available.lines()]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say it again where it is read."""
    if any(broker.missing() for broker in available.BROKERS):
        terminalreporter.write_line("; ".join(available.lines()), yellow=True)


@pytest.fixture(autouse=True)
def stays(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Code under test may want to end its process; ours stays, and the test fails. A test that
    expects it empties the list of exit codes.
    """
    own, leave = os.getpid(), os._exit
    left: list[int] = []

    def stay(code: int) -> None:
        if os.getpid() != own:
            leave(code)
        left.append(code)

    monkeypatch.setattr(os, "_exit", stay)
    yield left
    assert not left, f"it would have ended the process with {left}; the log says why"


@pytest.fixture
def fresh_name(request: pytest.FixtureRequest) -> str:
    """A name for a topic or queue that no other test has: brokers are shared."""
    return f"{request.node.originalname[:40]}-{uuid.uuid4().hex[:10]}"


@pytest.fixture(scope="session")
def kafka() -> Iterator[Kafka | MockKafka]:
    """A Kafka shared by all tests; start one of your own to stop or kill it."""
    mocked = Kafka.missing() and not available.required()
    yield from _shared(MockKafka) if mocked else _shared(Kafka)


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitMQ]:
    """A RabbitMQ shared by all tests; start one of your own to stop or kill it."""
    yield from _shared(RabbitMQ)


@pytest.fixture(scope="session")
def mosquitto() -> Iterator[Mosquitto]:
    """A Mosquitto shared by all tests; start one of your own to stop or kill it."""
    yield from _shared(Mosquitto)


@pytest.fixture
def real_kafka() -> type[Kafka]:
    """The class, for tests that start their own."""
    return _needed(Kafka)


@pytest.fixture
def real_rabbitmq() -> type[RabbitMQ]:
    return _needed(RabbitMQ)


@pytest.fixture
def real_mosquitto() -> type[Mosquitto]:
    return _needed(Mosquitto)


def _shared(kind: type[B]) -> Iterator[B]:
    with _needed(kind)() as broker:
        yield broker


def _needed(kind: type[B]) -> type[B]:
    if reason := kind.missing():
        if available.required():
            raise BrokerMissing(reason)
        pytest.skip(reason)
    return kind
