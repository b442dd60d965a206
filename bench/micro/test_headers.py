"""Header mapping and enforcement, per message in a batch of 100, beside the reference."""

from __future__ import annotations

import pytest

from streamproc.kernels import enforcement as fast_enforcement
from streamproc.kernels import headers as fast
from streamproc.kernels.signal import Signal
from streamproc.lang.template import Scope, parse
from streamproc.protocol.topic import parse as parse_topic
from tests.reference import enforcement as slow_enforcement
from tests.reference import headers as slow

BATCH = 100
BOTH = pytest.mark.parametrize("implementation", [slow, fast], ids=["reference", "kernel"])
FIVE = {
    "correlation-id": "{{ header:message-id }}",
    "content-type": "application/json",
    "device": "{{ header:device_id }}",
    "thing": "{{ thing:id }}",
    "tenant": "{{ header:device_id | fn:substring-before(':') }}",
}


def batch() -> tuple[list[dict[str, str]], list[Signal]]:
    headers = []
    signals = []
    for i in range(BATCH):
        headers.append(
            {"message-id": f"m-{i}", "device_id": f"org.acme:car-{i}", "kafka.topic": "telemetry"}
        )
        topic = parse_topic(f"org.acme/car-{i}/things/twin/commands/modify")
        signals.append(Signal(topic, "/attributes/x", headers={"response-required": "false"}))
    return headers, signals


def plans(mapping):
    return {name: parse(text, Scope.SIGNAL) for name, text in mapping.items()}


@BOTH
def test_inbound_of_five(benchmark, implementation):
    benchmark.group = "inbound header mapping, 5 entries"
    benchmark.extra_info["messages"] = BATCH
    mapping = implementation.InboundMapping(plans(FIVE))
    raw, signals = batch()
    own = [signal.headers for signal in signals]

    def run():
        for signal, headers in zip(signals, own, strict=True):
            signal.headers = headers
        return mapping.apply(raw, signals)

    assert benchmark(run) == [None] * BATCH
    assert len(signals[0].headers) == 6


@BOTH
def test_outbound_of_five(benchmark, implementation):
    benchmark.group = "outbound header mapping, 5 entries"
    benchmark.extra_info["messages"] = BATCH
    mapping = implementation.OutboundMapping(plans(FIVE))
    raw, signals = batch()
    for signal, headers in zip(signals, raw, strict=True):
        signal.headers = headers
    messages = [{"content-type": "x", "correlation-id": "y"} for _ in signals]
    assert len(benchmark(mapping.apply, messages, signals)[0]) == 5


@BOTH
def test_outbound_of_none(benchmark, implementation):
    benchmark.group = "outbound header mapping, no entry"
    benchmark.extra_info["messages"] = BATCH
    mapping = implementation.OutboundMapping({})
    _, signals = batch()
    messages = [{"content-type": "x", "correlation-id": "y"} for _ in signals]
    assert benchmark(mapping.apply, messages, signals) == messages


@pytest.mark.parametrize(
    "implementation", [slow_enforcement, fast_enforcement], ids=["reference", "kernel"]
)
@pytest.mark.parametrize(
    "filters",
    [["{{ thing:id }}"], ["{{ thing:namespace }}:{{ thing:name }}", "x"]],
    ids=["usual", "general"],
)
def test_enforcement(benchmark, implementation, filters):
    benchmark.group = f"enforcement: {filters[0]}"
    benchmark.extra_info["messages"] = BATCH
    check = implementation.Enforcement(
        parse("{{ header:device_id }}", Scope.ENFORCEMENT_INPUT),
        [parse(text, Scope.ENFORCEMENT_FILTER) for text in filters],
    )
    raw, signals = batch()
    assert benchmark(lambda: check.check(check.inputs(raw), signals)) == [None] * BATCH
