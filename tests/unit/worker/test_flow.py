"""The data path of one batch: who is refused and why, who gets what, and what is counted.

Real kernels, real policies; the dispatcher is a list.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streamproc.config.service import Service
from streamproc.connectors.base import Batch
from streamproc.kernels.delivery import Delivery
from streamproc.kernels.settlement import Window, receipts
from streamproc.telemetry import metrics
from streamproc.telemetry.slots import Block
from streamproc.twin.policy import Policies
from streamproc.worker.flow import Flow
from streamproc.worker.inlet import Inlet
from streamproc.worker.routes import Routes
from streamproc.worker.tally import Tally

POLICY = {
    "entries": {
        "w": {
            "subjects": {"t:writer": {"type": "x"}},
            "resources": {"thing:/": {"grant": ["WRITE"], "revoke": []}},
        },
        "r": {
            "subjects": {"t:reader": {"type": "x"}},
            "resources": {
                "thing:/": {"grant": ["READ"], "revoke": []},
                "thing:/attributes/secret": {"grant": [], "revoke": ["READ"]},
            },
        },
    }
}
SOURCE = {
    "addresses": ["in"],
    "authorizationContext": ["t:writer"],
    "enforcement": {"input": "{{ header:device_id }}", "filters": ["{{ thing:id }}"]},
    "headerMapping": {"x-device": "{{ header:device_id }}"},
}


def target(topic: str = "_/_/things/twin/events", **more: Any) -> dict[str, Any]:
    return {
        "address": "out/{{ thing:name }}",
        "topics": [topic],
        "authorizationContext": ["t:reader"],
        "headerMapping": {"x-thing": "{{ thing:id }}", "x-device": "{{ header:x-device }}"},
        **more,
    }


class Bench:
    """One source's flow into the given target connections."""

    def __init__(
        self,
        folder: Path,
        targets: list[dict[str, Any]],
        source: dict[str, Any] | None = None,
        **service: Any,
    ) -> None:
        connections = [
            {
                "id": "in",
                "connectionType": "memory",
                "sources": [source or SOURCE],
            },
            *(
                {"id": f"out{i}", "connectionType": "memory", "targets": [one]}
                for i, one in enumerate(targets)
            ),
        ]
        self.service = msgspec.convert(
            {
                "policies": {"p": POLICY},
                "namespaces": [{"namespace": "ns", "policy": "p"}],
                "connections": connections,
                **service,
            },
            Service,
        )
        self.block = Block.create(folder / "metrics")
        self.sent: list[tuple[str, Delivery]] = []
        own = self.service.connections[0]
        self.inlet = Inlet(own, 0, own.sources[0], self.service.limits)
        self.flow = Flow(
            self.inlet,
            Routes(self.service.connections),
            Policies.build(self.service),
            self,  # type: ignore[arg-type]
            Tally(self.block),
            self.block,
        )
        self.window = Window(10_000, 1 << 30, lambda: None)

    def send(self, client: str, deliveries: list[Delivery]) -> None:
        self.sent += [(client, delivery) for delivery in deliveries]

    def run(self, *messages: tuple[dict[str, str], Any]) -> list[str | None]:
        """-> per message, the code it was rejected with, or None, once all receipts are in."""
        payloads = [m if isinstance(m, bytes) else json.dumps(m).encode() for _, m in messages]
        batch = Batch(payloads, [h for h, _ in messages], list(range(len(messages))))
        entries = self.window.admit(None, batch.tokens, payloads, 0.0)
        self.flow(batch, entries, self.window)
        receipts([delivery for _, delivery in self.sent])
        codes: list[str | None] = [None] * len(messages)
        done = 0
        for _, tokens, errors in self.window.take():
            done += len(tokens)
            for token, error in errors.items():
                codes[token] = error.code
        assert done == len(messages), "a message is neither settled nor on its way"
        return codes

    def counted(self, metric: metrics.Metric, **labels: str) -> int:
        return int(self.block.counter(metric, **labels).value)


def modify(thing: str = "one", path: str = "/attributes/x", value: Any = 1, **headers: Any) -> Any:
    return {
        "topic": f"ns/{thing}/things/twin/commands/modify",
        "headers": headers,
        "path": path,
        "value": value,
    }


ONE = {"device_id": "ns:one"}
IN = {"connection": "in", "source": "0"}


def test_a_command_becomes_an_event_with_mapped_headers_and_address(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [target()])
    message = modify(**{"correlation-id": "c1", "response-required": True})
    assert bench.run((ONE, message)) == [None]
    ((client, delivery),) = bench.sent
    assert client == "out0#0"
    assert delivery.address == "out/one"
    assert delivery.key == "ns:one"
    assert delivery.headers["x-thing"] == "ns:one"
    assert delivery.headers["x-device"] == "ns:one"
    assert delivery.headers["correlation-id"] == "c1"
    assert delivery.headers["content-type"] == "application/vnd.eclipse.ditto+json"
    event = json.loads(delivery.payload)
    assert event["topic"] == "ns/one/things/twin/events/modified"
    assert event["path"] == "/attributes/x"
    assert event["value"] == 1
    assert event["headers"]["ditto-originator"] == "t:writer"
    assert bench.counted(metrics.MESSAGES_ACCEPTED, **IN) == 1


