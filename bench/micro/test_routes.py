"""Subscription matching, per message in a batch of 100, with 1, 10 and 100 targets.

The reference asks every target about every signal; the index asks those that subscribed to
the topic, each once per batch.
"""

from __future__ import annotations

import msgspec
import pytest

from streamproc.config.connection import Connection
from streamproc.config.service import Service
from streamproc.kernels.signal import Signal
from streamproc.lang import target_topic
from streamproc.protocol.topic import parse as parse_topic
from streamproc.twin.policy import READ, Policies
from streamproc.worker.routes import Routes
from tests.reference import rql

BATCH = 100
TOPIC = "_/_/things/twin/events"
SERVICE = msgspec.convert(
    {
        "policies": {
            "p": {
                "entries": {
                    "r": {
                        "subjects": {"t:r": {"type": "x"}},
                        "resources": {"thing:/": {"grant": ["READ"], "revoke": []}},
                    }
                }
            }
        },
        "namespaces": [{"namespace": "org.acme", "policy": "p"}],
    },
    Service,
)


def connections(count: int) -> list[Connection]:
    """One target each; half of them in another namespace, all with a filter."""
    return [
        msgspec.convert(
            {
                "id": f"out-{i}",
                "connectionType": "memory",
                "targets": [
                    {
                        "address": "a",
                        "topics": [
                            f"{TOPIC}?namespaces=org.{'acme' if i % 2 == 0 else 'other'}"
                            f"&filter=gt(attributes/x,{i})"
                        ],
                        "authorizationContext": ["t:r"],
                    }
                ],
            },
            Connection,
        )
        for i in range(count)
    ]


def batch() -> list[Signal]:
    return [
        Signal(
            parse_topic(f"org.acme/car-{i}/things/twin/events/modified"),
            "/attributes",
            value={"x": i},
        )
        for i in range(BATCH)
    ]


@pytest.mark.parametrize("targets", [1, 10, 100])
@pytest.mark.parametrize("implementation", ["reference", "index"])
def test_matching(benchmark, implementation: str, targets: int) -> None:
    benchmark.group = f"subscription matching, {targets} targets"
    benchmark.extra_info["messages"] = BATCH
    policies = Policies.build(SERVICE)
    signals = batch()
    expected = sum(max(0, BATCH - 1 - i) for i in range(0, targets, 2))

    if implementation == "index":
        routes = Routes(connections(targets))

        def run() -> int:
            for signal in signals:
                signal.thing = None
            positions = list(range(BATCH))
            return sum(
                len(route.select(TOPIC, signals, positions, policies))
                for route in routes.subscribed(TOPIC, "in")
            )
    else:
        parsed = [target_topic.parse(c.targets[0].topics[0]) for c in connections(targets)]

        def run() -> int:
            found = 0
            for signal in signals:
                signal.thing = None
                for topic in parsed:
                    if signal.topic.namespace in topic.namespaces and rql.matches(
                        topic.plan, [signal]
                    ) == [True]:
                        found += policies.may("org.acme", ("t:r",), "thing", signal.path, READ)
            return found

    assert benchmark(run) == expected
