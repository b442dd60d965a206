"""What a message of 256 B costs on its way through the protocol, in batches of 100.

Kernel and reference in one run; the JSON alone (orjson) is the floor of both. Divide by 100
for a message. Keeping 100 written envelopes makes glibc give memory back and fetch it again
each time, which costs more than the writing: run with MALLOC_TRIM_THRESHOLD_=100000000, as
a worker would.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import orjson
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from streamproc.config.service import NamespacePolicy, Service
from streamproc.kernels import envelope as kernel
from streamproc.kernels.signal import Signal
from streamproc.protocol import topic
from streamproc.twin.policy import WRITE, Policies
from streamproc.twin.stateless import to_events
from tests.reference import envelope as reference

BATCH = 100
SUBJECTS = ("integration:devices",)
both = pytest.mark.parametrize("implementation", [reference, kernel], ids=["reference", "kernel"])


def message(number: int) -> dict[str, Any]:
    return {
        "topic": f"org.acme/sensor-{number}/things/twin/commands/modify",
        "headers": {
            "correlation-id": f"c-{number:08}",
            "response-required": False,
            "content-type": "application/json",
        },
        "path": "/features/temperature/properties/value",
        "value": {"celsius": 21.5 + number, "sequence": number},
    }


@pytest.fixture
def payloads() -> list[bytes]:
    found = [orjson.dumps(message(number)) for number in range(BATCH)]
    assert 230 <= len(found[0]) <= 270
    return found


@pytest.fixture
def signals(payloads: list[bytes]) -> list[Signal]:
    found = [each for each in kernel.parse(payloads, 5120) if isinstance(each, Signal)]
    assert len(found) == BATCH
    for signal in found:
        signal.subjects = SUBJECTS
    return found


def test_json_alone_read(benchmark: BenchmarkFixture, payloads: list[bytes]) -> None:
    benchmark(lambda: [orjson.loads(payload) for payload in payloads])


def test_json_alone_write(benchmark: BenchmarkFixture) -> None:
    values = [message(number) for number in range(BATCH)]
    benchmark(lambda: [orjson.dumps(value) for value in values])


@both
def test_parse(
    benchmark: BenchmarkFixture, implementation: ModuleType, payloads: list[bytes]
) -> None:
    benchmark(implementation.parse, payloads, 5120)


@both
def test_encode(
    benchmark: BenchmarkFixture, implementation: ModuleType, signals: list[Signal]
) -> None:
    benchmark(implementation.encode, signals)


def test_command_to_event(benchmark: BenchmarkFixture, payloads: list[bytes]) -> None:
    def fresh() -> tuple[tuple[object, ...], dict[str, object]]:  # commands are used up
        return (kernel.parse(payloads, 5120), "2024-01-06T14:23:42.123Z"), {}

    benchmark.pedantic(to_events, setup=fresh, rounds=500)


def policies(*, revoked: bool) -> Policies:
    """Where something is revoked, each path is looked at."""
    resources = {"thing:/": {"grant": ["READ", "WRITE"]}}
    if revoked:
        resources["thing:/attributes/owner"] = {"revoke": ["WRITE"]}
    entry = {"subjects": {SUBJECTS[0]: {"type": "x"}}, "resources": resources}
    return Policies.build(
        Service(
            policies={"p": {"entries": {"e": entry}}},
            namespaces=[NamespacePolicy(namespace="org.*", policy="p")],
        )
    )


@pytest.mark.parametrize("revoked", [False, True], ids=["everywhere", "by-path"])
def test_authorise(benchmark: BenchmarkFixture, signals: list[Signal], revoked: bool) -> None:
    rules = policies(revoked=revoked)
    assert all(rules.allowed(signals, None, WRITE))
    benchmark(rules.allowed, signals, None, WRITE)


@pytest.mark.parametrize("revoked", [False, True], ids=["everywhere", "by-path"])
def test_authorise_one_by_one(
    benchmark: BenchmarkFixture, signals: list[Signal], revoked: bool
) -> None:
    """The same without its kernel."""
    rules = policies(revoked=revoked)
    benchmark(
        lambda: [
            rules.may(signal.topic.namespace, signal.subjects, "thing", signal.path, WRITE)
            for signal in signals
            if signal.topic is not None
        ]
    )


def test_topic_not_seen_before(benchmark: BenchmarkFixture) -> None:
    def texts() -> tuple[tuple[list[str]], dict[str, Any]]:
        texts.start += BATCH  # type: ignore[attr-defined]
        first = texts.start  # type: ignore[attr-defined]
        return (
            [f"org.acme/new-{i}/things/twin/events/modified" for i in range(first, first + BATCH)],
        ), {}

    texts.start = 0  # type: ignore[attr-defined]
    benchmark.pedantic(lambda found: [topic.parse(text) for text in found], setup=texts, rounds=200)