@pytest.mark.parametrize(
    ("headers", "message", "code"),
    [
        (ONE, modify("two"), "connectivity:connection.id.enforcement.failed"),
        ({}, modify(), "placeholder:unresolved"),
        (ONE, b"not json", "json.invalid"),
        (ONE, b"", "connectivity:message.mapping.failed"),
        (ONE, {"topic": "nonsense", "path": "/"}, "protocoladapter:unknown.topicpath"),
        (ONE, modify(path="/nowhere"), "protocoladapter:unknown.path"),
        (ONE, b"[" * 100_000, "json.invalid"),
        (ONE, b'"' + b"x" * 2_000_000 + b'"', "message_too_large"),
        (
            {"device_id": "other:one"},
            {**modify(), "topic": "other/one/things/twin/commands/modify"},
            "things:thing.notmodifiable",
        ),
    ],
)
def test_one_bad_message_is_refused_alone(
    tmp_path: Path, headers: dict[str, str], message: Any, code: str
) -> None:
    bench = Bench(tmp_path, [target()])
    assert bench.run((ONE, modify()), (headers, message), (ONE, modify())) == [None, code, None]
    assert len(bench.sent) == 2
    assert bench.counted(metrics.MESSAGES_ACCEPTED, **IN) == 2
    assert bench.counted(metrics.MESSAGES_REJECTED, cause=code, **IN) == 1


def test_filters_and_namespaces_choose_and_the_rest_is_counted(tmp_path: Path) -> None:
    bench = Bench(
        tmp_path,
        [
            target("_/_/things/twin/events?filter=gt(attributes/x,10)"),
            target("_/_/things/twin/events?namespaces=elsewhere"),
            target("_/_/things/live/events"),
        ],
    )
    bench.run((ONE, modify(value=5)), (ONE, modify(value=11)), (ONE, modify(value=50)))
    assert [client for client, _ in bench.sent] == ["out0#0", "out0#0"]
    assert bench.counted(metrics.SIGNALS_FILTERED, **IN) == 1
    assert bench.counted(metrics.DELIVERIES_DUE, connection="out0", target="0") == 2


def test_several_topics_of_a_target_give_one_delivery(tmp_path: Path) -> None:
    one = target("_/_/things/twin/events?filter=gt(attributes/x,10)")
    one["topics"].append("_/_/things/twin/events?filter=gt(attributes/x,5)")
    bench = Bench(tmp_path, [one])
    bench.run((ONE, modify(value=20)), (ONE, modify(value=7)), (ONE, modify(value=1)))
    assert [json.loads(d.payload)["value"] for _, d in bench.sent] == [20, 7]


def test_without_read_permission_nothing_is_delivered(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [target(authorizationContext=["t:stranger"]), target()])
    bench.run((ONE, modify()), (ONE, modify(path="/attributes/secret")))
    assert [client for client, _ in bench.sent] == ["out1#0"]


def test_without_a_policy_nothing_is_open(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [target()], namespaces=[])
    assert bench.run((ONE, modify())) == ["things:thing.notmodifiable"]
    assert bench.sent == []


def test_a_connection_never_gets_its_own_signals(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [])
    own = msgspec.structs.replace(
        bench.service.connections[0], targets=[msgspec.convert(target(), _target_type())]
    )
    bench.flow = Flow(
        bench.inlet,
        Routes([own]),
        Policies.build(bench.service),
        bench,  # type: ignore[arg-type]
        Tally(bench.block),
        bench.block,
    )
    bench.run((ONE, modify()))
    assert bench.sent == []


def test_an_unresolved_address_drops_for_that_target_alone(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [target(address="x/{{ header:absent }}"), target()])
    assert bench.run((ONE, modify())) == [None]
    assert [client for client, _ in bench.sent] == ["out1#0"]
    dropped = {"connection": "out0", "target": "0", "cause": "address_unresolved"}
    assert bench.counted(metrics.DELIVERIES_DROPPED, **dropped) == 1


def test_clients_share_things_and_a_thing_keeps_its_client(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [])
    shared = msgspec.convert(
        {"id": "out", "connectionType": "memory", "clientCount": 3, "targets": [target()]},
        type(bench.service.connections[0]),
    )
    bench.flow = Flow(
        bench.inlet,
        Routes([shared]),
        Policies.build(bench.service),
        bench,  # type: ignore[arg-type]
        Tally(bench.block),
        bench.block,
    )
    things = [f"t{n % 20}" for n in range(60)]
    bench.run(*(({"device_id": f"ns:{thing}"}, modify(thing)) for thing in things))
    clients: dict[str, set[str]] = {}
    for client, delivery in bench.sent:
        clients.setdefault(delivery.key, set()).add(client)
    assert all(len(homes) == 1 for homes in clients.values())
    assert {home for homes in clients.values() for home in homes} == {"out#0", "out#1", "out#2"}


def test_a_dry_run_is_accepted_and_goes_nowhere(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [target()])
    assert bench.run((ONE, modify(**{"dry-run": True}))) == [None]
    assert bench.sent == []
    assert bench.counted(metrics.SIGNALS_FILTERED, **IN) == 1


def test_a_bug_of_ours_costs_only_the_message_that_meets_it(tmp_path: Path, monkeypatch) -> None:
    bench = Bench(tmp_path, [target()])
    real = bench.inlet.map_headers

    def fragile(headers: Any, signals: Any) -> Any:
        if any(signal.value == "boom" for signal in signals):
            raise RuntimeError("planted")
        return real(headers, signals)

    monkeypatch.setattr(bench.inlet, "map_headers", fragile)
    codes = bench.run((ONE, modify()), (ONE, modify(value="boom")), (ONE, modify()))
    assert codes == [None, "internal", None]
    assert len(bench.sent) == 2
    assert bench.counted(metrics.DELIVERIES_DUE, connection="out0", target="0") == 2


def test_messages_without_correlation_id_get_one_each(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [target()])
    bench.run((ONE, modify()), (ONE, modify()))
    ids = {delivery.headers["correlation-id"] for _, delivery in bench.sent}
    assert len(ids) == 2


def _target_type() -> Any:
    from streamproc.config.connection import Target

    return Target
