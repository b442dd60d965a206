"""Templates, per message in a batch of 100, beside the reference in the same run."""

from __future__ import annotations

import pytest

from streamproc.kernels import template as fast
from streamproc.kernels.signal import Signal
from streamproc.lang.template import Scope, parse
from streamproc.protocol.topic import parse as parse_topic
from tests.reference import template as slow

BATCH = 100
BOTH = pytest.mark.parametrize("implementation", [slow, fast], ids=["reference", "kernel"])
TEMPLATES = {
    "header": "{{ header:a }}",
    "address": "POST:/things/{{ thing:id }}",
    "three": "{{ thing:namespace }}/{{ thing:name }}/{{ topic:action }}",
    "two functions": "{{ header:device | fn:substring-after(':') | fn:upper() }}",
    "default": "{{ header:none | fn:default('x') }}",
    "filter": "{{ header:a | fn:filter(header:qos,'ne','0') }}",
    "like": "{{ header:a | fn:filter('like','va*|x?') }}",
    "other case": "{{ header:DEVICE }}",
    "several": "{{ request:subjectId | fn:filter('like','a*') }}-{{ feature:id }}",
    "time": "{{ time:now[m] }}",
}


def batch() -> tuple[list[dict[str, str]], list[Signal]]:
    headers = []
    signals = []
    for i in range(BATCH):
        headers.append(
            {"a": f"value-{i}", "device": f"org.acme:car-{i}", "qos": "1", "content-type": "x"}
        )
        topic = parse_topic(f"org.acme/car-{i}/things/twin/events/modified")
        signal = Signal(topic, "/features/f/properties/x", value=i)
        signal.subjects = ("a:b", "c:d")
        signals.append(signal)
    return headers, signals


@BOTH
@pytest.mark.parametrize("name", TEMPLATES)
def test_first(benchmark, implementation, name):
    benchmark.group = f"template: {name}"
    benchmark.extra_info["messages"] = BATCH
    template = implementation.Template(parse(TEMPLATES[name], Scope.SIGNAL))
    assert None not in benchmark(template.first, *batch())


@BOTH
@pytest.mark.parametrize("name", ["several", "address"])
def test_all(benchmark, implementation, name):
    benchmark.group = f"template, all values: {name}"
    benchmark.extra_info["messages"] = BATCH
    template = implementation.Template(parse(TEMPLATES[name], Scope.SIGNAL))
    assert None not in benchmark(template.all, *batch())
